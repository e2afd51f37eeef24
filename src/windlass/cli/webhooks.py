"""``windlass webhooks``: what became of webhooks, and the dead letters among them."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli.options import ApiKey, CreatedAfter, CreatedBefore, Json, Url
from windlass.cli.running import run

group = typer.Typer(
    help="Look at webhooks, send dead letters again or throw them away; works on DATABASE_URL, or on a server.",
    no_args_is_help=True,
)
dlq = typer.Typer(help="Webhooks that were given up.", no_args_is_help=True)
group.add_typer(dlq, name="dlq")

Limit = Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="How many at most.")]
Letter = Annotated[int | None, typer.Argument(metavar="[ID]", min=1, help="One dead letter; without it, a filter.")]
Tenant = Annotated[str | None, typer.Option(metavar="NAME", help="Only those of this tenant.")]
Host = Annotated[str | None, typer.Option(metavar="NAME", help="Only those to this host.")]
Error = Annotated[
    str | None, typer.Option(metavar="WORD", help="Only those that failed so: timeout, network_error, http_503, …")
]
All = Annotated[bool, typer.Option("--all", help="Said instead of a filter.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="webhooks")


@group.command()
def deliveries(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run they tell of.")],
    limit: Limit = 100,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List the attempts to tell of a run."""
    from windlass.cli.work import webhooks as work

    run(work.list_deliveries((url, api_key), run_id, limit, json=json))


@dlq.command("list")
def list_(  # noqa: PLR0917  each is an option
    tenant: Tenant = None,
    host: Host = None,
    error: Error = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    limit: Limit = 100,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List dead letters, oldest first."""
    from windlass.cli.work import webhooks as work

    run(
        work.list_letters(
            (url, api_key), work.wanted(tenant, host, error, created_after, created_before), limit, json=json
        )
    )


@dlq.command()
def replay(  # noqa: PLR0917  each is an option
    letter: Letter = None,
    tenant: Tenant = None,
    host: Host = None,
    error: Error = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    everything: All = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Have a server or worker send a dead letter once more, or all that match."""
    from windlass.cli.work import webhooks as work

    chosen = work.chosen(letter, work.wanted(tenant, host, error, created_after, created_before), everything=everything)
    run(work.replay((url, api_key), chosen))


@dlq.command()
def discard(  # noqa: PLR0917  each is an option
    letter: Letter = None,
    tenant: Tenant = None,
    host: Host = None,
    error: Error = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    everything: All = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Throw a dead letter away, or all that match."""
    from windlass.cli.work import webhooks as work

    chosen = work.chosen(letter, work.wanted(tenant, host, error, created_after, created_before), everything=everything)
    run(work.discard((url, api_key), chosen))
