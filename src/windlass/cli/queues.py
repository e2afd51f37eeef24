"""``windlass queues``: how many runs of a queue may be worked on at once, over all processes."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli.options import ApiKey, Json, Url
from windlass.cli.running import run

group = typer.Typer(help="Look at queues, limit and pause them; * is all of them together.", no_args_is_help=True)

Queue = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name; '*' is all queues together.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="queues")


@group.command("list")
def list_(json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """List the queues that have a limit, are paused or have open runs."""
    from windlass.cli.work import queues as work

    run(work.list_queues(url, api_key, json=json))


@group.command()
def limit(
    queue: Queue,
    runs: Annotated[str, typer.Argument(metavar="N", help="How many runs at once; none takes the limit away.")],
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Limit how many runs of a queue are worked on at the same time."""
    from windlass.cli.work import queues as work

    run(work.change(queue, {"limit": work.read_limit(runs)}, url, api_key, json=json))


@group.command()
def pause(queue: Queue, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Start no run of a queue any more; those under way go on."""
    from windlass.cli.work import queues as work

    run(work.change(queue, {"paused": True}, url, api_key, json=json))


@group.command()
def drain(
    queue: Queue,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Give up waiting then, with exit code 5.")
    ] = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Pause a queue and wait until none of its runs is worked on; it stays paused until it is resumed."""
    from windlass.cli.work import queues as work

    run(work.drain(queue, timeout, url, api_key, json=json))


@group.command()
def resume(queue: Queue, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Start runs of a paused queue again."""
    from windlass.cli.work import queues as work

    run(work.change(queue, {"paused": False}, url, api_key, json=json))
