"""What arrives is what was there: every table, every column, and values that look different but are the same."""

import json
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contexts.moving.places import add, full_row, here, mover, there
from tests.support.schema import describe
from windlass.bootstrap import carrying
from windlass.kernel.errors import Invalid
from windlass.storage import urls
from windlass.storage.moving.shapes import LEFT_BEHIND, Row, cells, first_difference, line, same_json, same_time, shapes
from windlass.storage.schema import metadata


@pytest.fixture
def old(migrated_sqlite_url: str) -> Path:
    """The file of an installation."""
    return Path(migrated_sqlite_url.removeprefix("sqlite:///"))


def test_every_table_is_carried_with_every_column(old: Path, pg_dsn: str) -> None:
    move = mover(old, pg_dsn)
    for shape in reversed(move.shapes):
        if shape.name == "candidate_counts":
            here(old, "DELETE FROM candidate_counts")  # triggers have counted what came before
        add(old, shape.name, [full_row(shape, number) for number in (1, 2, 3)])
    tables = {name for (name,) in here(old, "SELECT name FROM sqlite_master WHERE type = 'table'")}

    done = move.move()

    assert {*LEFT_BEHIND} == {"workflow_leases", "workflow_commits", "database_moves"}
    assert set(done.rows) == tables - LEFT_BEHIND - {"alembic_version"} == {s.name for s in shapes(metadata)}
    assert set(done.rows.values()) == {3}
    for shape in move.shapes:
        columns = ", ".join(f'"{column}"' for column in shape.columns)
        for ours, theirs in zip(
            here(old, f'SELECT {columns} FROM "{shape.name}" ORDER BY {shape.ordered}'),
            there(pg_dsn, f'SELECT {columns} FROM "{shape.name}" ORDER BY {shape.ordered}'),
            strict=True,
        ):
            for kind, mine, other in zip(shape.kinds, ours, theirs, strict=True):
                assert plain(kind, mine) == other, (shape.name, mine, other)
    assert {name for (name,) in there(pg_dsn, "SELECT tgname FROM pg_trigger WHERE tgenabled <> 'O'")} == set()


def plain(kind: str, value: Any) -> Any:
    """Return a value of SQLite as psycopg reads it from PostgreSQL."""
    if kind == "json":
        return json.loads(value)
    if kind == "time":
        return datetime.fromisoformat(value)
    return bool(value) if kind == "bool" else value


def test_the_tables_are_afterwards_as_migrations_make_them(
    old: Path, pg_dsn: str, migrated_pg_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "MANY", 0)
    mover(old, pg_dsn).move()

    assert describe(urls.parse(pg_dsn).sqlalchemy) == describe(urls.parse(migrated_pg_dsn).sqlalchemy)


def test_numbers_go_on_behind_the_highest(old: Path, pg_dsn: str) -> None:
    move = mover(old, pg_dsn)
    counted = [shape for shape in move.shapes if shape.counted is not None]
    for shape in counted:
        add(old, shape.name, [full_row(shape, number) | {shape.counted or "": number * 10} for number in (1, 4)])

    move.move()

    following = {
        shape.name: there(pg_dsn, f"SELECT nextval(pg_get_serial_sequence('{shape.name}', '{shape.counted}'))")[0][0]
        for shape in counted
        if there(pg_dsn, f"SELECT pg_get_serial_sequence('{shape.name}', '{shape.counted}')") != [(None,)]
    }
    assert set(following) >= {"users", "workflows", "workflow_inbox", "workflow_webhook_dlq", "record_deltas"}
    assert set(following.values()) == {41}


def test_a_value_that_postgresql_cannot_hold_is_named_and_nothing_moves(old: Path, pg_dsn: str) -> None:
    event = {"run_id": "r", "event_type": "x", "payload_json": "{}", "created_at": "2026-01-01T00:00:00.000000Z"}
    add(
        old, "workflow_events", [event | {"event_seq": 1}, event | {"event_seq": 2, "payload_json": '{"a": "\\u0000"}'}]
    )

    with pytest.raises(Invalid) as refused:
        mover(old, pg_dsn).move()

    assert "COPY workflow_events, line 2, column payload_json" in refused.value.message
    assert here(old, "SELECT * FROM database_moves") == there(pg_dsn, "SELECT * FROM database_moves") == []
    here(old, "UPDATE workflow_events SET payload_json = '{}'")
    assert mover(old, pg_dsn).move().rows["workflow_events"] == 2


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner)
    ),
    max_leaves=12,
)


def test_json_is_read_as_the_same_value_afterwards(old: Path, pg_dsn: str) -> None:
    texts: list[str] = []

    @given(JSON)
    def collect(value: object) -> None:
        texts.append(orjson.dumps(value).decode())

    collect()
    texts += ['{"a":1,"a":2}', "1.0", "1e2", "-0", '"\\u00e9"', "123456789012345678901234567890", "1" + "0" * 60 + ".5"]
    events = [
        {"run_id": "r", "event_seq": seq, "event_type": "x", "payload_json": text,
         "created_at": f"2026-01-01T00:00:00.{seq:06d}Z"}
        for seq, text in enumerate(texts, 1)
    ]  # fmt: skip
    add(old, "workflow_events", events)

    mover(old, pg_dsn).move()

    found = there(pg_dsn, "SELECT payload_json::text, extract(epoch FROM created_at) * 1000000 FROM workflow_events"
                          " ORDER BY event_seq")  # fmt: skip
    first = 1767225600000000
    assert [int(micros) for _, micros in found] == [first + seq for seq in range(1, len(texts) + 1)]
    unequal = [(ours, other) for ours, (other, _) in zip(texts, found, strict=True) if not same_value(ours, other)]
    assert unequal == []


def same_value(ours: str, other: str) -> bool:
    """Say whether a program that reads both gets the same: floats are compared as floats."""
    return bool(json.loads(ours, parse_int=float) == json.loads(other, parse_int=float))


@given(st.lists(st.none() | st.integers() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_a_line_of_copy_is_read_as_it_was_written(values: list[Any]) -> None:
    row = [value.encode() if isinstance(value, str) else value for value in values] or [b""]

    assert cells(line(row)) == [
        value if value is None or isinstance(value, bytes) else str(value).encode() for value in row
    ]


def test_what_differs_is_seen() -> None:
    [events] = [shape for shape in shapes(metadata) if shape.name == "workflow_events"]
    row: Row = [b"r", 1, b"x", None, b'{"a": 1}', b"2026-01-01T00:00:00.120000Z"]
    same = [b"r", b"1", b"x", None, b'{"a":1.0}', b"2026-01-01 00:00:00.12+00"]

    assert first_difference(events, [row], [line(same)]) == 1
    for place, other in enumerate([b"s", b"2", b"y", b"s", b'{"a": 2}', b"2026-01-01 00:00:00.120001+00"]):
        changed = [*same[:place], other, *same[place + 1 :]]
        found = first_difference(events, [row], [line(changed)])
        assert not isinstance(found, int)
        assert found.column == events.columns[place]
    assert "is there here and missing there" in str(first_difference(events, [row], []))
    assert "is missing here and there there" in str(first_difference(events, [], [line(same)]))
    assert not same_json(b'{"a": 1, "b": 2}', b'{"a": 1}')
    assert not same_time(None, b"2026-01-01 00:00:00+00")


def test_a_table_of_somebody_elses_is_not_left_behind_silently(old: Path, pg_dsn: str) -> None:
    with sqlite3.connect(old) as raw:
        raw.execute("CREATE TABLE mine (a)")
    raw.close()

    plan = mover(old, pg_dsn).plan()

    assert plan.left_behind == ["mine"]
    assert "not carried: mine" in plan.problems[0]
    assert mover(old, pg_dsn, without_foreign=True).plan().problems == []
