"""A process that runs an application is tuned to it, unless it is told to leave that alone."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

PROGRAM = """
import asyncio, gc, json, sys
from windlass.bootstrap import run_application
from windlass.kernel.tuning import tune_process
from windlass.settings import load

before = [gc.get_threshold(), sys.getswitchinterval(), False, 0]

async def seen(**given):
    async with run_application(load(database_url=f"sqlite:///{sys.argv[1]}", **given)):
        tuned = tune_process.cache_info().misses
        return [gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count() > 0, tuned]

found = [asyncio.run(seen(tune_process=wanted)) for wanted in (False, True, True)]
print(json.dumps([before, *found]))
"""


def test_a_process_is_tuned_once_and_only_where_that_is_wanted(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "some.db")], capture_output=True, text=True, check=True, cwd=ROOT
    )
    before, untouched, tuned, again = json.loads(done.stdout)
    assert untouched == before
    assert tuned[0][0] > before[0][0]
    assert tuned[1] < before[1]
    assert tuned[2:] == [True, 1]
    assert again == tuned
