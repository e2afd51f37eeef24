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
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="KEY=VALUE",
        help="An input: JSON where it can be read so, else text. May be given several times, and wins over --inputs.",
    ),
]
Inputs = Annotated[
    str | None, typer.Option("--inputs", metavar="JSON", help="The inputs as a JSON object, or @FILE; @- is stdin.")
]
Secret = Annotated[
    list[str] | None,
    typer.Option(
        "--secret", metavar="NAME=@FILE", help="A secret of the run, read from a file. May be given several times."
    ),
]
OnceFor = Annotated[
    str | None,
    typer.Option("--idempotency-key", metavar="KEY", help="Start it once, however often this is said with the key."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for its end, print its output and exit as `runs wait` does.")]
WaitSeconds = Annotated[
    float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="With --wait: wait no longer than that.")
]
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
