"""The statements on the table of definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.contexts.workflows.definitions.tables import workflows
from windlass.storage.queries import iso

_c = workflows.c
HEAD = (
    _c.id, _c.tenant_id, _c.name, _c.version, _c.owner_id, _c.description, _c.tags, _c.created_at, _c.updated_at,
    _c.is_active, _c.is_current,
)  # fmt: skip
MOST_VERSIONS = 1000


class Family(NamedTuple):
    """What the versions of one workflow share."""

    tenant_id: str
    owner_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Row:
    """A version without its document."""

    id: int
    tenant_id: str
    name: str
    version: int
    owner_id: str
    description: str | None
    tags: tuple[str, ...]
    created_at: str
    updated_at: str
    is_active: bool
    is_current: bool

    @property
    def family(self) -> Family:
        """The workflow that this is a version of."""
        return Family(self.tenant_id, self.owner_id, self.name)

    def shown(self) -> dict[str, Any]:
        """Return it as lists tell it."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "tags": list(self.tags),
            "is_active": self.is_active,
            "is_current": self.is_current,
        }


@dataclass(frozen=True, slots=True)
class Stored:
    """A version with its document as it was given."""

    row: Row
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which versions to list, by name and then the newest first.

    ``owner_id`` None is everybody's. ``q`` is part of a name or description in any case, ``tag`` one of the tags.
    ``after`` is the name and version behind which the page begins.
    """

    tenant_id: str
    owner_id: str | None
    q: str | None = None
    tag: str | None = None
    name: str | None = None
    current: bool = False
    deleted: bool = False
    limit: int = 200
    after: tuple[str, int] | None = None


def _row(found: Sequence[Any]) -> Row:
    values = list(found)
    values[6] = tuple(orjson.loads(values[6]))
    values[7], values[8] = iso(values[7]), iso(values[8])
    values[9:] = map(bool, values[9:])
    return Row(*values)


def _is_of(family: Family) -> list[sa.ColumnElement[bool]]:
    return [_c.tenant_id == family.tenant_id, _c.owner_id == family.owner_id, _c.name == family.name]


def head(connection: sa.Connection, workflow_id: int) -> Row | None:
    """Return a version without its document, or None."""
    found = connection.execute(sa.select(*HEAD).where(_c.id == workflow_id)).first()
    return None if found is None else _row(found)


def load(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> Stored | None:
    """Return the one version that the conditions name, or None."""
    found = connection.execute(sa.select(*HEAD, _c.definition_json).where(*where)).first()
    return None if found is None else Stored(_row(found[:-1]), orjson.loads(found[-1]))


def by_id(connection: sa.Connection, workflow_id: int) -> Stored | None:
    """Return a version, or None."""
    return load(connection, _c.id == workflow_id)


def by_version(connection: sa.Connection, family: Family, version: int) -> Stored | None:
    """Return a version of a workflow, or None."""
    return load(connection, *_is_of(family), _c.version == version)


def current(connection: sa.Connection, family: Family) -> Stored | None:
    """Return the version that a workflow's name stands for, or None."""
    return load(connection, *_is_of(family), _c.is_current)


def versions(connection: sa.Connection, family: Family, after: int | None = None) -> list[Row]:
    """Return the versions of a workflow, deleted ones too, newest first; a page of them at most."""
    statement = sa.select(*HEAD).where(*_is_of(family)).order_by(_c.version.desc()).limit(MOST_VERSIONS)
    if after is not None:
        statement = statement.where(_c.version < after)
    return [_row(found) for found in connection.execute(statement)]


def page(connection: sa.Connection, query: ListQuery) -> list[Row]:
    """Return a page of a list."""
    where: list[sa.ColumnElement[bool]] = [_c.tenant_id == query.tenant_id]
    if query.owner_id is not None:
        where.append(_c.owner_id == query.owner_id)
    if query.name is not None:
        where.append(_c.name == query.name)
    if query.current:
        where.append(_c.is_current)
    if not query.deleted:
        where.append(_c.is_active)
    if query.tag is not None:
        where.append(_c.tags.contains(orjson.dumps(query.tag).decode(), autoescape=True))
    if query.q is not None:
        where.append(
            sa.or_(_c.name.icontains(query.q, autoescape=True), _c.description.icontains(query.q, autoescape=True))
        )
    if query.after is not None:
        name, version = query.after
        where.append(sa.and_(_c.name >= name, sa.or_(_c.name > name, _c.version < version)))
    statement = sa.select(*HEAD).where(*where).order_by(_c.name, _c.version.desc()).limit(query.limit)
    return [_row(found) for found in connection.execute(statement)]


def add(connection: sa.Connection, values: Mapping[str, Any]) -> int | None:
    """Insert a version; returns its id, or None when its name and version are taken."""
    columns = [_c.tenant_id, _c.name, _c.version]
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415  one of two dialects
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # noqa: PLC0415
    statement = insert(workflows).values(**values).on_conflict_do_nothing(index_elements=columns).returning(_c.id)
    return connection.execute(statement).scalar()


def lock(connection: sa.Connection, family: Family) -> None:
    """Have who changes the current version of a workflow wait for each other."""
    first = sa.select(_c.id).where(*_is_of(family)).order_by(_c.version).limit(1)
    connection.execute(first.with_for_update() if connection.dialect.name == "postgresql" else first)


def promote(connection: sa.Connection, row: Row, now: str) -> None:
    """Make a version the current one of its workflow."""
    demote(connection, row.family, now)
    highest = sa.select(sa.func.coalesce(sa.func.max(_c.promotion), 0) + 1).where(*_is_of(row.family)).scalar_subquery()
    changed = {"is_current": True, "promotion": highest, "updated_at": now}
    connection.execute(sa.update(workflows).where(_c.id == row.id).values(changed))


def demote(connection: sa.Connection, family: Family, now: str) -> None:
    """Leave a workflow without a current version."""
    connection.execute(
        sa.update(workflows).where(*_is_of(family), _c.is_current).values(is_current=False, updated_at=now)
    )


def withdraw(connection: sa.Connection, row: Row, now: str) -> Row | None:
    """Make the version current again that was so before this one; returns it, or None when there is none.

    A version that was withdrawn is not returned to by a later withdrawal.
    """
    connection.execute(
        sa.update(workflows).where(_c.id == row.id).values(is_current=False, promotion=None, updated_at=now)
    )
    before = (
        sa.select(*HEAD)
        .where(*_is_of(row.family), _c.is_active, _c.promotion.is_not(None), _c.id != row.id)
        .order_by(_c.promotion.desc())
        .limit(1)
    )
    found = connection.execute(before).first()
    if found is None:
        return None
    target = _row(found)
    connection.execute(sa.update(workflows).where(_c.id == target.id).values(is_current=True, updated_at=now))
    return target


def deactivate(connection: sa.Connection, workflow_id: int, now: str) -> None:
    """Delete a version softly."""
    gone = {"is_active": False, "is_current": False, "promotion": None, "updated_at": now}
    connection.execute(sa.update(workflows).where(_c.id == workflow_id).values(gone))
