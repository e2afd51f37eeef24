"""Processes whose runs ask people, on one database and one clock; and the people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.engine.lab import Lab, status_of
from windlass import Engine, Handle, workflow
from windlass.contexts.people.api import Decision, Page, People, Task, wait_for_decision
from windlass.engine.ports import Transaction
from windlass.kernel.actors import RUNS_CONTROL, RUNS_READ, Actor

RIGHTS = frozenset({RUNS_READ, RUNS_CONTROL})


def person(user_id: str, role: str = "user", tenant_id: str = "default") -> Actor:
    """A user with the rights of one."""
    return Actor(user_id, user_id, tenant_id, role, RIGHTS)


ANN, BOB, CID, OWNER = (person(name) for name in ("ann", "bob", "cid", "olga"))
ADMIN = Actor("root", "root", role="admin")


@dataclass
class Office:
    """A lab in which each process has people."""

    lab: Lab
    reminded: list[str] = field(default_factory=list)
    people: dict[Engine, People] = field(default_factory=dict)

    async def open(self, **settings: Any) -> Engine:
        """Start a process."""
        engine = await self.lab.engine(**settings)
        self.people[engine] = People(engine, self._remind)
        return engine

    def _remind(self, tx: Transaction, task: Task) -> None:
        self.reminded.append(f"{task.step_id} {task.assigned_to[0]}")


def tell(decision: Decision) -> list[Any]:
    """Return a decision as JSON data."""
    return [decision.decision, decision.comment, dict(decision.edited_fields), list(decision.decided_by)]


@workflow(name="people.ask_one")
async def ask_one(options: dict[str, Any]) -> list[Any]:
    """Ask one question."""
    return tell(await wait_for_decision(**{"step_id": "review", "assigned_to": "ann", **options}))


async def start(engine: Engine, **options: Any) -> Handle:
    """Start a run of olga's that asks."""
    return await engine.start_run(ask_one, options, owner="olga")


async def asked(handle: Handle, status: str = "waiting_human") -> Handle:
    """Wait until a run has asked."""
    await status_of(handle, status)
    return handle


def steps(page: Page) -> list[str]:
    """The questions of a page."""
    return [task.step_id for task in page.items]


async def waits_for_ann(office: Office, engine: Engine) -> bool:
    """Whether anything does."""
    return bool((await office.people[engine].inbox(ANN)).items)
