"""``windlass workflows``: definitions in files, and on a server or database."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from windlass.cli.options import ApiKey, Input, Inputs, Json, OnceFor, Secret, Url, Wait, WaitSeconds
from windlass.cli.running import run

group = typer.Typer(help="Check definitions, save them, run them, compare their versions.", no_args_is_help=True)

Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="Definitions in JSON, or in YAML (.yaml, .yml).")]
Which = Annotated[str, typer.Argument(metavar="WORKFLOW", help="The name of a workflow, or an id.")]
Version = Annotated[int | None, typer.Option(min=0, metavar="N", help="This version instead of the current one.")]


class Form(StrEnum):
    """How a definition is written."""

    JSON = "json"
    YAML = "yaml"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="workflows")


@group.command()
def lint(
    files: Files,
    strict: Annotated[
        bool, typer.Option("--strict", help="Tell of steps that are not safe to run again, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Check definitions without a server: everything that is wrong, each with its line.

    The exit code is 1 when something is.
    """
    from windlass.cli.work import lint as work

    work.lint(files, strict=strict, json=json)


@group.command()
def push(
    files: Files,
    activate: Annotated[
        bool, typer.Option("--activate/--no-activate", help="Whether the pushed version becomes the current one.")
    ] = True,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Save definitions: new ones, and new versions of those that have changed.

    A file that says no version gets the next one when it differs from the newest; one that says a version must not
    differ from what is saved under it.
    """
    from windlass.cli.work import workflows as work

    run(work.push(files, url, api_key, activate=activate, json=json))


@group.command("run")
def run_(
    what: Annotated[str, typer.Argument(metavar="WORKFLOW", help="A saved workflow's name or id, or a file.")],
    *,
    input_: Input = None,
    inputs: Inputs = None,
    secret: Secret = None,
    idempotency_key: OnceFor = None,
    wait: Wait = False,
    timeout: WaitSeconds = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Start a run and print its id; with --wait its output.

    What ends in .json, .yaml or .yml is a file, and need not be saved. Anything else is a name or an id.
    A server (`windlass up`) or a worker (`windlass worker`) carries it out.
    """
    from windlass.cli.work import starting as work

    wanted = work.Wanted(input_ or (), inputs, secret or (), idempotency_key, wait, timeout, json)
    run(work.start(what, wanted, url, api_key))


@group.command()
def pull(
    *,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="This workflow only; else all of yours.")] = None,
    version: Version = None,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the files go.")] = Path(),
    form: Annotated[Form, typer.Option("--format", help="How they are written.")] = Form.JSON,
    force: Annotated[bool, typer.Option("--force", help="Write over files that differ.")] = False,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write current definitions to files, NAME.workflow.json each."""
    from windlass.cli.work import workflows as work

    run(work.pull(name, version, to, form.value, url, api_key, force=force, json=json))


@group.command("list")
def list_(
    *,
    q: Annotated[str | None, typer.Option("--search", metavar="TEXT", help="With this in name or description.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="With this tag only.")] = None,
    versions: Annotated[bool, typer.Option("--all", help="Every version, not the current ones alone.")] = False,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted versions, too.")] = False,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List workflows."""
    from windlass.cli.work import workflows as work

    run(work.list_workflows(q, tag, url, api_key, every=versions, deleted=deleted, json=json))


@group.command()
def show(which: Which, version: Version = None, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Show a workflow: its versions and its steps; with --json the definition as it was given."""
    from windlass.cli.work import workflows as work

    run(work.show(which, version, url, api_key, json=json))


@group.command()
def diff(
    which: Which,
    old: Annotated[int, typer.Argument(min=0, metavar="OLD", help="A version.")],
    new: Annotated[int, typer.Argument(min=0, metavar="NEW", help="Another one.")],
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Compare two versions of a workflow."""
    from windlass.cli.work import workflows as work

    run(work.diff(which, old, new, url, api_key, json=json))


@group.command()
def activate(
    which: Which,
    version: Annotated[int, typer.Argument(min=0, metavar="VERSION", help="The version that it is to be.")],
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Make a version the one that the workflow's name stands for."""
    from windlass.cli.work import workflows as work

    run(work.change(which, version, "activate", url, api_key, json=json))


@group.command()
def rollback(which: Which, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Go back to the version that was current before; again, to the one before that."""
    from windlass.cli.work import workflows as work

    run(work.change(which, None, "rollback", url, api_key, json=json))


@group.command()
def delete(which: Which, version: Version = None, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Delete a version; it can still be read and run by its id."""
    from windlass.cli.work import workflows as work

    run(work.change(which, version, "delete", url, api_key, json=json))


@group.command()
def templates(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this template.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Templates with this tag only.")] = None,
    json: Json = False,
) -> None:
    """List the definitions that come with Windlass, or print one to begin with."""
    from windlass.cli.work import lint as work

    work.templates(name, tag, json=json)


@group.command()
def schema() -> None:
    """Print the JSON Schema of a definition, for editors."""
    from windlass.cli.work import lint as work

    work.schema()
