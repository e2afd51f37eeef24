"""Reading the counts of records: whatever a report asks, in one statement, and so all of it from the same moment.

The deltas that wait are summed up once for all questions and added to the rollups, so the answer is exact. Of what is
asked by period a summary reads the latest only: rollups lie in the order of their periods and are read from the end.
A period that a waiting delta speaks of is added up whole; in any other the rollups alone are right, and as it has a row
for each status at most, so many rows that hold anything are enough to fill the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.contexts.records.model import Status
from windlass.contexts.records.rollups import COUNT, DAY, DURATION, ENDED, HOUR, KINDS, REASON, SOURCE, truth
from windlass.contexts.records.rows import is_postgres

NEVER = "~"
"""Later than any period: a span from here holds nothing."""


class Question(NamedTuple):
    """What is counted, by the column ``by`` (or all together), and how much of the answer is wanted.

    ``most`` is a number of periods, the latest ones, or of values, the most frequent ones; None is all of them.
    """

    kind: str
    by: str | None = None
    most: int | None = None


class Group(NamedTuple):
    """The records that have one category, source, period … in common, by status."""

    name: str
    pending: int
    processed: int
    failed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.pending + self.processed + self.failed


class Span(NamedTuple):
    """Which records are counted. None is open; the rest are texts as the counts hold them, both ends included.

    Days are those of creation and whole, what lies beside them is in ``edges``: moments, looked at record by record.
    Hours are those of processing, for the questions on it. ``value`` is what the counts of a kind have as theirs.
    """

    status: str | None = None
    category: str | None = None
    value: str | None = None
    first_day: str | None = None
    last_day: str | None = None
    first_hour: str | None = None
    last_hour: str | None = None
    edges: tuple[tuple[str, str], ...] = ()


CATEGORIES = Question(COUNT, "category")
SOURCES = Question(SOURCE, "value")
REASONS = Question(REASON, "value")
DURATIONS = Question(DURATION, "value")
DAYS = Question(COUNT, "period")
HOURS = Question(ENDED, "period")
ALL, ALL_OF_SOURCE = Question(COUNT), Question(SOURCE)


def answer(connection: sa.Connection, span: Span, questions: Sequence[Question]) -> list[list[Group]]:
    """Return the groups of each question that hold any records, in no order."""
    given: dict[str, str] = {name: value for name, value in span._asdict().items() if isinstance(value, str)}
    for number, (start, end) in enumerate(span.edges):
        given |= {f"start{number}": start, f"end{number}": end}
    asked = _statement(is_postgres(connection), tuple(questions), frozenset(given), len(span.edges))
    given |= {name: given[name] + NEVER for name in ("last_day", "last_hour") if name in given}
    answers: list[list[Group]] = [[] for _ in questions]
    for number, *group in _rows(connection, asked, given):
        answers[number].append(Group(*group))
    return answers


def _rows(connection: sa.Connection, asked: sa.TextClause, given: Mapping[str, str]) -> Sequence[Sequence[Any]]:
    if is_postgres(connection):
        return connection.execute(asked, given).all()
    rows: list[Sequence[Any]] = orjson.loads(connection.execute(asked, given).scalar_one())
    return rows


@lru_cache(maxsize=256)
def _statement(postgres: bool, questions: tuple[Question, ...], given: frozenset[str], edges: int) -> sa.TextClause:
    """Return the statement for some questions, under the conditions whose names are given."""
    which = "".join(f" AND {name} = :{name}" for name in ("status", "category") if name in given)
    sources = {"unfolded": f"record_deltas WHERE true{which}"}
    if edges:
        each = (truth(postgres, f"created_at BETWEEN :start{n} AND :end{n}{which}") for n in range(edges))
        sources["looked_at"] = f"({' UNION ALL '.join(f'SELECT * FROM {one}' for one in each)}) l WHERE true"  # noqa: S608
    columns = "day, status, category, source, reason, duration, ended"
    summed = ", ".join(
        f"{name} AS MATERIALIZED (SELECT {columns}, CAST(sum(amount) AS BIGINT) AS amount"  # noqa: S608
        f" FROM {source} GROUP BY {columns})"
        for name, source in sources.items()
    )
    every = " UNION ALL ".join(
        f"SELECT {number} AS question, a.* FROM ({_answer(question, given, edges > 0)}) a"  # noqa: S608
        for number, question in enumerate(questions)
    )
    if not postgres:
        packed = "json_group_array(json_array(question, name, pending, processed, failed))"
        every = f"SELECT {packed} FROM ({every}) e"  # noqa: S608
    return sa.text(f"WITH {summed} {every}")


def _answer(question: Question, given: frozenset[str], edges: bool) -> str:
    """Return the groups of one question, as name and a number for each status."""
    kind, by, most = question
    if by == "period" and "category" not in given:
        kind = {COUNT: DAY, ENDED: HOUR}[kind]
    period, value, counted = KINDS[kind]
    bounds = {"first_hour": ">=", "last_hour": "<"} if period == "ended" else {"first_day": ">=", "last_day": "<"}
    within = "".join(f" AND period {sign} :{name}" for name, sign in bounds.items() if name in given)
    same = "".join(f" AND {name} = :{name}" for name in ("status", "category", "value") if name in given)
    dated = by == "period" or within != ""
    shaped = f"(SELECT {period} AS period, {value} AS value, status, category, amount FROM {{0}} WHERE {counted}) {{0}}"  # noqa: S608

    rollups = f"record_rollups WHERE kind = '{kind}'{same}"
    chosen = f"{rollups} AND period {'>' if dated else '='} ''{within}"
    unfolded = f"{shaped.format('unfolded')} WHERE true{within}{same}"
    looked_at = [f"{shaped.format('looked_at')} WHERE true{same}"] if edges and period != "ended" else []
    if most is not None and by == "period":
        spoken_of = f"SELECT period FROM {unfolded}"  # noqa: S608
        latest = (
            f"{chosen} AND amount <> 0 AND period NOT IN ({spoken_of}) ORDER BY period DESC LIMIT {len(Status) * most}"
        )
        whole = f"{rollups} AND period IN ({spoken_of})"
        found = _grouped(by, f"(SELECT period, status, amount FROM {latest}) l", whole, unfolded, *looked_at)  # noqa: S608
        return f"{found} ORDER BY name DESC LIMIT {most}"
    found = _grouped(by, chosen, unfolded, *looked_at)
    return found if most is None else f"{found} ORDER BY sum(amount) DESC, name LIMIT {most}"


def _grouped(by: str | None, *sources: str) -> str:
    parts = (f"SELECT {by or chr(39) * 2} AS name, status, amount FROM {source}" for source in sources)  # noqa: S608
    every = " UNION ALL ".join(parts)
    return f"SELECT name, {_SUMS} FROM ({every}) p GROUP BY name HAVING sum(amount) <> 0"  # noqa: S608


_SUMS = ", ".join(
    f"CAST(sum(CASE status WHEN '{status}' THEN amount ELSE 0 END) AS BIGINT) AS {status}" for status in Status
)
