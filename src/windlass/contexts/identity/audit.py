"""The audit log: written in the transaction of what it tells, each entry chained to the one before by a hash.

On SQLite the chain grows here, for there is one writer at a time. On PostgreSQL a trigger does the same when the
transaction commits (see the migration), so that writers do not wait for each other before that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.contexts.identity.tables import audit_chain, audit_head, audit_log
from windlass.engine.ports import Transaction
from windlass.kernel.actors import Actor
from windlass.kernel.clock import to_iso
from windlass.kernel.ids import new_id
from windlass.storage.queries import iso

LABEL_LENGTH = 255
MOST_BYTES = 64 * 1024
"""Of what was before and after, together; of larger ones only size and hash are kept."""
MOST_PROBLEMS = 20
COLUMNS = ("id", "at", "tenant_id", "actor_id", "action", "target", "entry")
_WIDE = 1 << 63
_HEAD = "SELECT seq, hash FROM audit_head WHERE chain = 'main'"
_MOVE = """INSERT INTO audit_head (chain, seq, hash) VALUES ('main', :seq, :hash)
 ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash"""
_BEYOND = sa.text("""SELECT seq FROM audit_chain
 WHERE seq > coalesce((SELECT seq FROM audit_head WHERE chain = 'main'), 0) ORDER BY seq LIMIT 1""")


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries, newest first; ``before`` is the id of the last one of the page before."""

    tenant_id: str | None = None
    actor_id: str | None = None
    action: str | None = None
    target: str | None = None
    before: str | None = None
    limit: int = 50


class Verdict(NamedTuple):
    """What was found in a stretch of the chain: ``next`` is where to go on, or None at its end."""

    checked: int
    last_seq: int
    last_hash: str
    next: int | None
    problems: list[str]


def link(before: str, seq: int, entry_id: str, entry: str) -> str:
    """Return the hash of an entry."""
    return hashlib.sha256(f"{before}\n{seq}\n{entry_id}\n{entry}".encode()).hexdigest()


def append(tx: Transaction, actor: Actor, action: str, target: str, before: object, after: object, now: int) -> None:
    """Add an entry in an open transaction, at the end of it: those of many callers with the same few statements."""
    entry_id, at = new_id(), to_iso(now)
    action, target = _label(action), _label(target)
    entry = _json({
        "id": entry_id,
        "at": at,
        "tenant_id": actor.tenant_id,
        "actor": {"id": actor.user_id, "name": actor.username, "kind": actor.kind, "role": actor.role},
        "action": action,
        "target": target,
        "request_id": actor.request_id,
        **_bounded(before, after),
    })  # fmt: skip
    tx.at_end(_write, (entry_id, at, actor.tenant_id, actor.user_id, action, target, entry))


def _write(tx: Transaction, rows: list[tuple[str, ...]]) -> None:
    tx.insert_rows(audit_log, COLUMNS, rows)
    if tx.connection.dialect.name == "postgresql":
        return
    seq, digest = tx.execute(_HEAD).fetchone() or (0, "")
    links = []
    for entry_id, *_, entry in rows:
        seq += 1
        digest = link(digest, seq, entry_id, entry)
        links.append((seq, entry_id, digest))
    tx.insert_rows(audit_chain, ("seq", "id", "hash"), links)
    tx.execute(_MOVE, {"seq": seq, "hash": digest})


def _label(text: str) -> str:
    text = text[:LABEL_LENGTH]
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)


def _bounded(before: object, after: object) -> dict[str, Any]:
    text = _json([before, after])
    if len(text) <= MOST_BYTES:
        return {"before": before, "after": after}
    kept = {}
    for name, value in (("before", before), ("after", after)):
        raw = _json(value).encode()
        kept[name] = {"too_large": True, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    return kept


def _json(value: object) -> str:
    """Return JSON of whatever it is; what JSON does not know is told by its text."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return orjson.dumps(_tellable(value)).decode()


def _tellable(value: object) -> object:
    if isinstance(value, dict):
        return {str(_tellable(str(key))): _tellable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tellable(item) for item in value]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -_WIDE <= value < _WIDE:
        return value
    return str(value).encode(errors="replace").decode()


def entries(connection: sa.Connection, query: AuditQuery) -> list[dict[str, Any]]:
    """Return entries, newest first, with their numbers in the chain."""
    c = audit_log.c
    statement = sa.select(audit_chain.c.seq, c.entry).join(audit_chain, audit_chain.c.id == c.id)
    for column, value in (
        (c.tenant_id, query.tenant_id),
        (c.actor_id, query.actor_id),
        (c.action, query.action),
        (c.target, query.target),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if query.before is not None:
        statement = statement.where(c.id < query.before)
    found = connection.execute(statement.order_by(c.id.desc()).limit(query.limit)).all()
    return [{"seq": row.seq, **orjson.loads(row.entry)} for row in found]


def hash_at(connection: sa.Connection, seq: int) -> str | None:
    """Return the hash of a number, or None when the chain has not come so far."""
    return "" if seq == 0 else connection.execute(
        sa.select(audit_chain.c.hash).where(audit_chain.c.seq == seq)
    ).scalar()  # fmt: skip


def verify(connection: sa.Connection, after: int, limit: int) -> Verdict:
    """Check a stretch of the chain: that nothing was changed, taken away or put in between.

    What follows the last number looked at is checked by the next call; at the end of the chain its head is compared,
    and entries that never were in it are looked for.
    """
    head = connection.execute(sa.select(audit_head.c.seq, audit_head.c.hash)).first()
    end, end_hash = (0, "") if head is None else head
    problems: list[str] = []
    known = hash_at(connection, after)
    if known is None:
        return Verdict(0, after, "", None, [f"{after}: is not in the chain"])
    query = (
        sa.select(audit_chain.c.seq, audit_chain.c.id.label("link_id"), audit_chain.c.hash, *audit_log.c)
        .outerjoin(audit_log, audit_log.c.id == audit_chain.c.id)
        .where(audit_chain.c.seq > after, audit_chain.c.seq <= end)
        .order_by(audit_chain.c.seq)
        .limit(limit)
    )
    last, digest, checked = after, known, 0
    for row in connection.execute(query).mappings():
        checked += 1
        if row["seq"] != last + 1:
            problems.append(f"{last + 1}: is missing")
            digest = ""
        last = row["seq"]
        problem = _problem(row, digest)
        if problem:
            problems.append(f"{last}: {problem}")
        digest = row["hash"]
    if checked == limit and last < end:
        return Verdict(checked, last, digest, last, problems[:MOST_PROBLEMS])
    if (last, digest) != (end, end_hash):
        problems.append(f"{end}: is where the chain ends, but it is not there, or has another hash")
    beyond = connection.execute(_BEYOND).scalar()
    if beyond is not None:
        problems.append(f"{beyond}: stands behind the end of the chain")
    problems += _loose(connection)
    return Verdict(checked, last, digest, None, problems[:MOST_PROBLEMS])


def _problem(row: Any, before: str) -> str | None:
    if row["id"] is None:
        return f"entry {row['link_id']} is gone"
    if link(before, row["seq"], row["id"], row["entry"]) != row["hash"]:
        return f"entry {row['id']} or what comes before it was changed"
    said = orjson.loads(row["entry"])
    columns = (row["id"], iso(row["at"]), row["tenant_id"], row["actor_id"], row["action"], row["target"])
    told = (said["id"], said["at"], said["tenant_id"], said["actor"]["id"], said["action"], said["target"])
    return None if columns == told else f"entry {row['id']} does not stand where it belongs"


def _loose(connection: sa.Connection) -> list[str]:
    query = (
        sa.select(audit_log.c.id)
        .outerjoin(audit_chain, audit_chain.c.id == audit_log.c.id)
        .where(audit_chain.c.id.is_(None))
        .limit(MOST_PROBLEMS)
    )
    return [f"entry {entry_id} is not in the chain" for entry_id in connection.execute(query).scalars()]
