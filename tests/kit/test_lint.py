"""The lint reads workflows, and finds what makes them come to something else when they run again."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.kit import planted
from tests.support.paths import ROOT
from windlass.cli.main import app
from windlass.kernel.errors import Invalid
from windlass.testing import lint
from windlass.testing.linting import lint_source
from windlass.testing.rules import near

HEAD = """
import asyncio, os, random, subprocess, threading, time, uuid, secrets, contextlib, socket
import datetime as dt
from datetime import datetime
from os import environ
from pathlib import Path
from random import random as throw
from time import sleep as nap
import httpx
import windlass
from windlass import gather, now, sleep, step, workflow
CACHE = {}
SEEN = set()

"""


def found(body: str, *, head: str = "@workflow\nasync def order(names: set[str], given):") -> list[str]:
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    return [finding.rule.name for finding in lint_source(f"{HEAD}{head}\n{indented}\n", "order.py")]


@pytest.mark.parametrize(
    "body,rules",
    [
        ("x = time.time()", ["clock"]),
        ("x = dt.datetime.now(dt.UTC)", ["clock"]),
        ("x = datetime.utcnow()", ["clock"]),
        ("import time as t\nx = t.monotonic()", ["clock"]),
        ("x = throw()", ["random"]),
        ("x = random.choice([1, 2])", ["random"]),
        ("x = random.Random()", ["random"]),
        ("x = secrets.token_hex()", ["random"]),
        ("x = uuid.uuid4()", ["uuid"]),
        ("x = environ['A']", ["environment"]),
        ("x = os.environ.get('A')", ["environment"]),
        ("x = os.getenv('A')", ["environment"]),
        ("with open('x') as f:\n    pass", ["outside"]),
        ("x = Path('x').read_text()", ["outside"]),
        ("async with httpx.AsyncClient() as client:\n    pass", ["outside"]),
        ("s = socket.create_connection(('a', 1))", ["outside"]),
        ("t = asyncio.create_task(other())", ["tasks"]),
        ("x = await asyncio.gather(other(), other())", ["tasks"]),
        ("async with asyncio.TaskGroup() as group:\n    group.create_task(other())", ["tasks", "tasks"]),
        ("await asyncio.sleep(1)", ["waits"]),
        ("nap(1)", ["waits"]),
        ("async with asyncio.timeout(1):\n    pass", ["waits"]),
        ("x = await asyncio.wait_for(other(), 1)", ["waits"]),
        ("threading.Thread(target=print).start()", ["threads"]),
        ("subprocess.run(['ls'])", ["threads"]),
        ("x = await asyncio.to_thread(print)", ["threads"]),
        ("CACHE['a'] = 1", ["globals"]),
        ("SEEN.add(1)", ["globals"]),
        ("global CACHE\nCACHE = {}", ["globals"]),
        ("for name in names:\n    await other(name)", ["sets"]),
        ("for name in set(given):\n    await other(name)", ["sets"]),
        ("x = [await other(name) for name in {'a', 'b'}]", ["sets"]),
        ("left = names - {'a'}\nx = list(left)", ["sets"]),
        ("await gather(*{other(n) for n in given})", ["sets"]),
        ("x = ','.join(names)", ["sets"]),
        ("x = names.pop()", ["sets"]),
        ("try:\n    await other()\nexcept:\n    pass", ["swallows"]),
        ("try:\n    await other()\nexcept BaseException:\n    pass", ["swallows"]),
        ("try:\n    await other()\nexcept (ValueError, asyncio.CancelledError):\n    pass", ["swallows"]),
        ("with contextlib.suppress(BaseException):\n    await other()", ["swallows"]),
        ("try:\n    await other()\nfinally:\n    return 1", ["swallows"]),
        ("def inner():\n    return time.time()\nx = inner()", ["clock"]),
    ],
)
def test_what_breaks_a_rule_is_found(body: str, rules: list[str]) -> None:
    assert found(body) == rules


@pytest.mark.parametrize(
    "body",
    [
        "x = now()",
        "x = windlass.random()",
        "x = windlass.now().isoformat()",
        "await sleep(days=3)",
        "x = await gather(other(), other())",
        "x = random.Random(7).random()",
        "x = time.gmtime(given)",
        "x = uuid.uuid5(uuid.NAMESPACE_URL, 'a')",
        "x = datetime.fromisoformat('2030-01-01')",
        "time = given\nx = time.time()",
        "cache = {}\ncache['a'] = 1\ncache.update(b=2)",
        "x = CACHE.get('a')",
        "for name in sorted(names):\n    await other(name)",
        "x = sorted(n for n in names)\ny = len(names), 'a' in names, max(names)",
        "x = {name.lower() for name in names}",
        "seen = set()\nseen.add(1)\nif 1 in seen:\n    pass",
        "names = sorted(names)\nfor name in names:\n    await other(name)",
        "try:\n    await other()\nexcept Exception:\n    pass",
        "try:\n    await other()\nexcept BaseException:\n    await other()\n    raise",
        "@step\nasync def inner():\n    return time.time()\nx = await inner()",
        "x = time.time()  # windlass: allow=clock",
        "x = time.time()  # windlass: allow=WL001, random",
    ],
)
def test_what_breaks_none_is_not(body: str) -> None:
    assert found(body) == []


def test_steps_and_other_functions_may_do_all_of_it_and_helpers_may_not() -> None:
    wild = "x = time.time(), random.random(), os.environ['A']"

    assert found(wild, head="@step\ndef charge(names, given):") == []
    assert found(wild, head="def unrelated(names, given):") == []
    assert found(wild, head="@windlass.workflow(name='x')\nasync def order(names, given):") == [
        "clock",
        "random",
        "environment",
    ]
    helper = "def price():\n    return other_price()\n\ndef other_price():\n    return time.time()\n\n"
    assert found("x = price()", head=f"{helper}@workflow\nasync def order(names, given):") == ["clock"]
    handed_on = f"{helper}@workflow\nasync def order(names, given):"
    assert found("x = await windlass.map(price, [1])", head=handed_on) == ["clock"]
    knows_better = helper.replace("def other_price():", "def other_price():  # windlass: allow=clock")
    allowed = f"{knows_better}@workflow\nasync def order(names, given):"
    assert found("x = price()", head=allowed) == []


def test_every_planted_mistake_that_can_be_read_is_found_where_it_stands() -> None:
    file = Path(str(planted.__file__))

    findings = lint(file)

    lines = file.read_text().splitlines()
    assert {finding.rule.name for finding in findings} == {
        "clock", "random", "uuid", "globals", "environment", "swallows", "tasks", "outside", "sets", "waits",
    }  # fmt: skip
    assert all("planted" not in lines[finding.line - 1] for finding in findings)
    assert str(findings[0]).startswith(f"{near(str(file))}:{findings[0].line}: WL001 time.time(): use windlass.now()")


def test_there_is_no_false_alarm_on_what_is_ours() -> None:
    places = [
        "src/windlass/demo",
        "src/windlass/contexts",
        "examples",
        "tests/simulation",
        "tests/http",
        "tests/system",
    ]

    assert [str(finding) for finding in lint(*[ROOT / place for place in places])] == []
    assert lint(ROOT / "tests/kit/healthy.py") == []


def test_the_command_tells_and_ends_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.py").write_text("from windlass import workflow\n\n@workflow\nasync def a():\n    return 1\n")
    assert run("lint", str(tmp_path)) == 0
    bad = tmp_path / "inner" / "bad.py"
    bad.parent.mkdir()
    bad.write_text("import time\nfrom windlass import workflow\n\n@workflow\nasync def a():\n    return time.time()\n")
    capsys.readouterr()

    assert run("lint", str(tmp_path), "--json") == 1
    assert json.loads(capsys.readouterr().out) == [
        {
            "file": str(bad), "line": 6, "code": "WL001", "rule": "clock", "message": "time.time()",
            "instead": "use windlass.now(), whose answer is recorded",
        }
    ]  # fmt: skip
    assert run("lint", str(tmp_path)) == 1
    with pytest.raises(Invalid, match="there is no"):
        lint(tmp_path / "none.py")
    (tmp_path / "broken.py").write_text("def (")
    with pytest.raises(Invalid, match="is no Python"):
        lint(tmp_path)


def run(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        app(args=[*arguments], prog_name="windlass")
    return ended.value.code
