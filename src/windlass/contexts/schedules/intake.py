"""What may be said of a schedule: read strictly, with every culprit named."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from windlass.contexts.schedules.cron import LONGEST
from windlass.kernel.errors import Issue, TooLarge, ValidationFailed

M = TypeVar("M", bound=BaseModel)

MAX_INPUTS = 256 * 1024
"""The largest ``inputs`` in bytes of compact JSON."""
MAX_GRACE = 86_400
MAX_PER_MINUTE = 600
MAX_TOGETHER = 100


def _plain(text: str) -> str:
    if "\0" in text:
        raise ValueError("String should not contain NUL characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("String should not contain half surrogate pairs") from None
    return text


def _moment(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("Input should be a date-time with a zone, such as 2026-03-29T02:00:00Z")
    return value


Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
Line = Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_plain)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.<>:-]{0,199}$")]
Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
Grace = Annotated[int, Field(ge=0, le=MAX_GRACE)]
Moment = Annotated[datetime, BeforeValidator(_moment), Field(strict=False)]
RunMode = Literal["async", "sync"]
ValidationMode = Literal["block", "non-block"]
Overlap = Literal["skip", "queue"]


class Strict(BaseModel):
    """Unknown fields and converted types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Draft(Strict):
    """A new schedule, with either ``workflow_id`` (a saved workflow) or ``workflow`` (a Python workflow)."""

    workflow_id: Number | None = None
    workflow: Name | None = None
    name: Text | None = None
    cron: Line
    timezone: Line | None = None
    inputs: dict[str, Any] = {}
    run_mode: RunMode = "async"
    validation_mode: ValidationMode = "block"
    enabled: bool = True
    concurrency_mode: Overlap = "skip"
    misfire_grace_sec: Grace = 300
    coalesce: bool = True
    require_online: bool = False


class Changes(Strict):
    """Changes of a schedule; what is not given stays. Giving one target takes the other one away."""

    workflow_id: Number | None = None
    workflow: Name | None = None
    name: Text | None = None
    cron: Line = "* * * * *"
    timezone: Line | None = None
    inputs: dict[str, Any] = {}
    run_mode: RunMode = "async"
    validation_mode: ValidationMode = "block"
    enabled: bool = True
    concurrency_mode: Overlap = "skip"
    misfire_grace_sec: Grace = 300
    coalesce: bool = True
    require_online: bool = False


class Trial(Strict):
    """A crontab line to try."""

    cron: Line
    timezone: Line | None = None
    inputs: dict[str, Any] = {}


class Window(Strict):
    """A past window to make up for, both ends included.

    ``per_minute``: how many runs are started in a minute at most; ``at_once``: how many of them may be open.
    """

    start: Moment
    end: Moment
    per_minute: Annotated[int, Field(ge=1, le=MAX_PER_MINUTE)] = 60
    at_once: Annotated[int, Field(ge=1, le=MAX_TOGETHER)] = 1


def read(model: type[M], value: object) -> M:
    """Return JSON that has been read as a model.

    Raises:
        ValidationFailed: a field is unknown, missing or wrong; names each.
        TooLarge: its ``inputs`` are.
    """
    try:
        found = model.model_validate(value)
    except ValidationError as error:
        issues = [
            Issue(("body", *one["loc"]), one["msg"].removeprefix("Value error, "), one["type"])
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ValidationFailed(issues) from None
    inputs = getattr(found, "inputs", None)
    if inputs is not None and len(orjson.dumps(inputs)) > MAX_INPUTS:
        raise TooLarge(f"inputs are larger than {MAX_INPUTS} bytes", field="inputs", limit=MAX_INPUTS)
    return found


def one_target(workflow_id: int | None, workflow: str | None) -> None:
    """Make sure that a schedule has one target.

    Raises:
        ValidationFailed: it has none, or two.
    """
    if (workflow_id is None) == (workflow is None):
        message = "Give exactly one of workflow_id (a saved workflow) and workflow (a Python workflow)"
        raise ValidationFailed([Issue(("body", "workflow_id"), message, "target")])
