"""What an import reads: every format in pieces of any size, and every fault with its line and field."""

import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.cli.exits import ExitCode
from windlass.cli.importing import source as sources
from windlass.cli.importing.items import EXPORTED, Item, Refused
from windlass.cli.importing.readers import read
from windlass.cli.importing.source import BadInput, Source, format_of, open_source
from windlass.contexts.records.export import COLUMNS

Read = list[Item | Refused]
FIRST = {"source": "a", "category": "b", "payload": {"n": 1}}


class Drip(io.BytesIO):
    """Gives a few bytes at a time, as a slow pipe does."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(data)
        self._step = step

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read(self._step)


def read_all(data: bytes, fmt: str, step: int = 1 << 20, **defaults: str) -> Read:
    return list(read(Source(Drip(data, step), "test"), fmt, defaults))


def values(found: Read) -> list[Any]:
    return [json.loads(one.body) if isinstance(one, Item) else one for one in found]


def refusals(found: Read) -> list[str]:
    return [str(one) for one in found if isinstance(one, Refused)]


def test_ndjson_is_passed_on_as_it_is() -> None:
    line = b' {"source": "a", "category":"b", "payload": {"big": 12345678901234567890123, "x": 1.10}} '
    found = read_all(line + b"\r\n\n" + line, "ndjson")

    assert found == [Item(1, line.strip()), Item(3, line.strip())]


@pytest.mark.parametrize(
    "line,complaint",
    [
        (b"{", "line 2: invalid JSON: unexpected end of data (column 2)"),
        (b"[]", "line 2: not a JSON object"),
        (b'{"source": "\xff"}', "line 2: not valid UTF-8"),
        (b'{"a" 1}', "line 2: invalid JSON: unexpected character, expected ':' after key (column 6)"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(line: bytes, complaint: str) -> None:
    good = json.dumps(FIRST).encode()

    found = read_all(b"\n".join([good, line, good]), "ndjson")

    assert [one.line for one in found] == [1, 2, 3]
    assert refusals(found) == [complaint]


def test_a_line_beyond_the_limit_is_refused_without_being_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LINE_LIMIT", 100)
    good = json.dumps(FIRST).encode()

    found = read_all(good + b"\n" + b'{"x": "' + b"y" * 1000 + b'"}\n' + good, "ndjson")

    assert [(one.line, isinstance(one, Item)) for one in found] == [(1, True), (2, False), (3, True)]


@pytest.mark.parametrize(
    "given_fields,expected",
    [
        ({}, {"source": "s", "category": "c"}),
        ({"payload": {}}, {"source": "s", "category": "c", "payload": {}}),
        ({"source": "own"}, {"source": "own", "category": "c"}),
    ],
)
def test_defaults_fill_only_what_is_missing(given_fields: dict[str, Any], expected: dict[str, Any]) -> None:
    found = read_all(json.dumps(given_fields).encode(), "ndjson", source="s", category="c")

    assert values(found) == [expected]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=6),
    st.integers(1, 40),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_an_array_is_cut_into_its_elements(
    elements: list[dict[str, Any]], step: int, indent: int | None, escaped: bool
) -> None:
    data = json.dumps(elements, indent=indent, ensure_ascii=escaped).encode()

    found = read_all(b"\n " + data + b"\n\n", "json", step)

    assert values(found) == elements
    assert all(b"\n" not in one.body for one in found if isinstance(one, Item))


def test_elements_of_an_array_know_their_line() -> None:
    found = read_all(b'\n[\n  {"a":\n 1},\n  3,\n\n  {"b": "]}, \\" \\\\"}\n]', "json", 1)

    assert [one.line for one in found] == [3, 5, 7]
    assert refusals(found) == ["line 5: not a JSON object"]


@pytest.mark.parametrize(
    "data,complaint",
    [
        (b'{"source": "a"}', "line 1: a JSON import is an array of records"),
        (b"", "line 1: a JSON import is an array of records"),
        (b'[{"a": 1},\n {"b": 2}', "line 2: the array is not closed: something is missing"),
        (b'[{"a": "x', "line 1: the array is not closed: something is missing"),
        (b'[{"a": "x\\', "line 1: the array is not closed: something is missing"),
        (b"[{},\n]", "line 2: unexpected ']'"),
        (b"[\n,{}]", "line 2: unexpected ','"),
        (b"[}]", "line 1: unexpected '}'"),
        (b"[]\n{}", "line 2: something follows the end of the array"),
    ],
)
def test_what_is_no_array_ends_the_reading(data: bytes, complaint: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_all(data, "json", 1)

    assert caught.value.message == complaint
    assert caught.value.code is ExitCode.USAGE


def test_an_empty_array_is_no_fault() -> None:
    assert read_all(b" [ \n ] ", "json") == []


def test_csv_takes_the_payload_from_its_column() -> None:
    data = b'\xef\xbb\xbfcategory,payload,source\r\nb,"{""n"": 1,\n ""m"": [2]}",a\r\n\r\nb,,a\r\n'

    found = read_all(data, "csv", 3)

    assert values(found) == [FIRST | {"payload": {"n": 1, "m": [2]}}, FIRST | {"payload": {}}]
    assert [one.line for one in found] == [2, 5]


def test_csv_makes_the_other_columns_the_payload() -> None:
    data = 'source,name,priority\na,"Ünï, ""x""",3\n,,\n'.encode()

    found = read_all(data, "csv", category="b", source="s")

    assert values(found) == [
        {"source": "a", "category": "b", "payload": {"name": 'Ünï, "x"', "priority": "3"}},
        {"source": "s", "category": "b", "payload": {}},
    ]


@pytest.mark.parametrize(
    "row,complaint",
    [
        (b"a,b", "line 2: 2 cells where the header has 3"),
        (b"a,b,{", "line 2: payload: invalid JSON: unexpected end of data (column 2)"),
        (b"a,b,[1]", "line 2: payload: not a JSON object"),
        (b"a,b\xff,{}", "line 2: category: not valid UTF-8"),
    ],
)
def test_a_bad_row_is_refused_by_line_and_field(row: bytes, complaint: str) -> None:
    found = read_all(b"source,category,payload\n" + row + b"\na,b,{}\n", "csv")

    assert refusals(found) == [complaint]
    assert [one.line for one in found] == [2, 3]


@pytest.mark.parametrize(
    "data,complaint",
    [
        (b"source,payload\n", "line 1: column 'category' is missing"),
        (b"category,payload\n", "line 1: column 'source' is missing"),
        (b"source,category\n", "line 1: there is no column for the payload"),
        (b"source,category,payload,x\n", "line 1: column 'x' is beside 'payload'"),
        (b"source,category,x,x\n", "line 1: column 'x' is there twice"),
        (b"source,category,\n", "line 1: a column has no name"),
        (b'source,category,x\na,b,"open\n\n', "line 3: no CSV: unexpected end of data"),
        (b'source,category,x\na,b,"q"z\n', "line 2: no CSV: ',' expected after '\"'"),
    ],
)
def test_what_is_no_csv_ends_the_reading(data: bytes, complaint: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_all(data, "csv")

    assert caught.value.message == complaint


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_an_archive_is_read_by_what_it_begins_with(compress: Callable[[bytes], bytes]) -> None:
    line = json.dumps(FIRST).encode()
    packed = compress(b"\n".join([line] * 5000))
    source = Source(Drip(packed, 7), "x.ndjson.gz")

    found = list(read(source, format_of(source, None), {}))

    assert found == [Item(number, line) for number in range(1, 5001)]
    assert source.consumed == len(packed)


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
@pytest.mark.parametrize("fmt", ["ndjson", "json"])
def test_a_cut_off_archive_is_said_to_be_one(compress: Callable[[bytes], bytes], fmt: str) -> None:
    packed = compress(b"[" + b",\n".join([json.dumps(FIRST | {"x": n}).encode() for n in range(1000)]) + b"]")

    with pytest.raises(BadInput, match="test is a broken or cut off archive"):
        read_all(packed[: len(packed) // 2], fmt)


@pytest.mark.parametrize(
    "name,data,expected",
    [
        ("x.ndjson", b"", "ndjson"),
        ("x.JSONL", b"", "ndjson"),
        ("x.json", b"{}", "json"),
        ("x.tar.csv.gz", b"", "csv"),
        ("x.json.xz", b"", "json"),
        ("stdin", b"\n [1]", "json"),
        ("stdin", b'{"a":1}', "ndjson"),
        ("stdin", b"", "ndjson"),
    ],
)
def test_the_format_is_told_by_the_ending_or_the_first_character(name: str, data: bytes, expected: str) -> None:
    assert format_of(Source(io.BytesIO(data), name), None) == expected


def test_a_format_that_cannot_be_told_must_be_said() -> None:
    source = Source(io.BytesIO(b"source,category,payload\n"), "stdin")

    with pytest.raises(BadInput, match="cannot be told"):
        format_of(source, None)
    assert format_of(source, "csv") == "csv"


def test_a_file_that_is_not_there_is_not_found() -> None:
    with pytest.raises(Exception, match=r"nowhere\.csv cannot be read: No such file") as caught:
        open_source("nowhere.csv")

    assert vars(caught.value)["code"] is ExitCode.NOT_FOUND


def test_what_an_export_writes_can_be_read() -> None:
    assert set(COLUMNS) == EXPORTED
    draft = {"source": "a,b", "category": "c", "payload": {"x": [1.5, "\n"]}}
    record = dict.fromkeys(COLUMNS) | {"id": "i", "status": "processed", "attempts": 1} | draft
    line = json.dumps(record).encode()
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, [*(record | {"payload": json.dumps(draft["payload"])}).values()]])

    found = [read_all(line, "ndjson"), read_all(b"[" + line + b"]", "json"), read_all(text.getvalue().encode(), "csv")]

    assert [values(one) for one in found] == [[draft]] * 3
    assert values(read_all(json.dumps({"id": "i"} | draft).encode(), "ndjson")) == [{"id": "i"} | draft]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_called_so(encoding: str) -> None:
    with pytest.raises(BadInput, match="is no UTF-8 but UTF-16") as caught:
        read_all("source,category,x\na,b,1\n".encode(encoding), "csv")
    assert caught.value.hint == "save it as UTF-8"
