"""What the database is asked and told about artifacts. Each statement is bounded and has an index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.contexts.artifacts.model import OBJECT, Artifact, RunNotFound, Saved
from windlass.contexts.artifacts.objects import checksum_of
from windlass.contexts.artifacts.tables import workflow_artifact_objects as objects
from windlass.contexts.artifacts.tables import workflow_artifact_uploads as uploads
from windlass.contexts.artifacts.tables import workflow_artifacts as artifacts
from windlass.engine.ports import Transaction
from windlass.engine.types import TERMINAL
from windlass.kernel.errors import Unavailable
from windlass.storage.queries import iso
from windlass.storage.schema import workflow_runs

COLUMNS = (
    "artifact_id", "tenant_id", "run_id", "step_run_id", "type", "uri", "size_bytes", "mime_type", "checksum_sha256",
    "encryption", "owned_by", "created_at",
)  # fmt: skip
GENERATIONS = 100
"""How many levels of parents are looked at before a run counts as needed."""
_TRIES = 10
_ADD = """INSERT INTO workflow_artifacts (artifact_id, tenant_id, run_id, step_run_id, type, uri, size_bytes, mime_type,
 checksum_sha256, encryption, owned_by, metadata_json, created_at) VALUES (:artifact_id, :tenant_id, :run_id,
 :step_run_id, :type, :uri, :size_bytes, :mime_type, :checksum_sha256, :encryption, :owned_by, :metadata_json,
 :created_at) ON CONFLICT DO NOTHING"""
_KEEP = """INSERT INTO workflow_artifact_objects (checksum_sha256, object_key, size_bytes, created_at)
 VALUES (:checksum, :key, :size, :at) ON CONFLICT DO NOTHING"""
_BEGIN = "INSERT INTO workflow_artifact_uploads (object_key, created_at) VALUES (:key, :at)"


class RunOf(NamedTuple):
    """What matters of a run here."""

    run_id: str
    tenant_id: str
    owner: str | None
    strict: bool


class New(NamedTuple):
    """An artifact to be written; its object is ``key`` unless its content has one already."""

    row: dict[str, Any]
    key: str
    at: str


def run_of(connection: sa.Connection, run_id: str) -> RunOf | None:
    """Return a run, or None."""
    c = workflow_runs.c
    query = sa.select(c.run_id, c.tenant_id, c.user_id, c.attributes).where(c.run_id == run_id)
    row = connection.execute(query).first()
    if row is None:
        return None
    attributes = orjson.loads(row[3]) if isinstance(row[3], str) else row[3]
    return RunOf(row[0], row[1], row[2], (attributes or {}).get("validation_mode") != "non-block")


def get(connection: sa.Connection, artifact_id: str) -> Artifact | None:
    """Return an artifact, its metadata as it is kept."""
    row = connection.execute(_select().where(artifacts.c.artifact_id == artifact_id)).first()
    return None if row is None else _artifact(row)


def chosen(connection: sa.Connection, run_id: str, ids: Sequence[str]) -> dict[str, Artifact]:
    """Return those of some artifacts that belong to a run."""
    c = artifacts.c
    rows = connection.execute(_select().where(c.artifact_id.in_(ids), c.run_id == run_id))
    return {row.artifact_id: _artifact(row) for row in rows}


def page(connection: sa.Connection, run_id: str, after: tuple[str, str] | None, limit: int) -> list[Artifact]:
    """Return artifacts of a run behind ``after`` (creation time and id), oldest first."""
    c = artifacts.c
    query = _select().where(c.run_id == run_id).order_by(c.created_at, c.artifact_id).limit(limit)
    return [_artifact(row) for row in connection.execute(_behind(query, after))]


def old(connection: sa.Connection, before: str, after: tuple[str, str] | None, limit: int) -> list[Artifact]:
    """Return artifacts made before a time, of all runs, oldest first."""
    c = artifacts.c
    query = _select().where(c.created_at < before).order_by(c.created_at, c.artifact_id).limit(limit)
    return [_artifact(row) for row in connection.execute(_behind(query, after))]


def _select() -> sa.Select[Any]:
    return sa.select(*(artifacts.c[name] for name in COLUMNS), artifacts.c.metadata_json)


def _behind(query: sa.Select[Any], after: tuple[str, str] | None) -> sa.Select[Any]:
    if after is None:
        return query
    c = artifacts.c
    same = sa.and_(c.created_at == after[0], c.artifact_id > after[1])
    return query.where(c.created_at >= after[0], sa.or_(c.created_at > after[0], same))


def _artifact(row: Any) -> Artifact:
    values = row._asdict()
    metadata = values.pop("metadata_json")
    plain = orjson.loads(metadata) if isinstance(metadata, str) else metadata
    values["created_at"] = iso(values["created_at"]) or ""
    return Artifact(**values, metadata=plain if isinstance(plain, dict) else {})


# putting
def known(tx: Transaction, new: New) -> Saved | None:
    """Return the artifact when it is there, or write it when its content is; else note that its object is coming.

    Raises:
        RunNotFound: the run is gone.
    """
    found = get(tx.connection, new.row["artifact_id"])
    if found is not None:
        return Saved(found, created=False)
    key = _lock(tx, new.row["checksum_sha256"])
    if key is None:
        tx.execute(_BEGIN, {"key": new.key, "at": new.at})
        return None
    return _write(tx, new, key)


def arrived(tx: Transaction, new: New) -> Saved:
    """Write an artifact whose object is in place, or one of the same content that somebody else put meanwhile.

    Raises:
        Unavailable: it took so long that the object was removed again.
        RunNotFound: the run is gone.
    """
    if tx.connection.execute(sa.delete(uploads).where(uploads.c.object_key == new.key)).rowcount != 1:
        raise Unavailable("the upload took too long: send it again")
    checksum, size = new.row["checksum_sha256"], new.row["size_bytes"]
    for _ in range(_TRIES):
        kept = tx.execute(_KEEP, {"checksum": checksum, "key": new.key, "size": size, "at": new.at}).rowcount
        key = new.key if kept == 1 else _lock(tx, checksum)
        if key is not None:
            return _write(tx, new, key)
    raise Unavailable("the same content is stored and removed all the time: send it again")


def _lock(tx: Transaction, checksum: str) -> str | None:
    """Return the key of a content's object and keep others from removing it until the transaction ends."""
    query = sa.select(objects.c.object_key).where(objects.c.checksum_sha256 == checksum).with_for_update()
    key: str | None = tx.connection.execute(query).scalar()
    return key


def _write(tx: Transaction, new: New, key: str) -> Saved:
    if run_of(tx.connection, new.row["run_id"]) is None:
        raise RunNotFound
    added = tx.execute(_ADD, new.row | {"uri": OBJECT + key}).rowcount
    found = get(tx.connection, new.row["artifact_id"])
    assert found is not None  # noqa: S101  it is in this transaction
    return Saved(found, added == 1)


def give_up(tx: Transaction, key: str) -> None:
    """Forget an object that will not come."""
    tx.connection.execute(sa.delete(uploads).where(uploads.c.object_key == key))


# removing
def count_older(connection: sa.Connection, before: str) -> int:
    """Return how many artifacts were made before a time."""
    query = sa.select(sa.func.count()).select_from(artifacts).where(artifacts.c.created_at < before)
    return connection.execute(query).scalar_one()


def lineage(connection: sa.Connection, run_ids: Iterable[str]) -> dict[str, list[str]]:
    """Return for each run the ids of itself, its parent, its parent's parent and so on."""
    c = workflow_runs.c
    lines = {run_id: [run_id] for run_id in run_ids}
    for _ in range(GENERATIONS):
        ends = {line[-1] for line in lines.values() if line[-1]}
        if not ends:
            break
        query = sa.select(c.run_id, c.parent_run_id).where(c.run_id.in_(ends))
        parents = {row[0]: row[1] for row in connection.execute(query)}
        for line in lines.values():
            if line[-1]:
                line.append(parents.get(line[-1]) or "")
    return lines


def ended(connection: sa.Connection, run_ids: Iterable[str]) -> set[str]:
    """Return those of some runs that are not open: they have ended, or are gone."""
    wanted = set(run_ids)
    c = workflow_runs.c
    open_runs = sa.select(c.run_id).where(c.run_id.in_(wanted), c.status.not_in(sorted(TERMINAL)))
    return wanted - set(connection.execute(open_runs).scalars())


def remove(tx: Transaction, some: Sequence[Artifact]) -> tuple[list[str], list[str]]:
    """Delete artifacts, and objects that no artifact has any more.

    Returns:
        the ids of the artifacts deleted, and the keys of the objects.
    """
    c = artifacts.c
    ids = [artifact.artifact_id for artifact in some]
    gone = [*tx.connection.execute(sa.select(c.artifact_id).where(c.artifact_id.in_(ids))).scalars()]
    tx.connection.execute(sa.delete(artifacts).where(c.artifact_id.in_(gone)))
    keys = {artifact.uri.removeprefix(OBJECT) for artifact in some if artifact.uri.startswith(OBJECT)}
    return gone, release(tx, keys)


def release(tx: Transaction, keys: Iterable[str]) -> list[str]:
    """Forget those of some objects that no artifact has, and return their keys: their files may go."""
    wanted = sorted({checksum_of(key) for key in keys})
    if not wanted:
        return []
    o = objects.c
    locked = sa.select(o.checksum_sha256, o.object_key).where(o.checksum_sha256.in_(wanted))
    rows = tx.connection.execute(locked.order_by(o.checksum_sha256).with_for_update()).all()
    free = unused(tx.connection, [row.object_key for row in rows])
    tx.connection.execute(sa.delete(objects).where(o.checksum_sha256.in_([checksum_of(key) for key in free])))
    return free


def unused(connection: sa.Connection, keys: Sequence[str]) -> list[str]:
    """Return those of some objects that no artifact has."""
    c = artifacts.c
    uris = [OBJECT + key for key in keys]
    used = set(connection.execute(sa.select(c.uri).where(c.uri.in_(uris)).distinct()).scalars())
    return [key for key in keys if OBJECT + key not in used]


def named(connection: sa.Connection, uri: str) -> bool:
    """Say whether an artifact has this address."""
    query = sa.select(artifacts.c.artifact_id).where(artifacts.c.uri == uri).limit(1)
    return connection.execute(query).first() is not None


def of_uri(connection: sa.Connection, uri: str) -> list[Artifact]:
    """Return the artifacts that have this address."""
    return [_artifact(row) for row in connection.execute(_select().where(artifacts.c.uri == uri))]


def object_page(connection: sa.Connection, after: str, limit: int) -> list[str]:
    """Return keys of objects whose checksum is behind ``after``, in its order."""
    o = objects.c
    query = sa.select(o.object_key).where(o.checksum_sha256 > after).order_by(o.checksum_sha256).limit(limit)
    return [*connection.execute(query).scalars()]


def nobodys(connection: sa.Connection, keys: Sequence[str]) -> list[str]:
    """Return those of some keys that no object has and that are not on their way.

    Uploads are looked at first: an object leaves them only for the other table.
    """
    coming = set(connection.execute(sa.select(uploads.c.object_key).where(uploads.c.object_key.in_(keys))).scalars())
    checksums = sorted({checksum_of(key) for key in keys})
    there = sa.select(objects.c.object_key).where(objects.c.checksum_sha256.in_(checksums))
    kept = coming | set(connection.execute(there).scalars())
    return [key for key in keys if key not in kept]


def forget_uploads(tx: Transaction, before: str, limit: int) -> list[str]:
    """Forget objects that have been on their way since before a time, and return their keys."""
    c = uploads.c
    keys = [*tx.connection.execute(sa.select(c.object_key).where(c.created_at < before).limit(limit)).scalars()]
    gone = sa.delete(uploads).where(c.object_key == sa.bindparam("wanted"))
    return [key for key in keys if tx.connection.execute(gone, {"wanted": key}).rowcount == 1]
