"""What the commands of ``windlass deploy`` do."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import typer

from windlass import settings
from windlass.bootstrap import Application, visit_application
from windlass.cli import output
from windlass.cli.client.open import open_client
from windlass.cli.client.operators import operator
from windlass.cli.client.protocol import Client, Row, RunQuery
from windlass.cli.exits import ExitCode, bad_input
from windlass.cli.modules import look_in_working_folder
from windlass.contexts.records.api import load_processors
from windlass.deploy import moving
from windlass.deploy.checking import Stranded, examine
from windlass.deploy.moving import Moved, Tell
from windlass.engine.ports import Transaction
from windlass.engine.registry import default_registry
from windlass.engine.types import TERMINAL, RunView, Status
from windlass.kernel.errors import Invalid
from windlass.replay.recordings import OWN, Recording, read_all

PAGE = 1000
OPEN = [status.value for status in Status if status not in TERMINAL]


async def export(workflows: Sequence[str], target: Path | None, url: str | None, api_key: str | None) -> None:
    """Write recordings of open runs."""
    with ExitStack() as stack:
        out = sys.stdout.buffer if target is None else stack.enter_context(target.open("wb"))
        written = 0
        async with open_client(url, api_key) as client:
            async for run in _open_runs(client, workflows):
                out.write(Recording.of(run, await _events(client, run)).line())
                written += 1
        out.flush()
    output.note(f"open runs written: {output.number(written)}")


async def _open_runs(client: Client, workflows: Sequence[str]) -> AsyncIterator[Row]:
    for status in OPEN:
        for name in workflows or (None,):
            async for run in _of(client, RunQuery(status, name, limit=PAGE)):
                if run["name"] not in OWN:
                    yield run


async def _of(client: Client, query: RunQuery) -> AsyncIterator[Row]:
    """Yield runs, newest first, page by page: each begins with those as old as the last of the page before.

    Where more are of one moment than a page holds, the pages grow until it is behind.
    """
    seen: set[str] = set()
    moment, limit = "", PAGE
    while True:
        page = await client.list_runs(replace(query, limit=limit))
        for run in page:
            if run["run_id"] not in seen:
                yield run
        if len(page) < limit:
            return
        last = page[-1]["created_at"]
        of_last = {run["run_id"] for run in page if run["created_at"] == last}
        seen, limit = (seen | of_last, limit * 2) if last == moment else (of_last, PAGE)
        moment, query = last, replace(query, created_before=last)


async def _events(client: Client, run: Row) -> list[Row]:
    found: list[Row] = []
    while page := await client.events(run["run_id"], found[-1]["event_seq"] if found else 0, PAGE):
        found += page
    return found


def check(histories: Sequence[Path], app: list[str] | None, *, json: bool) -> None:
    """Replay recordings and tell which would strand."""
    look_in_working_folder()
    load_processors(settings.load(**_given(app)).app_modules)
    checked = 0
    stranded: list[Stranded] = []
    for place in histories:
        if not place.exists() or (place.is_dir() and not any(place.glob("*.ndjson"))):
            bad_input(
                f"there is no {place / '*.ndjson' if place.is_dir() else place}", "`windlass deploy export` writes it"
            )
        try:
            for recording in read_all(place):
                checked += 1
                found = examine(recording, default_registry)
                if found is not None:
                    stranded.append(found)
        except Invalid as error:
            bad_input(error.message)
    _tell(checked, stranded, json=json)
    if stranded:
        raise typer.Exit(ExitCode.FINDING)


def _tell(checked: int, stranded: Sequence[Stranded], *, json: bool) -> None:
    if json:
        output.as_json({"checked": checked, "stranded": [asdict(one) for one in stranded]})
        return
    if stranded:
        columns = ("run", "workflow", "version", "where", "why")
        output.table(columns, [[getattr(one, name) for name in ("run_id", *columns[1:])] for one in stranded])
    for one in stranded:
        print(f"\n{one.run_id}: {one.detail}\n  {one.advice}")
    output.note(f"runs checked: {output.number(checked)}, would strand: {output.number(len(stranded))}")


async def migrate(run_id: str, version: str, app: list[str] | None, *, json: bool) -> None:
    """Bind a run to another version."""
    async with _with_code(app) as application:
        run = await application.engine.get_run(run_id)
        tell = _told(application, run, "run.migrate", {"to": version})
        _moved(await moving.migrate(application.engine, run_id, version, by=operator().user_id, tell=tell), json=json)


async def fork(run_id: str, step: str, version: str | None, app: list[str] | None, *, json: bool) -> None:
    """Start a run where another one stood."""
    async with _with_code(app) as application:
        run = await application.engine.get_run(run_id)
        tell = _told(application, run, "run.fork", {"from_step": step, "to": version})
        _moved(
            await moving.fork(application.engine, run_id, step, version, by=operator().user_id, tell=tell), json=json
        )


def _told(application: Application, run: RunView, action: str, after: Row) -> Tell:
    """Return what tells the audit log of a run that was moved."""
    trail, before = application.workflows.runs.trail, {"status": run.status, "version": run.interface_version}

    def tell(tx: Transaction) -> None:
        trail.did(tx, operator(), action, run.run_id, run.owner, before, after)

    return tell


def _moved(moved: Moved, *, json: bool) -> None:
    if json:
        output.as_json(asdict(moved))
    else:
        output.fields({name.replace("_", " "): value for name, value in asdict(moved).items() if value is not None})


@asynccontextmanager
async def _with_code(app: list[str] | None) -> AsyncIterator[Application]:
    """Open the database with the workflows of the modules."""
    look_in_working_folder()
    found = settings.load(**_given(app)).model_copy(update={"process_wait_seconds": 0.0})
    if found.auto_migrate is None:
        found = found.model_copy(update={"auto_migrate": False})
    async with visit_application(found) as application:
        yield application


def _given(app: list[str] | None) -> dict[str, Any]:
    if app is not None and not all(app):
        bad_input("--app takes the dotted name of a module")
    return {} if app is None else {"app_modules": ",".join(app)}
