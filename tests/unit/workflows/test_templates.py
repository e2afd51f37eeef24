"""What templates become: values, texts, conditions; and how they fail."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.contexts.workflows import templates
from windlass.contexts.workflows.failures import StepFailure

NAMES = templates.scope(
    inputs={"list": [1, 2, {"a": 3}], "n": 5, "text": "hé & <b>", "none": None, "yes": True},
    outputs={"my-step": {"text": "T"}, "a": {"items": [1], "text": "A"}},
    last={"q": 1},
    item={"id": 7},
    secrets={"token": "hunter22"},
    tenant_id="t",
)


@pytest.mark.parametrize(
    "template,value",
    [
        ("{{ inputs.list }}", [1, 2, {"a": 3}]),
        ("{{inputs.list.2.a}}", 3),
        ("{{ inputs.none }}", None),
        ("{{ inputs.yes }}", True),
        ("{{ a.text }}", "A"),
        ("{{ a.items }}", [1]),
        ("{{ steps.a.outputs.text }}", "A"),
        ("{{ my-step.text }}", "T"),
        ("{{ steps.my-step.outputs.text }}", "T"),
        ("{{ steps['my-step'].outputs.text | lower }}", "t"),
        ("{{ last.q }}", 1),
        ("{{ prev.q }}", 1),
        ("{{ item.id }}", 7),
        ("{{ secrets.token }}", "hunter22"),
        ("{{ tenant_id }}", "t"),
        ("{{ inputs.n-1 }}", 4),
        ("{{ inputs.n * 1000 }}", 5000),
        ("{{ inputs.list | length }}", 3),
        ("{{ inputs.list | map('string') | list }}", ["1", "2", "{'a': 3}"]),
        ("{{ [{'k': 1}, {'k': 2}] | map(attribute='k') | sum }}", 3),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ inputs.get('n') }}", 5),
        ("{{ 'a,b'.split(',') }}", ["a", "b"]),
        ("{{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("{{ inputs.colour | default('red') }}", "red"),
    ],
)
def test_one_expression_becomes_its_value(template: str, value: Any) -> None:
    assert templates.resolve(template, NAMES) == value


@pytest.mark.parametrize(
    "template,text",
    [
        ("no blocks {#fff} } %}", "no blocks {#fff} } %}"),
        ("{{ inputs.n }} & {{ inputs.text }}", "5 & hé & <b>"),
        ("[{{ inputs.none }}]", "[]"),
        ("{{ inputs.yes }}!", "True!"),
        ("{{ inputs.text | upper }}!\n", "HÉ & <B>!\n"),
        ("{% for i in range(3) %}{{ loop.index }}{% endfor %}", "123"),
        ("{% if inputs.n > 3 && inputs.yes %}big{% endif %}", "big"),
        ("{{ inputs.none || 'x' }}{{ 'a||b&&c' }}", "xa||b&&c"),
        ("{% raw %}{{ x || y }}{% endraw %}", "{{ x || y }}"),
        ("{# {{ nothing || }} #}x{{ 1 }}", "x1"),
        ("{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "3"),
        ("{{ inputs.list | tojson }}.", '[1,2,{"a":3}].'),
        ("{{ ['a', none, 1] | join('-') }}.", "a--1."),
        ("{{ 'a<b' | e }}.", "a&lt;b."),
        ("{{ 'a\nb' | indent(2) }}.", "a\n  b."),
        ("{{ 'aaa' | replace('a', 'b', 2) }}{{ 'aa'.replace('a', 'c') }}.", "bbacc."),
        ("{{ [1, 2, 3] | batch(2) | list }}.", "[[1, 2], [3]]."),
        ("{{ [1, 2, 3] | slice(2) | list }}.", "[[1, 2], [3]]."),
        ("{{ 2.345 | round(1) }} {{ 2.31 | round(1, 'ceil') }}", "2.3 2.4"),
        ("{% for g in [{'k': 1}, {'k': 1}] | groupby('k') %}{{ g.grouper }}{{ g.list | length }}{% endfor %}", "12"),
    ],
)
def test_anything_else_becomes_text(template: str, text: str) -> None:
    assert templates.resolve(template, NAMES) == text


@pytest.mark.parametrize(
    "template,variable,words",
    [
        ("{{ nothing }}", "nothing", "unknown variable 'nothing'"),
        ("x {{ inputs.colour }}", "inputs.colour", "'inputs' has no 'colour' (it has list, n, none, text, yes)"),
        ("{{ inputs.colour | upper }}", "inputs.colour", "unknown variable 'inputs.colour'"),
        ("{{ inputs['colour'] ~ 'x' }}", "inputs.colour", "unknown variable 'inputs.colour'"),
        ("{{ inputs.text.x }}", "inputs.text.x", "'inputs.text' has no 'x' (it is text)"),
        ("{{ inputs.list.9 }}", "inputs.list.9", "it is a list"),
        ("{{ my-stop.text }}", "my-stop.text", "unknown variable 'my-stop.text'"),
        ("{% for x in inputs.xs %}{{ x }}{% endfor %}", "inputs.xs", "unknown variable 'inputs.xs'"),
        ("{% if steps.b.outputs.x == 1 %}y{% endif %}", "steps.b.outputs.x", "unknown variable 'steps.b.outputs.x'"),
        ("{{ ''.__class__ }}", "__class__", "unknown variable"),
        ("{{ inputs.n.real }}", "inputs.n.real", "unknown variable"),
    ],
)
def test_an_unknown_variable_fails_by_its_name_and_field(template: str, variable: str, words: str) -> None:
    with pytest.raises(StepFailure) as failed:
        templates.compile_config({"a": {"b": [1, template]}}).resolve(NAMES)

    assert failed.value.code == "template_error"
    assert not failed.value.retryable
    assert failed.value.data == {"field": "config.a.b.1", "variable": variable}
    assert failed.value.message.startswith("config.a.b.1: ")
    assert words in failed.value.message


@pytest.mark.parametrize(
    "template",
    [
        "{{ inputs[secrets.token] }}",
        "{{ [1] | map(attribute=secrets.token) | list }}",
        "{{ 1 | round(secrets.token) }}",
        "{{ {}[secrets.token] }}",
        "{{ secrets.token + 1 }}",
        "{{ 'a'.index(secrets.token) }}",
        "{{ secrets.token.x }}",
        "{{ [1].index(secrets.token) }}",
        "{{ 'a' | truncate(secrets.token) }}",
        "{{ range(secrets.token) }}",
    ],
)
def test_no_failure_quotes_a_secret(template: str) -> None:
    with pytest.raises(StepFailure) as failed:
        templates.resolve(template, NAMES)

    assert "hunter22" not in str(failed.value)
    assert "hunter22" not in str(failed.value.data)


def test_what_may_be_missing_is_not_blamed() -> None:
    with pytest.raises(StepFailure, match=r"unknown variable 'inputs\.b'"):
        templates.resolve("{{ inputs.a | default('x') }}{{ inputs.b | upper }}", NAMES)


@pytest.mark.parametrize(
    "template",
    [
        "{{ inputs",
        "{{ }}",
        "{% for %}{% endfor %}",
        "{{ 1 | nothing }}",
        "{{ 1 is nothing }}",
        "{% include 'x' %}",
        "{% macro m() %}{% endmacro %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% block x %}{% endblock %}",
        "{% autoescape true %}{% endautoescape %}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    ],
)
def test_what_is_no_template_is_refused_before_it_runs(template: str) -> None:
    with pytest.raises(StepFailure, match=r"config\.x: not") as failed:
        templates.compile_config({"x": template})

    assert failed.value.code == "template_error"


@pytest.mark.parametrize("text", ["1", "true", " YES\n", "y", "on", "{{ inputs.n > 3 }}", "{{ inputs.yes }}"])
def test_true(text: str) -> None:
    assert templates.condition(text, NAMES)


@pytest.mark.parametrize("text", ["", "0", "false", "2", "{{ inputs.n }}", "{{ inputs.list }}", "{{ inputs.none }}"])
def test_not_true(text: str) -> None:
    assert not templates.condition(text, NAMES)


def test_a_condition_without_braces_is_a_mistake() -> None:
    assert templates.condition_problem("inputs.n > 3") == "'inputs.n > 3' is never true: write {{ inputs.n > 3 }}"
    assert templates.condition_problem("yes") is None
    assert templates.condition_problem("{{ inputs.n > 3 }}") is None
    assert "not a template" in str(templates.condition_problem("{{ inputs.n > }}"))


def test_what_has_no_templates_is_not_copied() -> None:
    config = {"a": [1, {"b": "text"}]}
    compiled = templates.compile_config(config)

    assert compiled.constant
    assert compiled.resolve(NAMES) is config


def test_raw_fields_stay_as_they_are() -> None:
    config = {"template": "{{ nothing }}", "step": {"message": "{{ item }}"}, "x": "{{ a.text }}"}

    assert templates.resolve(config, NAMES, raw=frozenset(["template", "step"])) == {**config, "x": "A"}


def test_a_definition_is_not_changed_by_resolving_it() -> None:
    config = {"a": ["{{ inputs.n }}", {"b": "{{ a.text }}"}]}

    assert templates.resolve(config, NAMES) == {"a": [5, {"b": "A"}]}
    assert config == {"a": ["{{ inputs.n }}", {"b": "{{ a.text }}"}]}


def test_the_names_that_templates_read() -> None:
    config = {
        "a": "{{ inputs.x }} {{ steps.s.outputs.y }}",
        "b": ["{% for i in last.rows %}{{ i.name }}{{ secrets['token'] }}{% endfor %}"],
        "c": "{{ inputs.deep[other.key].more }}",
    }

    assert templates.names_in(config) == {
        "inputs.x",
        "steps.s.outputs.y",
        "last.rows",
        "secrets.token",
        "inputs.deep",
        "other.key",
    }


@given(st.text())
def test_data_is_never_read_as_a_template(text: str) -> None:
    names = {"x": text}

    assert templates.resolve("{{ x }}", names) == text
    assert templates.resolve("<{{ x }}>", names) == f"<{text}>"
    assert templates.resolve("<{{ x | string }}>", names) == f"<{text}>"


@given(st.text(alphabet="{}%#|&'\"-ax. \\\n", max_size=40))
def test_no_text_does_anything_but_render_or_fail(text: str) -> None:
    with suppress(StepFailure):
        assert templates.resolve(text, {"a": 1, "x": "y"}) == text or "{{" in text or "{%" in text
