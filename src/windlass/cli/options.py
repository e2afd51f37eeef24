"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Talk to the server there, http://host:port; without it the command works on DATABASE_URL.",
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", envvar="API_KEY", metavar="KEY", help="The server's key for writes.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Category = Annotated[str | None, typer.Option(metavar="NAME", help="Records of this category only.")]
Source = Annotated[str | None, typer.Option(metavar="NAME", help="Records of this source only.")]
CreatedAfter = Annotated[
    str | None, typer.Option(metavar="TIME", help="Created then or later: a UTC day, or a date-time with its zone.")
]
CreatedBefore = Annotated[
    str | None, typer.Option(metavar="TIME", help="Created then or earlier: a UTC day, or a date-time with its zone.")
]
Modules = Annotated[
    list[str] | None,
    typer.Option(
        "--app",
        metavar="MODULE",
        help="Import this Python module first: it registers workflows and processors. May be given several times;"
        " without it APP_MODULES and entry points count.",
    ),
]


class RecordStatus(StrEnum):
    """Where a record stands."""

    PENDING = "pending"
    PROCESSED = "processed"
    FAILED = "failed"


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING_HUMAN = "waiting_human"
    WAITING_APPROVAL = "waiting_approval"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
