"""What ``windlass doctor`` looks at, one question after the other, and how it mends what it finds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import typer

from windlass import settings
from windlass.bootstrap import open_backend, visit_application
from windlass.cli import output
from windlass.cli.exits import ExitCode
from windlass.cli.work.doctor.database import database
from windlass.cli.work.doctor.files import artifacts
from windlass.cli.work.doctor.findings import Check
from windlass.cli.work.doctor.mending import mend
from windlass.cli.work.doctor.runs import lost, runs
from windlass.contexts.artifacts.api import Disagreement
from windlass.settings import Settings


async def examine(*, repair: bool, quick: bool, json: bool) -> None:
    """Look at everything, mend what is wanted, print the answers; raises when there is a finding.

    Args:
        repair: mend what is safe to mend, then look again.
        quick: count no events, and look for no file.
        json: print one JSON object.
    """
    found = settings.load()
    checks, well = await asyncio.to_thread(database, found)
    if well:
        if repair:
            checks += await _repaired(found, quick=quick)
        backend = open_backend(found.database)
        try:
            checks += await asyncio.to_thread(lambda: runs(backend, quick=quick))
        finally:
            backend.close()
        if not quick:
            async with visit_application(found) as application:
                checks.append(artifacts(await application.artifacts.examiner.look()))
    _tell(checks, json=json)
    if any(check.result != "ok" for check in checks):
        raise typer.Exit(ExitCode.FINDING)


async def _repaired(found: Settings, *, quick: bool) -> list[Check]:
    backend = open_backend(found.database)
    try:
        wrong = await asyncio.to_thread(lambda: lost(backend, quick=quick))
    finally:
        backend.close()
    async with visit_application(found) as application:
        files = Disagreement() if quick else await application.artifacts.examiner.look()
        if wrong.anything or files.without_file or files.without_row:
            return [await mend(application, wrong, files)]
    return []


def _tell(checks: Sequence[Check], *, json: bool) -> None:
    if json:
        result: dict[str, Any] = {
            "ok": all(check.result == "ok" for check in checks),
            "checks": [asdict(check) for check in checks],
        }
        output.as_json(result)
        return
    output.table(("check", "result", "what"), [(check.check, check.result, check.said) for check in checks])
    for check in checks:
        if check.advice:
            output.note(f"{check.check}: {check.advice}")
