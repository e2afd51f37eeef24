"""A process that runs an application looks for garbage more rarely, unless it is told to leave that alone."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

PROGRAM = """
import asyncio, gc, json, sys
from windlass.bootstrap import run_application
from windlass.kernel.collection import settle_memory
from windlass.settings import load

before = gc.get_threshold()

async def seen(**given):
    async with run_application(load(database_url=f"sqlite:///{sys.argv[1]}", **given)):
        return [gc.get_threshold(), gc.get_freeze_count() > 0, settle_memory.cache_info().misses]

found = [asyncio.run(seen(settle_memory=wanted)) for wanted in (False, True, True)]
print(json.dumps([[before, False, 0], *found]))
"""


def test_memory_is_settled_once_in_a_process_and_only_where_that_is_wanted(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "some.db")], capture_output=True, text=True, check=True, cwd=ROOT
    )
    before, untouched, settled, again = json.loads(done.stdout)
    assert untouched == before
    assert settled[0][0] > before[0][0]
    assert settled[1:] == [True, 1]
    assert again == settled
