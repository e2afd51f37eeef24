"""``windlass up``, ``serve`` and ``worker``: the processes that stay. SIGTERM and Ctrl-C stop them in order, code 0."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from windlass.cli.exits import CommandError, ExitCode
from windlass.cli.options import Modules


class Service(StrEnum):
    """What can be served alone."""

    PROVIDERS = "providers"


Port = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, max=65535, help="The port to listen on; 0 takes a free one. [default: PORT, 8000]"
    ),
]
Host = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="The address to listen on; 0.0.0.0 is every one. [default: HOST, 127.0.0.1]"),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(up)
    app.command()(serve)
    app.command()(worker)


def up(port: Port = None, host: Host = None, app: Modules = None) -> None:
    """Start everything in one process.

    API, pages and worker. An older SQLite database is migrated first; for PostgreSQL that is `windlass db upgrade`, or
    AUTO_MIGRATE=true.
    """
    from windlass.cli.serving import server

    server.run({"port": port, "host": host, "app_modules": _names(app), "embed_worker": True}, workers=1)


def serve(
    service: Annotated[
        Service | None,
        typer.Argument(metavar="SERVICE", help="Serve this alone: providers, on port 5004 unless another is said."),
    ] = None,
    port: Port = None,
    host: Host = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, max=256, help="How many processes answer.")] = 1,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Only answer; runs are left to workers.")] = False,
    app: Modules = None,
) -> None:
    """Answer HTTP.

    Every process also carries out runs, unless --no-worker.
    """
    from windlass.cli.serving import server

    embed = False if no_worker else None
    given = {"port": port, "host": host, "app_modules": _names(app), "embed_worker": embed, "serve_only": service}
    server.run(given, workers=workers)


def worker(
    queue: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Take runs of this queue only; may be given several times.")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="How many runs to work on at the same time. [default: WORKER_CONCURRENCY, 200]"
        ),
    ] = None,
    app: Modules = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=65535, help="Answer /metrics, /healthz and /readyz there; 0 takes a free port."
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The address for --metrics-port. [default: HOST, 127.0.0.1]")
    ] = None,
) -> None:
    """Carry out runs, without HTTP but for figures and health checks where --metrics-port asks for them.

    `windlass db check` tells whether its database is well.
    """
    from windlass.cli.serving import worker as process

    given = {"worker_concurrency": concurrency, "app_modules": _names(app), "host": host}
    process.run(given, queue or None, metrics_port)


def _names(modules: list[str] | None) -> str | None:
    if modules is None:
        return None
    if not all(modules):
        raise CommandError(ExitCode.USAGE, "--app takes the dotted name of a module")
    return ",".join(modules)
