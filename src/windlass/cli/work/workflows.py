"""What the commands of ``windlass workflows`` do with a server or a database."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import typer

from windlass.cli import output
from windlass.cli.client.definitions import DefinitionsClient, open_definitions
from windlass.cli.client.protocol import Row
from windlass.cli.exits import CommandError, ExitCode, bad_input, explain
from windlass.cli.work.lint import Complaint, Source, read_file
from windlass.contexts.workflows.api import write_yaml
from windlass.kernel.errors import ValidationFailed, WindlassError

LISTED = ("id", "name", "version", "current", "description", "tags")
NUMBERS = ("id", "version")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


async def push(files: Sequence[Path], url: str | None, api_key: str | None, *, activate: bool, json: bool) -> None:
    """Save what has changed; ends with the code of the first file that was refused."""
    done: list[Row] = []
    worst: ExitCode | None = None
    async with open_definitions(url, api_key, creates=True) as client:
        for path in files:
            found = read_file(path)
            if isinstance(found, Complaint):
                output.note(str(found))
                worst = worst or ExitCode.FINDING
                continue
            try:
                done.append({"file": str(path), **await _push(client, found, activate=activate)})
            except WindlassError as error:
                code = _tell_refusal(found, error)
                worst = worst or code
            except CommandError as error:
                output.note(f"{path}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
                worst = worst or error.code
    if json:
        output.as_json(done)
    else:
        rows = [(row["file"], row["name"], row["version"], row["id"], row["result"]) for row in done]
        output.table(("file", "name", "version", "id", "result"), rows, numbers=("version", "id"))
    if worst is not None:
        raise typer.Exit(worst)


async def _push(client: DefinitionsClient, source: Source, *, activate: bool) -> Row:
    document = source.document
    if not isinstance(document, dict) or not isinstance(document.get("name"), str):
        bad_input("this is no definition", "`windlass workflows lint` tells what is missing")
    known = await client.listed(name=document["name"], deleted="true")
    if not known:
        return {**await client.create(document), "result": "created"}
    if "version" in document:
        same = next((row for row in known if row["version"] == document["version"]), None)
        if same is not None:
            saved = (await client.get(same["id"]))["definition"]
            if _plain(saved) != _plain(document):
                message = f"version {same['version']} of {same['name']} is saved and says something else"
                raise CommandError(ExitCode.CONFLICT, message, "raise its version, or leave the version out")
            return {**same, "result": "unchanged"}
    else:
        for row in (row for row in known if row["is_current"] or (row is known[0] and row["is_active"])):
            if _plain((await client.get(row["id"]))["definition"]) == _plain(document):
                return {**row, "result": "unchanged"}
        document = {"name": document["name"], "version": known[0]["version"] + 1, **document}
    before = next((row for row in known if row["is_current"]), None)
    row = await client.add_version(known[0]["id"], document)
    if activate and not row["is_current"]:
        row = await client.change(row["id"], "activate")
    elif not activate and row["is_current"] and before is not None:
        await client.change(row["id"], "rollback")
        row = {**row, "is_current": False}
    return {**row, "result": "new version"}


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a definition says beside its version."""
    return {name: value for name, value in document.items() if name != "version"}


def _tell_refusal(source: Source, error: WindlassError) -> ExitCode:
    """Say why a file was refused, each issue with its line."""
    issues: Any = getattr(error, "issues", None) or error.data.get("issues") or ()
    if isinstance(error, ValidationFailed):
        issues = [{**issue.data, "loc": issue.loc, "msg": issue.msg} for issue in error.issues]
    for issue in issues:
        place = tuple(issue["loc"][1:]) if "loc" in issue else ()
        line, column = source.at(place)
        code, message = issue.get("code", "refused"), issue.get("message", issue.get("msg"))
        output.note(str(Complaint(str(source.path), line, column, "error", issue.get("path", ""), code, message)))
    told = explain(error)
    if not issues:
        output.note(f"{source.path}: {told.message}")
    return told.code


async def pull(
    name: str | None,
    version: int | None,
    folder: Path,
    form: str,
    url: str | None,
    api_key: str | None,
    *,
    force: bool,
    json: bool,
) -> None:
    """Write definitions to files; ends with code 4 when a file differs and is kept."""
    if version is not None and name is None:
        bad_input("--version is of one workflow", "name it")
    done: list[Row] = []
    kept = False
    async with open_definitions(url, api_key) as client:
        rows = await client.listed(current="true") if name is None else [await find(client, name, version)]
        for row in rows:
            path = folder / f"{_UNSAFE.sub('_', row['name'])}.workflow.{form}"
            result = _write(path, _written((await client.get(row["id"]))["definition"], form), force=force)
            kept = kept or result == "kept"
            done.append({"file": str(path), "name": row["name"], "version": row["version"], "result": result})
    if json:
        output.as_json(done)
    else:
        shown = [(row["file"], row["name"], row["version"], row["result"]) for row in done]
        output.table(("file", "name", "version", "result"), shown, numbers=("version",))
    if kept:
        raise CommandError(ExitCode.CONFLICT, "files that differ were kept", "--force writes over them")


def _write(path: Path, text: str, *, force: bool) -> str:
    if path.exists():
        if path.read_text() == text:
            return "unchanged"
        if not force:
            return "kept"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return "written"


def _written(document: Row, form: str) -> str:
    if form == "json":
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    return write_yaml(document)


async def find(client: DefinitionsClient, which: str, version: int | None = None) -> Row:
    """Return the version that a name or id means: the current one, else the newest, unless another is asked for."""
    if which.isascii() and which.isdigit():
        row = await client.get(int(which))
        if version in {None, row["version"]}:
            return row
        which = row["name"]
    rows = await client.listed(name=which, deleted="true")
    chosen = [row for row in rows if (row["is_active"] if version is None else row["version"] == version)]
    if not chosen:
        what = which if version is None else f"{which} {version}"
        raise CommandError(ExitCode.NOT_FOUND, f"there is no workflow {what}", "`windlass workflows list` names yours")
    return next((row for row in chosen if row["is_current"]), chosen[0])


async def list_workflows(
    q: str | None, tag: str | None, url: str | None, api_key: str | None, *, every: bool, deleted: bool, json: bool
) -> None:
    """Print workflows."""
    wanted = {"q": q, "tag": tag, "deleted": "true" if deleted else None}
    if not every and not deleted:
        wanted["current"] = "true"
    async with open_definitions(url, api_key) as client:
        rows = await client.listed(**{name: value for name, value in wanted.items() if value is not None})
    if json:
        output.as_json(rows)
    else:
        output.table(LISTED, [_cells(row) for row in rows], numbers=NUMBERS)


def _cells(row: Row) -> tuple[object, ...]:
    current = row["is_current"] if row["is_active"] else "deleted"
    return row["id"], row["name"], row["version"], current, row["description"], ", ".join(row["tags"])


async def show(which: str, version: int | None, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print a workflow."""
    async with open_definitions(url, api_key) as client:
        row = await client.get((await find(client, which, version))["id"])
        versions = await client.listed(name=row["name"], deleted="true")
    definition = row["definition"]
    if json:
        output.as_json(definition)
        return
    facts = {name: row[name] for name in ("id", "name", "version", "owner_id", "created_at")}
    told = {"description": definition.get("description"), "tags": ", ".join(definition.get("tags") or ()) or None}
    output.fields({**facts, **told, "inputs": ", ".join(_names(definition)) or None})
    output.heading("Steps")
    output.table(("id", "type", "name", "then"), [_step(step) for step in definition["steps"]])
    output.heading("Versions")
    output.table(LISTED, [_cells(found) for found in versions], numbers=NUMBERS)


def _names(definition: Row) -> Sequence[str]:
    declared = definition.get("inputs") or {}
    whole = declared.get("type") == "object" or "properties" in declared
    return list(declared.get("properties", {}) if whole else declared)


def _step(step: Row) -> tuple[object, ...]:
    leads = [f"{name.removeprefix('on_')}: {step[name]}" for name in ("on_success", "on_failure", "on_timeout")
             if step.get(name)]  # fmt: skip
    if step.get("depends_on"):
        leads.append(f"after {', '.join(step['depends_on'])}")
    return step["id"], step["type"], step.get("name"), "; ".join(leads) or None


async def diff(which: str, old: int, new: int, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print how two versions differ; nothing when they do not."""
    async with open_definitions(url, api_key) as client:
        row = await find(client, which)
        found = await client.diff(row["id"], old, new)
    if json:
        output.as_json(found)
    elif found["text"]:
        print(found["text"])


async def change(
    which: str, version: int | None, action: str, url: str | None, api_key: str | None, *, json: bool
) -> None:
    """Change a version and print it."""
    async with open_definitions(url, api_key) as client:
        row = await find(client, which, version)
        changed = await client.change(row["id"], action)
        if action == "delete":
            changed = {**row, "is_active": False, "is_current": False}
            changed.pop("definition", None)
    if json:
        output.as_json(changed)
    else:
        shown = {"description": None, "tags": [], **changed}
        output.table(LISTED, [_cells(shown)], numbers=NUMBERS)
