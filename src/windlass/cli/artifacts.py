"""``windlass artifacts``: the files of runs."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli.options import ApiKey, Json, Url
from windlass.cli.running import run

group = typer.Typer(help="List, fetch, store and verify the files of runs; remove old ones.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="The run's id.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="artifacts")


@group.command("list")
def list_(run_id: RunId, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """List the artifacts of a run, oldest first."""
    from windlass.cli.work import artifacts as work

    run(work.list_artifacts(run_id, url, api_key, json=json))


@group.command()
def get(
    artifact_id: Annotated[str, typer.Argument(metavar="ARTIFACT_ID", help="The artifact's id.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout, its own name by default."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Fetch an artifact; its content is compared with the hash that was stored."""
    from windlass.cli.work import artifacts as work

    run(work.get(artifact_id, output, url, api_key, force=force))


@group.command()
def put(  # noqa: PLR0917  the options of a command
    run_id: RunId,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file; - is stdin.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Its name; that of the file by default.")] = None,
    kind: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="What it is to the run.")] = None,
    mime: Annotated[str | None, typer.Option(metavar="MIME", help="Its media type; guessed from the name.")] = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Store a file with a run. The same content under the same name is the same artifact."""
    from windlass.cli.work import artifacts as work

    run(work.put(run_id, file, work.Said(name, kind, mime), url, api_key, json=json))


@group.command()
def verify(run_id: RunId, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Hash the files of a run and compare them with what was stored; code 1 when one differs."""
    from windlass.cli.work import artifacts as work

    run(work.verify(run_id, url, api_key, json=json))


@group.command()
def gc(json: Json = False) -> None:
    """Remove artifacts past WORKFLOWS_ARTIFACT_RETENTION_DAYS, and files that nothing names any more.

    What an open run needs stays. It works on DATABASE_URL and WORKFLOWS_ARTIFACTS_DIR; servers may be running.
    """
    from windlass.cli.work import artifacts as work

    run(work.gc(json=json))
