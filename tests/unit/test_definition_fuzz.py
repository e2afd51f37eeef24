"""Whatever is given as a definition, it is answered: nothing breaks, and what passes can be read and shown."""

from contextlib import suppress
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.definitions import CATALOGUE
from windlass.contexts.workflows.api import check_inputs, preflight, read, validate
from windlass.contexts.workflows.definitions.format import DEFINITION, STEP
from windlass.kernel.errors import ValidationFailed

IDS = st.sampled_from(["a", "b", "c", "_end", "__next__", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | IDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | IDS, inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(
    ["type", "properties", "$ref", "default", "required", "items", "allOf", "$defs", "pattern", "x"]
)
SCHEMAS = st.recursive(
    JSON | st.sampled_from(["string", "object", "#", "#/x", "#/$defs/x", "http://x"]),
    lambda inner: st.dictionaries(WORDS, inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=10,
)
TYPES = st.sampled_from([*CATALOGUE.names(), "nothing"])
CONFIGS = st.dictionaries(
    st.sampled_from(
        ["message", "condition", "true_next", "step", "steps", "items", "step_type", "step_config", "data"]
    ),
    JSON | st.fixed_dictionaries({"type": TYPES}, optional={"config": JSON}),
    max_size=3,
)
STEPS = st.fixed_dictionaries(
    {"id": IDS, "type": TYPES},
    optional={name: JSON | IDS | st.lists(IDS, max_size=2) for name in STEP["properties"] if name not in {"id", "type"}}
    | {"config": CONFIGS | JSON},
)
DOCUMENTS = st.fixed_dictionaries(
    {"name": st.just("x"), "steps": st.lists(STEPS | JSON, max_size=4) | JSON},
    optional={name: JSON for name in DEFINITION["properties"] if name not in {"name", "steps"}}
    | {"inputs": SCHEMAS, "outputs": SCHEMAS},
)


@settings(max_examples=150)
@given(DOCUMENTS | JSON)
def test_every_document_is_answered(document: Any) -> None:
    found = validate(document, CATALOGUE)

    orjson.dumps([finding.shown() for finding in found])
    assert preflight(document, CATALOGUE)["valid"] is (not found)
    if not found:
        definition = read(document)
        assert [step.id for step in definition.steps] == [step["id"] for step in document["steps"]]
        with suppress(ValidationFailed):
            check_inputs(definition, {})
