"""Every rule of a definition, told all at once, each with its place."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.support.definitions import CATALOGUE, definition, log
from windlass.contexts.workflows.api import check_inputs, preflight, read, require_valid, templates, validate
from windlass.contexts.workflows.api import template_text as text_of
from windlass.kernel.errors import TooLarge, ValidationFailed

Document = dict[str, Any]


def codes(document: object) -> list[tuple[str, str]]:
    return [(finding.path, finding.code) for finding in validate(document, CATALOGUE)]


def changed(change: Callable[[Document], object]) -> Document:
    document = definition()
    change(document)
    return document


def step(number: int, **fields: Any) -> Callable[[Document], object]:
    return lambda document: document["steps"][number].update(fields)


def top(**fields: Any) -> Callable[[Document], object]:
    return lambda document: document.update(fields)


def deep(levels: int) -> Any:
    made: Any = "x"
    for _ in range(levels):
        made = [made]
    return made


def test_a_good_definition_has_no_faults() -> None:
    assert codes(definition()) == []
    assert codes({"name": "empty", "steps": []}) == []
    assert codes(changed(top(description=None, on_completion_webhook=None, outputs=None))) == []
    assert codes(changed(step(0, name=None, retry=None, timeout_seconds=None, on_failure=None, when=None))) == []
    assert codes(changed(step(0, timeout_seconds=0.5, on_failure="_end"))) == []


@pytest.mark.parametrize(
    "change,path,code",
    [
        (top(name=""), "name", "minLength"),
        (top(name="a\nb"), "name", "pattern"),
        (top(name=7), "name", "string_type"),
        (lambda document: document.pop("name"), "name", "missing"),
        (lambda document: document.pop("steps"), "steps", "missing"),
        (top(steps={}), "steps", "array_type"),
        (top(steps=[log(f"s{n}") for n in range(51)]), "steps", "maxItems"),
        (top(version="1"), "version", "integer_type"),
        (top(version=-1), "version", "minimum"),
        (top(version=2**31), "version", "maximum"),
        (top(visibility="public"), "visibility", "enum"),
        (top(tags=["a", ""]), "tags.1", "minLength"),
        (top(mcp={}), "mcp", "extra_forbidden"),
        (top(metadata={"mcp": []}), "metadata.mcp", "policy_invalid"),
        (top(metadata={"mcp_policy": {"scopes": [1]}}), "metadata.mcp_policy.scopes", "policy_invalid"),
        (top(on_completion_webhook="ftp://x"), "on_completion_webhook", "pattern"),
        (top(on_completion_webhook="https://ann:secret@x/"), "on_completion_webhook", "pattern"),
        (top(on_completion_webhook={"url": "https://ann@x?a=1"}), "on_completion_webhook.url", "pattern"),
        (top(on_completion_webhook={"url": "http://x", "x": 1}), "on_completion_webhook.x", "extra_forbidden"),
        (top(on_completion_webhook={}), "on_completion_webhook.url", "missing"),
        (step(0, id="1a"), "steps.0.id", "pattern"),
        (step(0, id="inputs"), "steps.0.id", "reserved_id"),
        (step(1, id="a"), "steps.1.id", "duplicate_step_id"),
        (step(0, type="lgo"), "steps.0.type", "unknown_step_type"),
        (step(0, tpye="log"), "steps.0.tpye", "extra_forbidden"),
        (step(0, config=[]), "steps.0.config", "object_type"),
        (step(0, config={}), "steps.0.config.message", "config_invalid"),
        (step(0, config={"message": "x", "colour": "red"}), "steps.0.config.colour", "config_invalid"),
        (step(0, retry=-1), "steps.0.retry", "minimum"),
        (step(0, retry=1.5), "steps.0.retry", "integer_type"),
        (step(0, timeout_seconds=0), "steps.0.timeout_seconds", "exclusiveMinimum"),
        (step(0, on_success="nowhere"), "steps.0.on_success", "unknown_target"),
        (step(0, on_failure="nowhere"), "steps.0.on_failure", "unknown_target"),
        (step(0, on_timeout="b"), "steps.0.on_timeout", "on_timeout_unsupported"),
        (step(0, when="{{ inputs.size > }}"), "steps.0.when", "condition_invalid"),
        (step(0, when="inputs.size"), "steps.0.when", "condition_invalid"),
        (step(0, repeat={"while": "{% if %}", "max_iterations": 3}), "steps.0.repeat.while", "condition_invalid"),
        (step(0, repeat={"until": "{{ 'x }}", "max_iterations": 3}), "steps.0.repeat.until", "condition_invalid"),
        (step(0, config={"message": "{{ a | nofilter }}"}), "steps.0.config.message", "config_invalid"),
        (step(1, depends_on=["nowhere"]), "steps.1.depends_on.0", "unknown_target"),
        (step(1, depends_on=["_end"]), "steps.1.depends_on.0", "unknown_target"),
        (step(1, depends_on=["a"], on_success="_end"), "steps.1.on_success", "steering_in_graph"),
        (step(1, depends_on=["a"], on_failure="__next__"), "steps.1.on_failure", "steering_in_graph"),
        (step(0, when=" "), "steps.0.when", "pattern"),
        (step(0, repeat={"max_iterations": 3}), "steps.0.repeat", "repeat_condition"),
        (step(0, repeat={"while": "1", "until": "1", "max_iterations": 3}), "steps.0.repeat", "repeat_condition"),
        (step(0, repeat={"while": "1", "max_iterations": 1001}), "steps.0.repeat.max_iterations", "maximum"),
        (step(0, repeat={"while": "1"}), "steps.0.repeat.max_iterations", "missing"),
        (step(0, repeat={"whle": "1", "max_iterations": 3}), "steps.0.repeat.whle", "extra_forbidden"),
        (step(0, compensate={}), "steps.0.compensate.type", "missing"),
        (step(0, compensate={"type": "lgo"}), "steps.0.compensate.type", "unknown_step_type"),
        (step(0, compensate={"type": "wait_for_human"}), "steps.0.compensate.type", "not_mapable"),
        (step(0, compensate={"type": "log", "config": {}}), "steps.0.compensate.config.message", "config_invalid"),
        (step(0, compensate={"type": "log", "on_success": "b"}), "steps.0.compensate.on_success", "extra_forbidden"),
    ],
)
def test_a_broken_rule_is_told_with_its_place(change: Callable[[Document], object], path: str, code: str) -> None:
    assert (path, code) in codes(changed(change))


@pytest.mark.parametrize("kind", ["wait_for_human", "wait_for_approval"])
@pytest.mark.parametrize("config", [{}, {"assigned_to_user_id": " "}, {"assigned_to_user_id": None}])
def test_people_are_named(kind: str, config: Document) -> None:
    found = codes(definition([{"id": "ask", "type": kind, "config": config}]))

    assert found == [("steps.0.config.assigned_to_user_id", "assigned_to_required")]


@pytest.mark.parametrize(
    "config,found",
    [
        ({"assigned_to_user_id": ["ann", 7], "quorum": 2, "reminder": 3600}, []),
        ({"assigned_to_user_id": ["{{ inputs.who }}"], "quorum": 2}, []),
        ({"assigned_to_user_id": ["role:boss"], "quorum": 2}, []),
        ({"assigned_to_user_id": ["ann", "ann"], "quorum": 2}, [("steps.0.config.quorum", "value_error")]),
        ({"assigned_to_user_id": []}, [("steps.0.config.assigned_to_user_id", "config_invalid")]),
        ({"assigned_to_user_id": ["ann", " "]}, [("steps.0.config.assigned_to_user_id.1", "config_invalid")]),
        ({"assigned_to_user_id": "ann", "quorum": 0}, [("steps.0.config.quorum", "config_invalid")]),
        ({"assigned_to_user_id": "ann", "reminder": 0.5}, [("steps.0.config.reminder", "config_invalid")]),
    ],
)
def test_several_people_may_be_asked(config: Document, found: list[tuple[str, str]]) -> None:
    assert codes(definition([{"id": "ask", "type": "wait_for_approval", "config": config}])) == found


@pytest.mark.parametrize(
    "config,path,code",
    [
        ({"condition": "1", "true_next": "nowhere"}, "config.true_next", "unknown_target"),
        ({"condition": "1", "false_next": "nowhere"}, "config.false_next", "unknown_target"),
        ({"true_next": "b"}, "config.condition", "config_invalid"),
        ({"condition": "1", "else": "b"}, "config.else", "config_invalid"),
    ],
)
def test_a_branch_leads_somewhere(config: Document, path: str, code: str) -> None:
    found = codes(definition([{"id": "fork", "type": "branch", "config": config}, log("b")]))

    assert found == [(f"steps.0.{path}", code)]


@pytest.mark.parametrize(
    "inner,path,code",
    [
        ({"type": "wait_for_human"}, "type", "not_mapable"),
        ({"type": "map"}, "type", "not_mapable"),
        ({"type": "lgo"}, "type", "unknown_step_type"),
        ({}, "type", "missing"),
        ({"type": "log", "config": {"message": "x", "nope": 1}}, "config.nope", "config_invalid"),
        ({"type": "log", "config": {"message": "x"}, "on_success": "a"}, "on_success", "extra_forbidden"),
        ({"type": "log", "config": {"message": "x" * 33_000}}, "config", "step_config_too_large"),
    ],
)
def test_steps_inside_steps_keep_the_rules(inner: Document, path: str, code: str) -> None:
    in_map = definition([{"id": "m", "type": "map", "config": {"items": [1], "step": inner}}])
    in_parallel = definition([{"id": "p", "type": "parallel", "config": {"steps": [log("x"), inner]}}])

    if code == "step_config_too_large":
        assert [found[1] for found in codes(in_map)] == [code]
    else:
        assert codes(in_map) == [(f"steps.0.config.step.{path}", code)]
        assert codes(in_parallel) == [(f"steps.0.config.steps.1.{path}", code)]


def test_branches_of_one_step_have_ids_of_their_own() -> None:
    config = {"steps": [log("x"), log("x")]}

    assert codes(definition([{"id": "p", "type": "parallel", "config": config}])) == [
        ("steps.0.config.steps.1.id", "duplicate_step_id")
    ]


@pytest.mark.parametrize(
    "steps,message",
    [
        (
            [log("a", on_success="b"), log("b", on_failure="a")],
            "Workflow contains an explicit cycle: a -> b -> a",
        ),
        ([log("a", on_success="a")], "Workflow contains an explicit cycle: a -> a"),
        (
            [
                {"id": "a", "type": "branch", "config": {"condition": "1", "true_next": "b"}},
                log("b", on_success="c"),
                {**log("c", on_timeout="a"), "type": "wait_for_human", "config": {"assigned_to_user_id": "u"}},
            ],
            "Workflow contains an explicit cycle: a -> b -> c -> a",
        ),
        ([log("a", depends_on=["b"]), log("b", depends_on=["a"])], "Steps depend on one another: a -> b -> a"),
        ([log("a", depends_on=["a"])], "Steps depend on one another: a -> a"),
        ([log("a", depends_on=["b"], on_success="b"), log("b")], "Steps depend on one another: a -> b -> a"),
    ],
)
def test_circles_are_refused(steps: list[Document], message: str) -> None:
    assert [finding.message for finding in validate(definition(steps), CATALOGUE)] == [message]


def test_a_step_that_a_branch_chooses_does_not_depend_on_it_too() -> None:
    which: Document = {"id": "a", "type": "branch", "config": {"condition": "1", "true_next": "b", "false_next": "c"}}
    both = [which, log("b", depends_on=["a"]), log("c"), log("d", depends_on=["c", "a"])]

    assert codes(definition(both)) == [("steps.1.depends_on.0", "choice_without_effect")]
    assert codes(definition([which, log("b"), log("c"), log("d", depends_on=["b", "c"])])) == []
    assert codes(definition([log("a", on_failure="b"), log("b", depends_on=["a"])])) == []


def test_a_backward_jump_alone_is_fine() -> None:
    assert codes(definition([log("a"), log("b", on_failure="a")])) == []


def test_secrets_are_refused_wherever_they_are() -> None:
    document = definition(
        [log("a", config={"message": "x", "api_key": "s", "deep": [{"API_KEY": 1}], "signing": {"secret": "s"}})],
        metadata={"api_key": "s"},
    )

    found = {(finding.path, finding.message) for finding in validate(document, CATALOGUE)}

    assert (
        "steps.0.config.api_key",
        "api_key is not allowed in a definition (steps.0.config.api_key): give it as a secret of the run",
    ) in found
    assert {
        "metadata.api_key", "steps.0.config.deep.0.API_KEY", "steps.0.config.signing.secret",
    } <= {path for path, _ in found}  # fmt: skip


def test_everything_is_told_at_once_with_its_step() -> None:
    document = definition([log("a", on_success="x"), {"id": "a", "type": "nope", "extra": 1}, "no step"], speed=3)

    found = validate(document, CATALOGUE)

    assert {(finding.path, finding.step_id, finding.step_type) for finding in found} == {
        ("speed", None, None),
        ("steps.2", None, None),
        ("steps.1.extra", "a", "nope"),
        ("steps.1.type", "a", "nope"),
        ("steps.1.id", "a", "nope"),
        ("steps.0.on_success", "a", "log"),
    }


@pytest.mark.parametrize(
    "value,code",
    [
        ("a\0b", "unkeepable"),
        ("\ud800", "unkeepable"),
        (2**63, "unkeepable"),
        (2**70, "unkeepable"),
        (float("nan"), "unkeepable"),
        (float("inf"), "unkeepable"),
        (deep(70), "too_deep"),
    ],
)
def test_what_cannot_be_kept_is_refused(value: object, code: str) -> None:
    found = codes(changed(top(metadata={"x": value})))

    assert [one[1] for one in found] == [code]
    assert found[0][0].startswith("metadata.x")


def test_names_that_cannot_be_kept_are_refused() -> None:
    assert codes(changed(top(metadata={"a\0b": 1}))) == [("metadata.a\\u0000b", "unkeepable")]
    assert codes(changed(top(metadata={"\ud800": 1}))) == [("metadata.\\ud800", "unkeepable")]
    assert codes(changed(top(metadata={1: 1}))) == [("metadata.1", "unkeepable")]


def test_sizes_have_their_limits() -> None:
    large = changed(top(metadata={"x": "y" * 262_144}))
    config = changed(step(0, config={"message": "y" * 32_768}))
    pattern = definition([{"id": "a", "type": "regex_extract", "config": {"text": "x", "pattern": "a" * 1001}}])

    assert codes(large) == [("", "definition_too_large")]
    assert codes(config) == [("steps.0.config", "step_config_too_large")]
    assert ("steps.0.config.pattern", "pattern_too_long") in codes(pattern)
    for document, limit in ((large, 262_144), (config, 32_768)):
        with pytest.raises(TooLarge) as refused:
            require_valid(document, CATALOGUE)
        assert refused.value.data["limit"] == limit
    exact = {"name": "x", "steps": [], "metadata": {"x": ""}}
    exact["metadata"]["x"] = "y" * (262_144 - len(orjson.dumps(exact)))  # type: ignore[index]  # a dict
    assert codes(exact) == []


def test_issues_name_the_place_in_the_request() -> None:
    with pytest.raises(ValidationFailed) as refused:
        require_valid(changed(step(0, type="lgo")), CATALOGUE, ("body", "definition"))

    [issue] = refused.value.issues
    assert issue.loc == ("body", "definition", "steps", 0, "type")
    assert issue.data == {
        "path": "steps.0.type",
        "code": "unknown_step_type",
        "message": "Unknown step type: lgo; did you mean log?",
        "step_id": "a",
        "step_type": "lgo",
    }


# inputs
@pytest.mark.parametrize(
    "declared,path,code",
    [
        ({"n": 5}, "inputs.n", "schema_literal"),
        ({"n": "strin"}, "inputs.n", "schema_literal"),
        ({"n": None}, "inputs.n", "schema_literal"),
        ({"n": {"type": "strin"}}, "inputs.n.type", "schema_invalid"),
        ({"n": {"type": "integer", "default": "x"}}, "inputs.n.default", "default_invalid"),
        ({"n": {"$ref": "https://example.org/x"}}, "inputs.n.$ref", "remote_ref"),
        ({"n": {"$ref": "other.json"}}, "inputs.n.$ref", "remote_ref"),
        ({"n": {"$dynamicRef": "#x"}}, "inputs.n.$dynamicRef", "schema_unsupported"),
        ({"n": {"pattern": "a" * 1001}}, "inputs.n.pattern", "pattern_too_long"),
        ({"n": {"pattern": "(?=a)"}}, "inputs.n.pattern", "schema_invalid"),
        ({"type": "object", "properties": {"n": {"$ref": "#"}}}, "inputs", "schema_recursive"),
        ({"type": "object", "$schema": "http://example.org/mine"}, "inputs", "schema_invalid"),
        ({"type": "object", "required": True}, "inputs.required", "schema_invalid"),
        ([], "inputs", "object_type"),
    ],
)
def test_inputs_are_schemas(declared: object, path: str, code: str) -> None:
    assert (path, code) in codes(changed(top(inputs=declared)))


def test_a_schema_that_grows_without_end_is_refused() -> None:
    defs = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    bomb = {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": {**defs, "d40": {}}}

    assert codes(changed(top(inputs=bomb))) == [("inputs", "schema_too_large")]


def test_inputs_are_checked_and_filled() -> None:
    declared = {
        "topic": {"type": "string", "default": "x"},
        "count": "integer",
        "options": {"type": "object", "properties": {"deep": {"default": [1]}}, "required": False},
    }
    found = read(changed(top(inputs=declared)))

    assert check_inputs(found, {"count": 3}) == {"topic": "x", "count": 3}
    assert check_inputs(found, {"count": 3, "options": {}}) == {"topic": "x", "count": 3, "options": {"deep": [1]}}
    with pytest.raises(ValidationFailed) as refused:
        check_inputs(found, {"topic": 7, "colour": "red"})
    assert {(issue.loc[-1], issue.type) for issue in refused.value.issues} == {
        ("count", "missing"),
        ("topic", "string_type"),
        ("colour", "extra_forbidden"),
    }
    assert "7" not in str(refused.value)


def test_defaults_are_copies() -> None:
    found = read(changed(top(inputs={"list": {"type": "array", "default": []}})))

    check_inputs(found, {})["list"].append(1)

    assert check_inputs(found, {}) == {"list": []}


def test_a_whole_schema_is_taken_as_it_is() -> None:
    declared = {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}
    found = read(changed(top(inputs=declared)))

    assert found.inputs == declared
    assert check_inputs(found, {"n": 1, "more": 2}) == {"n": 1, "more": 2}
    with pytest.raises(ValidationFailed):
        check_inputs(found, {"n": "x"})


def test_without_a_declaration_everything_is_taken() -> None:
    assert check_inputs(read(definition()), {"any": 1}) == {"any": 1}


# preflight
def test_preflight_tells_rules_from_malformed_drafts() -> None:
    broken = definition([log("a", on_success="nowhere"), {"id": "b"}])

    blocked, open_ = preflight(broken, CATALOGUE), preflight(broken, CATALOGUE, "non-block")

    assert blocked["valid"] is False
    assert {issue["code"] for issue in blocked["errors"]} == {"definition_invalid"}
    assert {issue["reason"] for issue in blocked["errors"]} == {"missing", "unknown_target"}
    assert [issue["message"] for issue in open_["errors"]] == ["steps.1.type: Field required"]
    assert [issue["code"] for issue in open_["warnings"]] == ["definition_validation_warning"]


@pytest.mark.parametrize("draft", [None, 7, "x", [], {}, {"steps": 3}, {"name": "x", "steps": [None, 3, []]}])
def test_preflight_takes_any_draft(draft: object) -> None:
    for mode in ("block", "non-block"):
        told = preflight(draft, CATALOGUE, mode)
        assert told["valid"] is False
        assert told["errors"]


def test_preflight_warns_of_steps_that_are_not_safe_to_run_again() -> None:
    told = preflight(definition([log("a"), {"id": "p", "type": "python", "config": {"function": "f"}}]), CATALOGUE)

    assert told["valid"] is True
    [warning] = told["warnings"]
    assert (warning["code"], warning["step_id"], warning["step_type"]) == ("unsafe_replay_step", "p", "python")


@pytest.mark.parametrize(
    "kind,config,field",
    [
        ("regex_extract", {"text": "{{ inputs.x }}", "pattern": "(a"}, "pattern"),
        ("regex_extract", {"text": "x", "pattern": "(?=a)", "dotall": "{{ inputs.x }}"}, "pattern"),
        ("json_transform", {"data": "{{ inputs.x }}", "expression": "a["}, "expression"),
        ("json_transform", {"data": [], "query": "(" * 2000}, "query"),
        ("json_validate", {"data": 1, "schema": {"properties": {"a": {"pattern": "(a"}}}}, "schema"),
        ("wait_for_human", {"assigned_to_user_id": "a", "form_schema": {"pattern": "(a"}}, "form_schema"),
        ("wait_for_approval", {"assigned_to_user_id": "a", "form_schema": {"type": "lot"}}, "form_schema"),
    ],
)
def test_what_is_compiled_is_tried_before_it_runs_unless_it_has_templates(
    kind: str, config: Document, field: str
) -> None:
    wrong = {"id": "a", "type": kind, "config": config}
    inner = {"id": "all", "type": "map", "config": {"items": [], "step": {"type": kind, "config": config}}}
    open_ = wrong | {"config": config | {field: "{{ inputs.x }}"}}

    [problem] = validate(definition([wrong]), CATALOGUE)
    inside = [one.path for one in validate(definition([inner]), CATALOGUE)]

    assert (problem.path, problem.step_id) == (f"steps.0.config.{field}", "a")
    assert problem.message
    assert not problem.message.startswith("config.")
    assert inside == ([f"steps.0.config.step.config.{field}"] if "wait" not in kind else ["steps.0.config.step.type"])
    assert codes(definition([open_])) == []


def test_a_time_out_of_an_attempt_is_refused_where_there_is_none() -> None:
    asks = [
        {"id": kind, "type": kind, "config": {"assigned_to_user_id": "ann", "timeout_seconds": 9}, "timeout_seconds": 5}
        for kind in ("wait_for_human", "wait_for_approval")
    ]
    call = {"id": "call", "type": "workflow_call", "config": {"workflow_id": 1}, "timeout_seconds": 300}
    nap = {"id": "nap", "type": "delay", "config": {"milliseconds": 10}, "timeout_seconds": 5}
    document = definition([log("a", timeout_seconds=5), *asks, call, nap])

    told = preflight(document, CATALOGUE)

    assert [(one["path"], one["step_id"], one["reason"]) for one in told["errors"]] == [
        (f"steps.{place}.timeout_seconds", step_id, "timeout_unsupported")
        for place, step_id in enumerate(("wait_for_human", "wait_for_approval", "call"), 1)
    ]  # fmt: skip
    assert "waits as long as config.timeout_seconds says" in told["errors"][0]["message"]
    with pytest.raises(ValidationFailed):
        require_valid(document, CATALOGUE)


@pytest.mark.parametrize("template", templates(), ids=lambda template: template.name)
def test_every_template_can_be_saved(template: Any) -> None:
    document = orjson.loads(text_of(template.name))

    assert codes(document) == []
    assert (document["name"], bool(document["description"]), bool(template.tags)) == (template.name, True, True)
    assert read(document).steps
