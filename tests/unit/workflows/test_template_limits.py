"""No template takes much time or memory: it ends, with a reason."""

import tracemalloc
from typing import Any

import pytest

from windlass.contexts.workflows import sandbox, templates
from windlass.contexts.workflows.budget import Budget, Exhausted
from windlass.contexts.workflows.failures import StepFailure

MIB = 1024 * 1024
BIG = "a" * 1_000_000
NAMES = templates.scope(inputs={"big": BIG, "big2": BIG[1:] + "b", "rows": [[1] * 100] * 1000}, outputs={}, last={})

BOMBS = {
    "range": "{% for x in range(10**9) %}{{ x }}{% endfor %}",
    "nested loops": "{% for x in range(90000) %}{% for y in range(90000) %}{% endfor %}{% endfor %}",
    "loops that print": "{% for x in range(9999) %}{% for y in range(9999) %}x{% endfor %}{% endfor %}",
    "long body": "{% for x in range(90000) %}" + "y" * 30_000 + "{% endfor %}",
    "long body kept": "{% set b %}{% for x in range(90000) %}" + "y" * 30_000 + "{% endfor %}{% endset %}",
    "many loops": "{% for x in [1] %}" * 12 + "{% endfor %}" * 12,
    "power": "{{ 10**(10**9) }}",
    "product": "{{ 2**4000 * 2**4000 }}",
    "repeated text": "{{ 'a' * 10**9 }}",
    "repeated list": "{{ [1] * 10**9 }}",
    "format": "{{ '%1000000000d' % 1 }}",
    "str.format": "{{ '{:1000000000}'.format(1) }}",
    "center": "{{ 'a' | center(10**9) }}",
    "ljust": "{{ 'a'.ljust(10**9) }}",
    "zfill": "{{ 'a'.zfill(10**9) }}",
    "expandtabs": "{{ '\t'.expandtabs(10**9) }}",
    "doubled text": "{% set a = 'aaaaaaaa' %}" + "{% set a = a ~ a %}" * 100 + "{{ a }}",
    "added text": "{% set a = 'aaaaaaaa' %}" + "{% set a = a + a %}" * 100 + "{{ a }}",
    "list of lists": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 50 + "{{ a }}",
    "equal lists": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 50 + "{{ a == a }}",
    "lists as JSON": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 50 + "{{ a | tojson }}",
    "lists as a value": "{{ " + "[" * 30 + "1" + ",1]" * 30 + " | pprint }}",
    "grown name": "{% set n = namespace(a='aaaa') %}{% for i in range(99) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
    "deep name": "{% set n = namespace(a=[]) %}{% for i in range(9999) %}{% set n.a = [n.a] %}{% endfor %}{{ n.a }}",
    "join": "{{ range(90000) | join(inputs.big) }}",
    "str.join": "{{ inputs.big.join(inputs.big) }}",
    "replace": "{{ inputs.big | replace('a', inputs.big) }}",
    "str.replace": "{{ inputs.big.replace('', inputs.big) }}",
    "indent": "{{ 'a\nb' | indent(10**9) }}",
    "batch": "{{ [1] | batch(10**9, 'x') | list }}",
    "slice": "{{ [1] | slice(10**9) | list }}",
    "round": "{{ 1.5 | round(10**9, 'floor') }}",
    "sum of lists": "{{ inputs.rows | sum(start=[]) }}",
    "compare": "{% for x in range(90000) %}{% if inputs.big == inputs.big2 %}{% endif %}{% endfor %}",
    "contains": "{% for x in range(90000) %}{% if 'zq' in inputs.big %}{% endif %}{% endfor %}",
    "split": "{{ inputs.big.split('a') }}",
    "parentheses": "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
    "digits": "{{ " + "9" * 30_000 + " }}",
    "sums": "{{ " + "1+" * 3_000 + "1 }}",
    "lipsum": "{{ lipsum(n=100000) }}",
    "cycler": "{{ cycler(1) }}",
    "too long": "{{ x }}" + "y" * 70_000,
    "text over the limit": "{{ inputs.big }}{{ inputs.big }}",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_ends_with_a_reason_and_little_memory(bomb: str) -> None:
    if "list" not in bomb:  # whose many small objects take the tracer seconds to count
        tracemalloc.start()
    try:
        with pytest.raises(StepFailure) as failed:
            templates.resolve({"x": BOMBS[bomb]}, NAMES)
        peak = tracemalloc.get_traced_memory()[1] if tracemalloc.is_tracing() else 0
    finally:
        tracemalloc.stop()

    assert failed.value.code == "template_error"
    assert failed.value.message.startswith("config.x: ")
    assert len(failed.value.message) < 400
    assert peak < 64 * MIB


def test_many_templates_share_one_allowance() -> None:
    one = "{% for x in range(20000) %}{% if x %}{% endif %}{% endfor %}"

    assert templates.resolve([one], NAMES) == [""]
    with pytest.raises(StepFailure, match="too much work"):
        templates.resolve([one] * 20, NAMES)


def test_many_templates_make_no_more_than_a_config_may_be() -> None:
    with pytest.raises(StepFailure, match="too large"):
        templates.resolve(["{{ inputs.big }}"] * 50, NAMES)
    with pytest.raises(StepFailure, match="too large"):
        templates.resolve(["{{ inputs.rows }}"] * 50, NAMES)
    with pytest.raises(StepFailure, match="too large"):
        templates.resolve(["x{{ inputs.big }}"] * 50, NAMES)


def test_a_config_has_so_many_expressions() -> None:
    with pytest.raises(StepFailure, match="more than 100 templates"):
        templates.compile_config({"x": [f"{{{{ {n} + 1 }}}}" for n in range(101)]})


def test_a_template_cannot_reach_its_own_counter() -> None:
    for name in ("budget", " budget", "_budget"):
        with pytest.raises(StepFailure):
            templates.resolve(f"{{{{ {name} }}}}", {})
    assert templates.resolve("{% set budget = 1 %}{{ budget }}", {}) == "1"


@pytest.mark.parametrize(
    "template",
    [
        "{{ inputs.__class__ }}",
        "{{ inputs | attr('__class__') }}",
        "{{ [1] | map(attribute='__class__') | list }}",
        "{{ inputs['__class__'] }}",
        "{{ range.__globals__ }}",
        "{{ self }}",
        "{{ dict.fromkeys }}",
        "{{ inputs.rows.append(1) }}",
        "{{ inputs.update(a=1) }}",
        "{{ inputs.keys }}",
        "{{ range }}",
        "{{ namespace() }}",
        "{{ (1).bit_length() }}",
    ],
)
def test_nothing_but_data_is_reached(template: str) -> None:
    with pytest.raises(StepFailure):
        templates.resolve(f"{template}", NAMES)
    with pytest.raises(StepFailure):
        templates.resolve(f"x{template}", NAMES)


@pytest.mark.parametrize("value", ["a" * 100, [1] * 20, {"a": [1] * 20}, [["a" * 50]] * 5, 10**400, range(99)])
def test_a_budget_counts_everything_in_a_value(value: Any) -> None:
    budget = Budget(1000)
    budget.weigh(value)

    assert budget.left < 1000 - 5
    with pytest.raises(Exhausted):
        Budget(4).weigh(value)


def test_the_limit_of_a_text_is_what_it_says() -> None:
    assert sandbox.MOST_CHARACTERS == MIB
