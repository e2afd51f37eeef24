"""The reference of the step types says what the catalogue says."""

import pytest

from tests.support.paths import ROOT
from tools.steps_docs import GENERATED, page
from windlass.contexts.workflows.steptypes.calls import CALLS
from windlass.contexts.workflows.steptypes.registry import BUILT_IN


@pytest.mark.parametrize("name", GENERATED)
def test_the_page_is_fresh(name: str) -> None:
    assert (ROOT / name).read_text() == GENERATED[name](), "run: python -m tools.steps_docs"


def test_every_type_and_field_and_output_is_on_it() -> None:
    text = page()

    for kind in (*BUILT_IN, *CALLS):
        section = text.partition(f"\n### {kind.name}\n")[2].partition("\n### ")[0]
        assert all(f"| `{name}` |" in section for name in [*kind.schema["properties"], *kind.outputs])
        assert "Example: " in section
