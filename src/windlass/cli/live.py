"""The commands of ``windlass runs`` for runs that are open: streams, published values, updates and queries."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli.options import ApiKey, Json, Url
from windlass.cli.running import run

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Seconds = Annotated[
    float, typer.Option("--timeout", min=0, max=300, metavar="SECONDS", help="Wait no longer than that.")
]
VALUE = "JSON where it can be read so, else text."


def register(group: typer.Typer) -> None:
    """Add the commands to those of runs."""
    for command in (stream, published, update, query):
        group.command()(command)


def stream(
    run_id: RunId,
    name: Annotated[str, typer.Argument(metavar="STREAM", help="The stream's name.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the stream or the run ends.")] = False,
    offset: Annotated[int, typer.Option(min=0, metavar="N", help="The first item to print.")] = 0,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Print what a run writes to a stream, an item a line; with --json also its offset, step and attempt."""
    from windlass.cli.work import live as work

    run(work.stream(run_id, name, offset, url, api_key, follow=follow, json=json))


def published(
    run_id: RunId,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Print the value of this key only.")] = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Print the newest values that a run has published, also after its end."""
    from windlass.cli.work import live as work

    run(work.published(run_id, key, url, api_key, json=json))


def update(
    run_id: RunId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which of its updates.")],
    payload: Annotated[str | None, typer.Argument(metavar="[PAYLOAD]", help=VALUE)] = None,
    *,
    update_id: Annotated[
        str | None, typer.Option("--update-id", metavar="ID", help="Repeated under the same id it is taken once.")
    ] = None,
    timeout: Seconds = 30,
    json: Json = False,  # noqa: ARG001  an answer is JSON in any case
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Have an open run take an update, and print its answer as JSON. It waits for the run to ask for it.

    The exit code is 2 when the run refuses it, 4 when it fails or the run has ended, 5 when it is not answered in time:
    it stays sent then.
    """
    from windlass.cli.work import live as work

    run(work.update(run_id, name, payload, update_id, timeout, url, api_key))


def query(
    run_id: RunId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which of its queries.")],
    argument: Annotated[str | None, typer.Argument(metavar="[ARGUMENT]", help=VALUE)] = None,
    *,
    timeout: Seconds = 30,
    json: Json = False,  # noqa: ARG001  an answer is JSON in any case
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Ask an open run what it knows, and print its answer as JSON; nothing of the run is changed."""
    from windlass.cli.work import live as work

    run(work.query(run_id, name, argument, timeout, url, api_key))
