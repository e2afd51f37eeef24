"""Portions of an import: the same input makes the same ones, so that a repetition is recognised."""

from collections.abc import Iterator

import pytest

from windlass.cli.importing.batches import Batch, batches
from windlass.cli.importing.items import Item, Refused
from windlass.cli.importing.source import BadInput


def items(count: int, first: int = 1) -> list[Item | Refused]:
    return [Item(line, b'{"n":%d}' % line) for line in range(first, first + count)]


def keys(found: list[Batch], name: str = "") -> list[str]:
    return [batch.key(name) for batch in found]


def test_records_are_gathered_by_number_and_by_size() -> None:
    assert [batch.lines for batch in batches(items(5), records=2)] == [[1, 2], [3, 4], [5]]
    assert [batch.lines for batch in batches(items(5), size=14)] == [[1, 2], [3, 4], [5]]
    assert next(batches(items(2))).body == b'{"n":1}\n{"n":2}\n'


def test_the_same_records_have_the_same_key_only_where_they_stood() -> None:
    first = keys(list(batches(items(6), records=2)))

    assert keys(list(batches(items(6), records=2))) == first
    assert len(set(first)) == 3
    assert keys(list(batches([Item(9, b'{"n":1}'), Item(10, b'{"n":2}')], records=2))) != first[:1]
    assert keys(list(batches(items(6), records=2)), name="again") != first


def test_refused_lines_travel_with_their_neighbours() -> None:
    found = list(batches([*items(1), Refused(2, None, "bad"), *items(2, first=3)], records=2))

    assert [(batch.lines, [one.line for one in batch.refused]) for batch in found] == [([1, 3], [2]), ([4], [])]


def test_lines_that_are_all_refused_do_not_pile_up() -> None:
    found = list(batches((Refused(line, None, "bad") for line in range(1, 6)), records=2))

    assert [len(batch.refused) for batch in found] == [2, 2, 1]


def test_a_large_record_travels_alone() -> None:
    large = Item(3, b'{"n":"%s"}' % (b"x" * 600_000))

    assert [batch.lines for batch in batches([*items(2), large, *items(1, first=4)])] == [[1, 2], [3], [4]]


def test_what_was_gathered_before_a_fault_is_not_sent() -> None:
    def broken() -> Iterator[Item | Refused]:
        yield from items(3)
        raise BadInput(4, "cut off")

    found = batches(broken(), records=2)

    assert next(found).lines == [1, 2]
    with pytest.raises(BadInput):
        next(found)
