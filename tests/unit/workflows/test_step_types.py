"""The catalogue: which types there are, what they say of themselves, and which configs they take."""

from typing import Any

import orjson
import pytest

from tests.unit.workflows.stepping import TYPES, context
from windlass.contexts.workflows import templates
from windlass.contexts.workflows.steptypes.base import StepFailure, StepType
from windlass.contexts.workflows.steptypes.registry import StepTypes

CONTROL = {
    "prompt": True,
    "delay": True,
    "log": True,
    "wait_for_human": False,
    "wait_for_approval": False,
    "branch": False,
    "map": False,
    "batch": False,
    "workflow_call": False,
    "parallel": False,
    "retry": False,
    "checkpoint": False,
    "cache_result": False,
}
TEXT = (
    "policy_check json_transform json_validate csv_to_json json_to_csv regex_extract text_clean template_render"
    " markdown_to_html html_to_markdown token_count diff_change_detector document_diff document_merge context_build"
)
WORKLESS = {
    "delay",
    "wait_for_human",
    "wait_for_approval",
    "branch",
    "map",
    "parallel",
    "workflow_call",
    "retry",
    "checkpoint",
}


def test_there_are_these_types() -> None:
    names = {kind.name for kind in StepTypes()}

    assert names == {*CONTROL, *TEXT.split(), "python"}
    assert {kind.name for kind in StepTypes() if kind.work is None} == WORKLESS
    assert {name for name, mapable in CONTROL.items() if mapable} == {
        name for name in CONTROL if TYPES.of(name).mapable
    }
    assert all(TYPES.of(name).mapable for name in TEXT.split())


@pytest.mark.parametrize("name", ["tts", "media_ingest", "deep_research", "rag_search", "", None, 3])
def test_what_is_out_of_scope_is_unknown(name: Any) -> None:
    assert not TYPES.known(name)
    with pytest.raises(StepFailure, match="Unknown step type"):
        TYPES.of(name)


def test_others_add_theirs() -> None:
    mine = StepType(name="mine", description="", schema={"type": "object", "properties": {}}, example={})
    types = StepTypes([mine])

    assert types.of("mine") is mine
    with pytest.raises(ValueError, match="two step types"):
        types.add(mine)
    with pytest.raises(ValueError, match="not present"):
        types.add(StepType(name="x", description="", schema={"$ref": "http://elsewhere.test/x.json"}, example={}))


def test_discovery_says_what_the_contract_says() -> None:
    found = {entry["name"]: entry for entry in TYPES.discovery()}

    assert orjson.loads(orjson.dumps(found)) == found
    assert list(found) == sorted(found)
    for entry in found.values():
        assert entry.keys() == {"name", "description", "schema", "example", "min_engine_version", "capabilities"}
        assert entry["capabilities"].keys() == {
            "replay_safe",
            "idempotency_strategy",
            "compensation_supported",
            "requires_human_review_for_rerun",
            "evidence_level",
        }
        assert entry["schema"]["type"] == "object"
        assert entry["schema"]["additionalProperties"] is False
        assert all("description" in part for part in entry["schema"]["properties"].values())


def test_the_replay_capabilities_of_the_contract() -> None:
    safe = {kind.name for kind in TYPES if kind.capabilities.replay_safe}
    scoped = {kind.name for kind in TYPES if kind.capabilities.idempotency_strategy == "run_scoped"}
    minimal = {kind.name for kind in TYPES if kind.capabilities.evidence_level == "minimal"}

    assert safe == scoped == {"prompt", "delay", "log", "branch"}
    assert minimal == {"delay", "log"}
    assert not any(kind.capabilities.requires_human_review_for_rerun for kind in TYPES)
    assert {kind.name for kind in TYPES if kind.default_retry} == {"prompt"}


@pytest.mark.parametrize("kind", list(TYPES), ids=lambda kind: kind.name)
def test_each_example_is_a_config(kind: StepType) -> None:
    assert TYPES.check(kind.name, kind.example) == []


@pytest.mark.parametrize("kind", list(TYPES), ids=lambda kind: kind.name)
def test_each_type_refuses_what_it_does_not_know(kind: StepType) -> None:
    problems = TYPES.check(kind.name, {**kind.example, "colour": "red", "force_error": True, "simulate_delay_ms": 1})

    assert [problem.path for problem in problems] == [
        "config.force_error",
        "config.simulate_delay_ms",
        "config.colour",
    ]
    assert problems[2].message == "unknown field"
    assert "hook for tests" in problems[0].message


@pytest.mark.parametrize(
    "name,config,path,words",
    [
        ("log", {}, "config", '"message" is a required property'),
        ("log", {"message": "x", "level": "loud"}, "config.level", "not one of"),
        ("log", {"message": 5}, "config.message", 'not of type "string"'),
        ("log", {"message": "{{ oops"}, "config.message", "not a template"),
        ("delay", {}, "config", '"milliseconds" is a required property'),
        ("delay", {"milliseconds": 0}, "config.milliseconds", "less than the minimum of 1"),
        ("delay", {"milliseconds": 1.5}, "config.milliseconds", 'not of type "integer"'),
        ("branch", {}, "config", '"condition" is a required property'),
        ("branch", {"condition": "inputs.x > 3"}, "config.condition", "is never true"),
        ("prompt", {}, "config", "exactly one of template and prompt"),
        ("prompt", {"template": "a", "prompt": "b"}, "config", "exactly one of template and prompt"),
        ("wait_for_human", {}, "config", '"assigned_to_user_id" is a required property'),
        ("wait_for_human", {"assigned_to_user_id": "  "}, "config.assigned_to_user_id", "does not match"),
        ("map", {"items": 3, "step": {"type": "log", "config": {"message": ""}}}, "config.items", "array"),
        (
            "map",
            {"items": [0] * 10_001, "step": {"type": "log", "config": {"message": ""}}},
            "config.items",
            "more than 10000 items",
        ),
        ("map", {"items": [], "step": {}}, "config.step", '"type" is a required property'),
        ("map", {"items": [], "step": {"type": "x"}}, "config.step.type", "Unknown step type: x"),
        ("map", {"items": [], "step": {"type": "map"}}, "config.step.type", "cannot stand within another"),
        (
            "map",
            {"items": [], "step": {"type": "log", "config": {"message": ""}, "x": 1}},
            "config.step.x",
            "unknown field",
        ),
        (
            "map",
            {"items": [], "step": {"type": "log", "config": {}}},
            "config.step.config",
            '"message" is a required property',
        ),
        (
            "parallel",
            {"steps": [{"type": "log", "config": {"message": "x", "colour": 1}}]},
            "config.steps.0.config.colour",
            "unknown field",
        ),
        ("retry", {"step_type": "branch"}, "config.step_type", "cannot stand within another"),
        (
            "retry",
            {"step_type": "log", "step_config": {"x": 1, "message": ""}},
            "config.step_config.x",
            "unknown field",
        ),
        ("json_validate", {"data": 1, "schema": 3}, "config.schema", 'not of type "object"'),
        ("text_clean", {"text": "x", "operations": ["melt"]}, "config.operations.0", "not one of"),
        ("csv_to_json", {"csv_data": "x", "delimiter": '"'}, "config.delimiter", "does not match"),
        ("nothing", {}, "type", "Unknown step type: nothing"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(name: str, config: dict[str, Any], path: str, words: str) -> None:
    [problem] = TYPES.check(name, config)

    assert problem.path == path
    assert words in problem.message


def test_a_template_may_stand_for_anything_until_it_is_resolved() -> None:
    config = {"items": "{{ inputs.list }}", "batch_size": "{{ inputs.size }}"}
    prepared = TYPES.prepare("batch", config)

    assert TYPES.check("batch", config) == []
    assert prepared.names == {"inputs.list", "inputs.size"}
    resolved = prepared.resolve(templates.scope(inputs={"list": [1], "size": 2}, outputs={}, last={}))
    assert resolved == {"items": [1], "batch_size": 2}


@pytest.mark.parametrize("size,words", [("many", "integer"), (0, "minimum"), ([1], "integer"), (10**9, "maximum")])
def test_what_a_template_became_is_checked(size: Any, words: str) -> None:
    prepared = TYPES.prepare("batch", {"items": [], "batch_size": "{{ inputs.size }}"})

    with pytest.raises(StepFailure, match=r"config\.batch_size") as failed:
        prepared.resolve(templates.scope(inputs={"size": size}, outputs={}, last={}))

    assert failed.value.code == "validation_error"
    assert not failed.value.retryable
    assert words in failed.value.message


def test_messages_repeat_no_values() -> None:
    prepared = TYPES.prepare("log", {"message": "x", "level": "{{ secrets.token }}"})

    with pytest.raises(StepFailure) as failed:
        prepared.resolve({"secrets": {"token": "hunter22"}})

    assert "hunter22" not in str(failed.value)


@pytest.mark.parametrize(
    "field,value,settled",
    [
        ("milliseconds", "50", 50),
        ("milliseconds", " 50 ", 50),
        ("milliseconds", 50, 50),
    ],
)
def test_texts_become_numbers_where_numbers_are_wanted(field: str, value: Any, settled: Any) -> None:
    assert TYPES.prepare("delay", {field: "{{ x }}"}).resolve({"x": value}) == {field: settled}


@pytest.mark.parametrize("value,text", [(5, "5"), (True, "True"), (["a"], "['a']"), ("t", "t")])
def test_values_become_texts_where_texts_are_wanted(value: Any, text: str) -> None:
    assert TYPES.prepare("log", {"message": "{{ x }}"}).resolve({"x": value})["message"] == text


def test_null_is_the_default() -> None:
    prepared = TYPES.prepare("log", {"message": "m", "level": "{{ x }}"})

    assert prepared.resolve({"x": None}) == {"message": "m", "level": "info"}


@pytest.mark.parametrize("who", ["ann", 7])
def test_a_field_of_two_types_takes_both(who: Any) -> None:
    prepared = TYPES.prepare("wait_for_human", {"assigned_to_user_id": "{{ x }}"})

    assert prepared.resolve({"x": who}) == {"assigned_to_user_id": who}


def test_too_many_expressions_are_one_mistake() -> None:
    config = {"data": [f"{{{{ {n} + 1 }}}}" for n in range(3_000)], "checkpoint_id": "x"}

    assert [problem.path for problem in TYPES.check("checkpoint", config)] == ["config"]


def test_a_constant_config_is_settled_once() -> None:
    prepared = TYPES.prepare("log", {"message": "m"})

    assert prepared.resolve({}) is prepared.resolve({})


def test_a_function_that_nobody_registered_is_refused_early() -> None:
    types = StepTypes(functions={"f": lambda: None})

    assert types.check("python", {"function": "f"}) == []
    assert types.check("python", {"function": "{{ inputs.f }}"}) == []
    [problem] = types.check("python", {"function": "g"})
    assert problem == ("config.function", "no function is registered as 'g'")


def test_the_context_of_these_tests_is_complete() -> None:
    assert context().attempt == 1
