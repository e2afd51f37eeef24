"""The shapes of what the API answers about definitions, for its OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, RootModel

from windlass.http.schemas import Shape


class WorkflowAnswer(Shape):
    """A version of a workflow; ``is_current`` says whether it is what the name stands for."""

    id: int
    name: str
    version: int
    description: str | None
    tags: list[str]
    is_active: bool
    is_current: bool


class WorkflowsAnswer(RootModel[list[WorkflowAnswer]]):
    """Versions of workflows."""


class DefinitionAnswer(Shape):
    """A version with its definition as it was given."""

    id: int
    name: str
    version: int
    is_active: bool
    is_current: bool
    owner_id: str
    created_at: datetime
    updated_at: datetime
    definition: dict[str, Any]


class DeletedAnswer(Shape):
    """It is deleted."""

    ok: Literal[True]


class PreflightAnswer(Shape):
    """What is wrong with a draft; each issue has ``code``, ``message`` and, where they are known, further fields."""

    valid: bool
    errors: list[dict[str, Any]]
    warnings: list[dict[str, Any]]


class StepChanges(Shape):
    """Steps by id, and whether steps that both versions have stand in another order."""

    added: list[str]
    removed: list[str]
    changed: list[dict[str, Any]]
    moved: bool


class DiffAnswer(BaseModel):
    """How two versions, ``from`` and ``to``, differ: in fields, in steps, and as a unified diff."""

    to: int
    same: bool
    fields: list[dict[str, Any]]
    steps: StepChanges
    text: str


class StepTypeAnswer(Shape):
    """A step type."""

    name: str
    description: str
    config_schema: Annotated[dict[str, Any], Field(alias="schema")]
    example: dict[str, Any]
    min_engine_version: str
    capabilities: dict[str, Any]


class TemplateAnswer(Shape):
    """A template."""

    name: str
    filename: str
    title: str
    tags: list[str]


class TemplatesAnswer(RootModel[list[TemplateAnswer]]):
    """Templates."""


class ChunkersAnswer(Shape):
    """How texts can be cut."""

    name: str
    version: str
    methods: list[str]
    defaults: dict[str, Any]
    parameter_schema: dict[str, Any]
