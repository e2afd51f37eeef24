"""The door to workflows written as documents: what the edges, other contexts and users' own modules may use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windlass.contexts.workflows import schemas
from windlass.contexts.workflows.definitions.bundled import Template, search, tags, template_text, templates
from windlass.contexts.workflows.definitions.catalogue import Catalogue
from windlass.contexts.workflows.definitions.diff import difference
from windlass.contexts.workflows.definitions.faults import Finding, refuse
from windlass.contexts.workflows.definitions.format import DEFINITION, REFERENCE
from windlass.contexts.workflows.definitions.limits import LONGEST_NAME, LONGEST_TAG, MOST_BYTES
from windlass.contexts.workflows.definitions.preflight import MODES, preflight
from windlass.contexts.workflows.definitions.reading import position_of, read_document, read_with_positions
from windlass.contexts.workflows.definitions.service import Definitions, VersionExists, whole_schema_of
from windlass.contexts.workflows.definitions.store import MOST_VERSIONS, ListQuery, Row, Stored
from windlass.contexts.workflows.definitions.validation import require_valid, validate
from windlass.contexts.workflows.definitions.yamltext import TextFault, Unreadable, write_yaml
from windlass.contexts.workflows.model import Definition, read
from windlass.contexts.workflows.runs.forgetting import SnapshotRetention
from windlass.contexts.workflows.runs.forks import Fork, unfit
from windlass.contexts.workflows.runs.minting import Minted, Minter
from windlass.contexts.workflows.runs.orders import NotInTime, Order, RunRules
from windlass.contexts.workflows.runs.plan import Rules
from windlass.contexts.workflows.runs.projection import investigation, shown_attempts, shown_steps
from windlass.contexts.workflows.runs.service import Runs
from windlass.contexts.workflows.runs.tasks import QUEUE, RUN
from windlass.contexts.workflows.service import Workflows
from windlass.contexts.workflows.sight import may_control, may_see, sight
from windlass.contexts.workflows.trail import Audit

__all__ = [
    "DEFINITION",
    "LONGEST_NAME",
    "LONGEST_TAG",
    "MODES",
    "MOST_BYTES",
    "MOST_VERSIONS",
    "QUEUE",
    "REFERENCE",
    "RUN",
    "Audit",
    "Catalogue",
    "Definition",
    "Definitions",
    "Finding",
    "Fork",
    "ListQuery",
    "Minted",
    "Minter",
    "NotInTime",
    "Order",
    "Row",
    "Rules",
    "RunRules",
    "Runs",
    "SnapshotRetention",
    "Stored",
    "Template",
    "TextFault",
    "Unreadable",
    "VersionExists",
    "Workflows",
    "check_inputs",
    "check_outputs",
    "difference",
    "investigation",
    "may_control",
    "may_see",
    "position_of",
    "preflight",
    "read",
    "read_document",
    "read_with_positions",
    "refuse",
    "require_valid",
    "search",
    "shown_attempts",
    "shown_steps",
    "sight",
    "tags",
    "template_text",
    "templates",
    "unfit",
    "validate",
    "whole_schema_of",
    "write_yaml",
]


def check_inputs(definition: Definition, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's inputs with their defaults.

    Raises:
        ValidationFailed: they do not fit what the definition declares; names every field.
    """
    return schemas.checked(definition.inputs, inputs, ("body", "inputs"))


def check_outputs(definition: Definition, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's outputs with their defaults.

    Raises:
        ValidationFailed: they do not fit what the definition declares; names every field.
    """
    return schemas.checked(definition.outputs, outputs, ("outputs",))
