"""What the commands do that start runs of definitions: ``windlass workflows run`` and ``windlass runs fork``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from windlass.cli import output
from windlass.cli.client.definitions import DefinitionsClient, open_definitions
from windlass.cli.client.protocol import Row
from windlass.cli.exits import CommandError, ExitCode, bad_input
from windlass.cli.work.lint import YAML, Complaint, read_file
from windlass.cli.work.runs import wait as wait_for
from windlass.cli.work.workflows import find

FILES = YAML | {".json"}


class Wanted(NamedTuple):
    """What the command line says of a run; ``timeout`` is in seconds."""

    pairs: Sequence[str] = ()
    inputs: str | None = None
    secrets: Sequence[str] = ()
    key: str | None = None
    wait: bool = False
    timeout: float | None = None
    json: bool = False


async def start(what: str, wanted: Wanted, url: str | None, api_key: str | None) -> None:
    """Start a run of a saved definition, or of one in a file; ends as its run does where that is waited for."""
    secrets = read_secrets(wanted.secrets)
    async with open_definitions(url, api_key) as client:
        number, document = await _definition(client, what)
        inputs = read_inputs(wanted.inputs, wanted.pairs, document) or {}
        order = {"inputs": inputs, **({"secrets": secrets} if secrets else {})}
        run = await client.start(number, None if number is not None else document, order, wanted.key)
    await _told(run, wanted, url, api_key)


async def fork(run_id: str, step: str, wanted: Wanted, url: str | None, api_key: str | None, *, dry_run: bool) -> None:
    """Start a run that takes over what another had done, or say which steps it would do again."""
    secrets = read_secrets(wanted.secrets)
    inputs = read_inputs(wanted.inputs, wanted.pairs, {})
    order: Row = {"from_step": step}
    order |= {} if inputs is None else {"inputs": inputs}
    order |= {"secrets": secrets} if secrets else {}
    async with open_definitions(url, api_key) as client:
        run = await client.fork(run_id, {**order, "dry_run": True} if dry_run else order, wanted.key)
    if not dry_run:
        await _told(run, wanted, url, api_key)
    elif wanted.json:
        output.as_json(run)
    else:
        print("\n".join(run["reexecutes"]))


async def _definition(client: DefinitionsClient, what: str) -> tuple[int | None, Row]:
    if Path(what).suffix.lower() in FILES:
        return None, _in_file(Path(what))
    number: int = (await find(client, what))["id"]
    return number, (await client.get(number))["definition"]


def _in_file(path: Path) -> Row:
    found = read_file(path)
    if isinstance(found, Complaint):
        raise CommandError(ExitCode.USAGE, str(found))
    if not isinstance(found.document, dict):
        bad_input(f"{path} is no definition", "`windlass workflows lint` tells what is missing")
    return found.document


async def _told(run: Row, wanted: Wanted, url: str | None, api_key: str | None) -> None:
    run_id = run["run_id"]
    if wanted.wait:
        output.note(f"run {run_id}")
        await wait_for(run_id, wanted.timeout, url, api_key, json=wanted.json)
    elif wanted.json:
        output.as_json(run)
    else:
        print(run_id)


def read_inputs(whole: str | None, pairs: Sequence[str], document: Mapping[str, Any]) -> Row | None:
    """Return the inputs that ``--inputs`` and ``--input`` say; the latter win. None where neither is given.

    A value is JSON where it can be, and text where the definition says so or it is no JSON.

    Raises:
        CommandError: they cannot be read.
    """
    if whole is None and not pairs:
        return None
    found: Row = {} if whole is None else _object(_text("--inputs", whole) if whole.startswith("@") else whole)
    types = _types(document)
    for pair in pairs:
        name, value = _pair("--input", pair, "KEY=VALUE")
        found[name] = value if types.get(name) == "string" else _plain(value)
    return found


def read_secrets(pairs: Sequence[str]) -> dict[str, str]:
    """Return secrets, each read from its file without the line break at its end.

    Raises:
        CommandError: one is not in a file, or the file cannot be read.
    """
    found = {}
    for pair in pairs:
        name, place = _pair("--secret", pair, "NAME=@FILE")
        if not place.startswith("@"):
            bad_input("--secret takes NAME=@FILE", "what stands on a command line is seen by others; @- is stdin")
        found[name] = _text("--secret", place).removesuffix("\n")
    return found


def _pair(option: str, pair: str, form: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not (equals and name):
        bad_input(f"{option} takes {form}, not {pair.partition('=')[0]!r}")
    return name, value


def _text(option: str, place: str) -> str:
    path = place.removeprefix("@")
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text()
    except OSError as error:
        raise CommandError(ExitCode.NOT_FOUND, f"{option}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        bad_input(f"{option}: {path} is no UTF-8 text")


def _object(text: str) -> Row:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        bad_input(f"--inputs is no JSON: {error}", 'it takes {"name": value} or @FILE')
    if not isinstance(found, dict):
        bad_input("--inputs is no JSON object", 'it takes {"name": value} or @FILE')
    return found


def _plain(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _types(document: Mapping[str, Any]) -> dict[str, Any]:
    declared = document.get("inputs")
    declared = declared if isinstance(declared, dict) else {}
    properties = declared.get("properties") if declared.get("type") == "object" else declared
    known = properties if isinstance(properties, dict) else {}
    return {name: said.get("type") for name, said in known.items() if isinstance(said, dict)}
