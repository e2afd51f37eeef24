"""What a workflow's code must not do by itself, and what to use instead: for the lint and for who watches it run.

The code of a workflow runs again after every crash, and must then ask for the same as before.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Rule(NamedTuple):
    """``code`` is stable, ``name`` is what ``# windlass: allow=NAME`` takes too."""

    code: str
    name: str
    instead: str


CLOCK = Rule("WL001", "clock", "use windlass.now(), whose answer is recorded")
RANDOM = Rule("WL002", "random", "use windlass.random(), whose answer is recorded, or throw the dice in a step")
UUID = Rule("WL003", "uuid", "use windlass.uuid(), whose answer is recorded, or windlass.step_info().idempotency_key")
ENVIRONMENT = Rule("WL004", "environment", "read it in a step, or hand it in with the input")
OUTSIDE = Rule("WL005", "outside", "read and write files, databases and the network in a step")
TASKS = Rule("WL006", "tasks", "use windlass.gather or windlass.map")
WAITS = Rule("WL007", "waits", "use windlass.sleep, signal(timeout=…) or step(timeout=…), which outlive a crash")
THREADS = Rule("WL008", "threads", "make it a step: plain functions run in threads of their own")
GLOBALS = Rule("WL009", "globals", "keep state in local variables, or change what is outside in a step")
SETS = Rule("WL010", "sets", "the order of a set differs between processes: go through sorted(…)")
SWALLOWS = Rule("WL011", "swallows", "catch Exception: BaseException is also how a run leaves memory or is cancelled")

RULES = (CLOCK, RANDOM, UUID, ENVIRONMENT, OUTSIDE, TASKS, WAITS, THREADS, GLOBALS, SETS, SWALLOWS)
BY_NAME = {key: rule for rule in RULES for key in (rule.code, rule.name)}


def near(file: str) -> str:
    """Return a file's name as seen from the working folder."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


class Finding(NamedTuple):
    """One place that breaks a rule."""

    file: str
    line: int
    rule: Rule
    what: str

    def __str__(self) -> str:
        return f"{near(self.file)}:{self.line}: {self.rule.code} {self.what}: {self.rule.instead} [{self.rule.name}]"

    def shown(self) -> dict[str, object]:
        """Return it as JSON data."""
        return {
            "file": self.file, "line": self.line, "code": self.rule.code, "rule": self.rule.name, "message": self.what,
            "instead": self.rule.instead,
        }  # fmt: skip
