"""What the commands of ``windlass artifacts`` do."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from windlass.cli import output
from windlass.cli.client.artifacts import Fetched, open_shelf
from windlass.cli.client.direct import open_direct
from windlass.cli.exits import CommandError, ExitCode, bad_input
from windlass.contexts.artifacts.api import ANY_MIME, BLOCK

COLUMNS = ("artifact_id", "name", "type", "size_bytes", "mime_type", "created_at")
STDIO = "-"


class Said(NamedTuple):
    """What was said of a file that is to be stored."""

    name: str | None
    kind: str | None
    mime: str | None


async def list_artifacts(run_id: str, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print the artifacts of a run."""
    async with open_shelf(url, api_key) as shelf:
        rows = await shelf.of_run(run_id)
    if json:
        output.as_json(rows)
        return
    for row in rows:
        row["name"] = row["metadata"].get("name")
    output.table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows], numbers=("size_bytes",))


async def get(artifact_id: str, target: str | None, url: str | None, api_key: str | None, *, force: bool) -> None:
    """Write an artifact into a file or to stdout.

    Raises:
        CommandError: the file is there, or the content is not what was stored.
    """
    async with open_shelf(url, api_key) as shelf:
        fetched = await shelf.get(artifact_id)
        if target == STDIO:
            await _copy(fetched, sys.stdout.buffer)
            return
        path = _target(target or Path(fetched.name).name, force=force)
        part = path.with_name(f"{path.name}.part")
        try:
            with part.open("wb") as file:
                await _copy(fetched, file)
            part.replace(path)
        finally:
            with suppress(FileNotFoundError):
                part.unlink()
    output.note(str(path))


def _target(name: str, *, force: bool) -> Path:
    path = Path(name)
    if path.exists() and not force:
        bad_input(f"{path} is there already", "write over it with --force, or choose another name with --output")
    return path


async def _copy(fetched: Fetched, file: IO[bytes]) -> None:
    summed = hashlib.sha256()
    async for piece in fetched.pieces:
        summed.update(piece)
        await asyncio.to_thread(file.write, piece)
    file.flush()
    if fetched.checksum is not None and summed.hexdigest() != fetched.checksum:
        raise CommandError(ExitCode.FINDING, "the content is not what was stored")


async def put(run_id: str, file: str, said: Said, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Store a file and print what it has become."""
    name = said.name or (None if file == STDIO else Path(file).name)
    if name is None:
        bad_input("a file from stdin needs a name", "say it with --name")
    mime = said.mime or mimetypes.guess_type(name)[0] or ANY_MIME
    with sys.stdin.buffer if file == STDIO else await asyncio.to_thread(Path(file).open, "rb") as source:
        async with open_shelf(url, api_key) as shelf:
            row = await shelf.put(run_id, name, said.kind, mime, _pieces(source))
    if json:
        output.as_json(row)
    else:
        output.fields({column: row[column] for column in COLUMNS if column in row} | {"uri": row["uri"]})


async def _pieces(source: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(os.read, source.fileno(), BLOCK):
        yield piece


async def verify(run_id: str, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print what the files of a run turned out to be.

    Raises:
        CommandError: one is not what was stored.
    """
    async with open_shelf(url, api_key) as shelf:
        rows = await shelf.manifest(run_id)
    found = []
    for row in rows:
        integrity = row.get("integrity")
        said = "unknown" if integrity is None else "ok" if integrity["ok"] else integrity.get("error", "mismatch")
        found.append((row["artifact_id"], row["metadata"].get("name"), said))
    if json:
        output.as_json(rows)
    else:
        output.table(("artifact_id", "name", "integrity"), found)
    wrong = sum(said not in {"ok", "unknown"} for _, _, said in found)
    if wrong:
        raise CommandError(ExitCode.FINDING, f"{wrong} of {len(found)} files are not what was stored")


async def gc(*, json: bool) -> None:
    """Remove what is no longer needed and print how much that was."""
    async with open_direct(creates=False) as direct:
        found = (await direct.application.artifacts.gc()).view()
    if json:
        output.as_json(found)
    else:
        output.fields(found)
