"""The audit log: in the writer's transaction, chained, and nothing of it can be changed unnoticed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from windlass.bootstrap import Application, run_application
from windlass.contexts.identity import audit
from windlass.contexts.identity.api import AuditQuery
from windlass.engine.ports import Transaction
from windlass.kernel.actors import Actor
from windlass.settings import Settings
from windlass.storage import urls

ANN = Actor("1", "ann", "acme", request_id="r-1")
BOB = Actor("2", "bob", "default", "admin", kind="api_key")


async def fill(running: Application, number: int = 5) -> None:
    """Write entries, several of them in one transaction."""
    identity = running.identity

    def several(tx: Transaction) -> None:
        for place in range(number):
            identity.record(tx, ANN if place % 2 else BOB, "run.cancel", f"run:{place}", {"n": place}, None)

    await running.engine.transact(several)


async def test_an_entry_says_who_did_what(running: Application) -> None:
    before, after = {"status": "running", "odd": ["\0", "\ud800", float("nan"), 1 << 70]}, None

    await running.identity.note(ANN, "run.cancel", "run:7", before, after)

    [entry] = await running.identity.entries(AuditQuery())
    assert entry.pop("id")
    assert entry.pop("at").endswith("Z")
    assert entry.pop("before") == {"status": "running", "odd": ["\0", "?", None, str(1 << 70)]}
    assert entry == {
        "seq": 1,
        "tenant_id": "acme",
        "actor": {"id": "1", "name": "ann", "kind": "user", "role": "user"},
        "action": "run.cancel",
        "target": "run:7",
        "request_id": "r-1",
        "after": None,
    }
    assert (await running.identity.verify()).problems == []


async def test_it_is_written_with_what_it_tells_or_not_at_all(running: Application) -> None:
    identity = running.identity

    def fails(tx: Transaction) -> None:
        identity.record(tx, ANN, "run.cancel", "run:1")
        raise ZeroDivisionError

    outcomes = await asyncio.gather(
        running.engine.transact(lambda tx: identity.record(tx, ANN, "run.pause", "run:1")),
        running.engine.transact(fails),
        running.engine.transact(lambda tx: identity.record(tx, ANN, "run.pause", "run:2")),
        return_exceptions=True,
    )

    assert isinstance(outcomes[1], Exception)
    assert [(entry["seq"], entry["action"]) for entry in await identity.entries(AuditQuery())] == [
        (2, "run.pause"),
        (1, "run.pause"),
    ]
    assert (await identity.verify()).problems == []


async def test_entries_are_found_page_by_page(running: Application) -> None:
    await fill(running, 7)
    ask = running.identity.entries

    async def targets(**wanted: Any) -> list[str]:
        return [entry["target"] for entry in await ask(AuditQuery(**wanted))]

    assert await targets() == [f"run:{place}" for place in reversed(range(7))]
    assert await targets(tenant_id="acme") == ["run:5", "run:3", "run:1"]
    assert await targets(tenant_id="default", target="run:2") == ["run:2"]
    assert await targets(tenant_id="default", target="run:1") == []
    assert await targets(actor_id="2", action="run.cancel", limit=2) == ["run:6", "run:4"]
    last = (await ask(AuditQuery(limit=3)))[-1]["id"]
    assert await targets(before=last) == ["run:3", "run:2", "run:1", "run:0"]


async def test_what_is_too_large_leaves_its_hash(running: Application) -> None:
    await running.identity.note(ANN, "x" * 300, "run:1\0" + "y" * 300, {"a": "b" * 70_000}, None)

    [entry] = await running.identity.entries(AuditQuery())
    assert (entry["before"]["too_large"], entry["before"]["bytes"]) == (True, 70_008)
    assert (len(entry["action"]), len(entry["target"]), entry["target"][:6]) == (255, 255, "run:1\ufffd")


async def test_writers_of_several_processes_make_one_chain(running: Application, database_url: str) -> None:
    """Also when each changes what the other does, in another order: nobody waits in a circle."""
    settings = Settings(database_url=database_url, lease_seconds=5.0)
    async with run_application(settings, worker=False) as other:

        def write(one: Application, names: tuple[str, str]) -> Callable[[Transaction], None]:
            def work(tx: Transaction) -> None:
                for name in names:
                    tx.set_queue(name, 3, False)
                    one.identity.record(tx, ANN, "queue.limit", f"queue:{name}")

            return work

        await asyncio.gather(
            *(one.engine.transact(write(one, ("a", "b"))) for _ in range(20) for one in (running, other))
        )

    verdict = await running.identity.verify()
    assert (verdict.checked, verdict.last_seq, verdict.next, verdict.problems) == (80, 80, None, [])


async def test_a_long_log_is_checked_in_pieces(running: Application) -> None:
    await fill(running)
    verify = running.identity.verify

    first = await verify(0, 2)
    second = await verify(2, 2)
    third = await verify(4, 2)

    assert [(part.checked, part.last_seq, part.next) for part in (first, second, third)] == [
        (2, 2, 2),
        (2, 4, 4),
        (1, 5, None),
    ]
    assert await running.identity.hash_at(4) == second.last_hash
    assert await running.identity.hash_at(6) is None
    assert (await verify(5)).problems == []
    assert (await verify(9)).problems == ["9: is not in the chain"]
    assert not any(part.problems for part in (first, second, third))


TAMPERINGS = {
    "an entry rewritten": (
        ["UPDATE audit_log SET entry = replace(entry, 'run.cancel', 'run.resume') WHERE target = 'run:2'"],
        "was changed",
    ),
    "a column rewritten": (["UPDATE audit_log SET action = 'run.resume' WHERE target = 'run:2'"], "where it belongs"),
    "a tenant rewritten": (["UPDATE audit_log SET tenant_id = 'other' WHERE target = 'run:2'"], "where it belongs"),
    "an entry taken away": (["DELETE FROM audit_log WHERE target = 'run:2'"], "is gone"),
    "an entry taken out of the chain": (
        [
            "DELETE FROM audit_chain WHERE id = (SELECT id FROM audit_log WHERE target = 'run:2')",
            "DELETE FROM audit_log WHERE target = 'run:2'",
        ],
        "is missing",
    ),
    "the last one taken away": (
        ["DELETE FROM audit_chain WHERE seq = 5", "DELETE FROM audit_log WHERE target = 'run:4'"],
        "where the chain ends",
    ),
    "an entry put in": (
        ["INSERT INTO audit_log SELECT 'x', at, '', '', '', 'x', entry FROM audit_log WHERE target = 'run:2'"],
        "not in the chain",
    ),
    "a link put in": (["INSERT INTO audit_chain (seq, id, hash) VALUES (6, 'x', 'y')"], "behind the end"),
    "the head turned back": (["UPDATE audit_head SET seq = 4"], "where the chain ends"),
    "the head taken away": (["DELETE FROM audit_head"], "behind the end"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
async def test_what_was_done_to_it_by_hand_is_found(running: Application, database_url: str, tampering: str) -> None:
    await fill(running)
    statements, said = TAMPERINGS[tampering]
    engine = sa.create_engine(urls.parse(database_url).sqlalchemy, poolclass=sa.NullPool)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SET session_replication_role = replica"))
        else:
            found = connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars()
            for name in [name for name in found if name.startswith("audit_")]:
                connection.execute(sa.text(f"DROP TRIGGER {name}"))
        for statement in statements:
            assert connection.execute(sa.text(statement)).rowcount == 1

    verdict = await running.identity.verify()

    assert any(said in problem for problem in verdict.problems), verdict.problems


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET target = 'x'", "DELETE FROM audit_log",
                                       "UPDATE audit_chain SET hash = 'x'", "DELETE FROM audit_chain"])  # fmt: skip
async def test_the_database_refuses_to_change_it(running: Application, database_url: str, statement: str) -> None:
    await fill(running)
    engine = sa.create_engine(urls.parse(database_url).sqlalchemy, poolclass=sa.NullPool)

    with pytest.raises(sa.exc.DBAPIError, match="only added to"), engine.begin() as connection:
        connection.execute(sa.text(statement))


async def test_users_and_keys_leave_their_trace_without_secrets(running: Application) -> None:
    identity = running.identity
    await identity.add_user(BOB, "ann", "correct horse")
    await identity.change_user(BOB, "ann", is_active=False)
    await identity.change_user(BOB, "ann", is_active=True)
    await identity.change_user(BOB, "ann", role="admin")
    await identity.set_password(BOB, "ann", "another horse")
    added = await identity.add_key(BOB, "job")
    await identity.revoke_key(BOB, added.key.key_id)

    entries = await identity.entries(AuditQuery())

    assert [entry["action"] for entry in reversed(entries)] == [
        "user.add",
        "user.disable",
        "user.enable",
        "user.change",
        "user.password",
        "key.add",
        "key.revoke",
    ]
    changed = entries[3]
    assert (changed["target"], changed["before"]["role"], changed["after"]["role"]) == ("user:1", "user", "admin")
    assert "horse" not in str(entries)
    assert "argon2" not in str(entries)
    assert added.text.split("_", 2)[2] not in str(entries)


def test_the_hash_covers_number_entry_and_what_came_before() -> None:
    base = audit.link("a", 1, "id", "entry")

    assert len({base, audit.link("b", 1, "id", "entry"), audit.link("a", 2, "id", "entry"),
                audit.link("a", 1, "ie", "entry"), audit.link("a", 1, "id", "entry ")}) == 5  # fmt: skip
