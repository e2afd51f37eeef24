"""``windlass demo``: small servers that stand in for other people's systems."""

from __future__ import annotations

from typing import Annotated

import typer

group = typer.Typer(
    help="Small servers that stand in for other people's systems: for demos and tests, never for production.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="demo")


@group.callback()
def demos() -> None:
    """Keep ``billing`` below ``demo``, though it is the only one."""


@group.command()
def billing(
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 5002,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    database: Annotated[
        str, typer.Option(metavar="FILE", help="The SQLite file of its providers; :memory: forgets them at the end.")
    ] = "demo-billing.db",
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A fault to begin with; see above. May be given several times."),
    ] = None,
) -> None:
    """Serve a billing service that gives companies provider numbers.

    POST /provider {"name": ...} answers 201 {"id": 10001}, or 409 for a name that it has; PUT /provider/{id},
    GET /provider?name=, GET /bill/{id} and GET /health are there too.

    Faults: slow=SECONDS lets every call take longer; next=N lets the next N calls fail, share=P after them that share
    of all, chosen by seed=N. What happens to those is fail=error (without doing the work), error-after (after it),
    drop-before, drop-after (the connection breaks) or mixed; errors have status=500, where 400 or 422 refuses for good,
    and retry_after=SECONDS. keys=false ignores Idempotency-Key, lookup=false does not offer GET /provider?name=.

    While it runs, PUT /faults {"fail": "drop-after", "next": 1} switches to these faults, PUT /faults {} switches all
    off, and GET /faults tells which are on.
    """
    from windlass.cli.serving import demo

    demo.billing(host, port, database, fault or [])
