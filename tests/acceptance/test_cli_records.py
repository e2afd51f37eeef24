"""The commands of records, as a user runs them: against a server, and on the database itself."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Windlass
from tests.support.service import running_service

GOOD = {"source": "crm", "category": "person", "payload": {"priority": 9}}
MIXED = [
    json.dumps(GOOD),
    "nonsense",
    json.dumps({"source": "", "category": "person", "payload": {}}),
    json.dumps({"source": "crm", "category": "person", "payload": {"priority": "x"}}),
    json.dumps({"source": "crm", "payload": {}}),
]
REFUSED = [
    "line 2: invalid JSON",
    "line 3: source: String should have at least 1 character",
    "line 5: category: Field required",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windlass]:
    """The command, asking a running server that wants a key."""
    folder = tmp_path_factory.mktemp("server")
    with running_service(folder, environment={"API_KEY": "s3cret-key"}) as service:
        yield Windlass(folder, {"API_KEY": "s3cret-key"}, ("--url", service.url))


@pytest.fixture(params=["server", "database"])
def windlass(request: pytest.FixtureRequest, tmp_path: Path) -> Windlass:
    """The command, asking a server, or working on a database of its own."""
    if request.param == "server":
        found: Windlass = request.getfixturevalue("server")
        return found
    if request.param == "postgres":
        return Windlass(tmp_path, {"DATABASE_URL": request.getfixturevalue("migrated_pg_dsn")})
    return Windlass(tmp_path, {})


def category(windlass: Windlass, request: pytest.FixtureRequest) -> str:
    """A category of this test alone."""
    return f"c{abs(hash(request.node.name))}"


def test_records_go_in_and_come_out(windlass: Windlass, request: pytest.FixtureRequest) -> None:
    name = category(windlass, request)
    text = "\n".join(MIXED).replace("person", name)
    (windlass.folder / "in.ndjson").write_text(text)

    first = windlass("records", "import", "in.ndjson", "--json", code=1)
    again = windlass("records", "import", "in.ndjson", "--json", "--rejects", "rejects.ndjson", code=1)

    assert first.json | {"seconds": 0} == {"accepted": 2, "already_there": 0, "refused": 3, "seconds": 0}
    assert again.json | {"seconds": 0} == {"accepted": 2, "already_there": 2, "refused": 3, "seconds": 0}
    assert [
        line for line, start in zip(first.err.splitlines(), REFUSED, strict=True) if not line.startswith(start)
    ] == []
    rejected = [json.loads(line) for line in (windlass.folder / "rejects.ndjson").read_text().splitlines()]
    assert [(row["line"], row["field"]) for row in rejected] == [(2, None), (3, "source"), (5, "category")]
    assert again.err == ""

    lines = windlass("records", "export", "--category", name).out.splitlines()
    assert [json.loads(line)["payload"] for line in lines] == [{"priority": 9}, {"priority": "x"}]
    (windlass.folder / "out.csv").unlink(missing_ok=True)
    windlass("records", "export", "--category", name, "--output", "out.csv")
    rows = list(csv.DictReader(io.StringIO((windlass.folder / "out.csv").read_text())))
    assert [(row["category"], row["status"], row["payload"]) for row in rows] == [
        (name, "pending", '{"priority":9}'),
        (name, "pending", '{"priority":"x"}'),
    ]
    assert not (windlass.folder / "out.csv.part").exists()
    copied = windlass("records", "import", "out.csv", "--name", "copy", "--json").json
    assert (copied["accepted"], copied["refused"]) == (2, 0)

    summary = windlass("records", "summary", "--category", name, "--json").json
    assert summary["totals"] == {"all": 4, "pending": 4, "processed": 0, "failed": 0}


@pytest.mark.parametrize("windlass", ["server", "database", "postgres"], indirect=True)
def test_csv_comes_through_a_pipe_and_is_packed(windlass: Windlass, request: pytest.FixtureRequest) -> None:
    name = category(windlass, request)
    text = b"name,priority\nann,7\nbob,\n"

    done = windlass(
        "records", "import", "-", "--format", "csv", "--source", "s", "--category", name, "--json",
        stdin=gzip.compress(text),
    )  # fmt: skip

    assert (done.json["accepted"], done.json["refused"]) == (2, 0)
    lines = windlass("records", "export", "--category", name, "--source", "s").out.splitlines()
    assert [json.loads(line)["payload"] for line in lines] == [{"name": "ann", "priority": "7"}, {"name": "bob"}]


def test_unreadable_input_ends_the_import_and_stores_nothing(tmp_path: Path) -> None:
    packed = gzip.compress(b"\n".join([json.dumps(GOOD).encode()] * 999))[:-9]

    done = Windlass(tmp_path, {})("records", "import", "-", stdin=packed, code=2)

    assert done.out == ""
    assert "stdin is a broken or cut off archive" in done.err
    assert len(done.err.splitlines()) == 1


def test_records_are_processed_once_they_are_in(server: Windlass, request: pytest.FixtureRequest) -> None:
    name = category(server, request)
    body = "\n".join(
        json.dumps(GOOD | {"category": name, "payload": payload}) for payload in ({"priority": 9}, {"priority": "x"})
    )

    done = server("records", "import", "-", "--process", "--json", stdin=body.encode())

    assert done.json["accepted"] == 2
    assert done.json["processed"]["counts"]["failed"] >= 1
    records = [json.loads(line) for line in server("records", "export", "--category", name).out.splitlines()]
    assert [(record["status"], record["classification"], record["error"]) for record in records] == [
        ("processed", "medium", None),
        ("failed", None, "invalid priority"),
    ]

    rows = server("records", "summary", "--category", name, "--csv").out.splitlines()
    assert {f"by_category,{name},count,2", "failure_reasons,invalid priority,count,1"} <= set(rows)
    table = server("records", "summary", "--category", name).out.splitlines()
    assert table[1].split() == ["all", "2", "████████████████████████"]

    again = server("records", "retry", "--category", name, "--json").json
    assert (again["matched"], again["counts"]) == (1, {"processed": 0, "failed": 1, "skipped": 0})
    named = server("records", "retry", records[1]["id"], "--json").json
    assert (named[0]["status"], named[0]["attempts"]) == ("failed", 3)

    refused = server("records", "process", records[0]["id"], "no-such-record", code=4)
    assert refused.err.splitlines() == [
        f"{records[0]['id']}: record is not pending",
        "no-such-record: record not found",
    ]


def test_a_run_can_be_left_to_itself(server: Windlass) -> None:
    started = server("records", "process", "--category", "nobody", "--no-wait", "--json").json

    assert started["matched"] == 0
    assert json.loads(server("runs", "wait", started["run_id"]).out) == {"processed": 0, "failed": 0, "skipped": 0}


@pytest.mark.parametrize(
    "arguments,code,complaint",
    [
        (("records", "summary", "--from", "yesterday"), 2, "windlass: invalid date: yesterday"),
        (("records", "process", "x", "--category", "y"), 2, "windlass: name records or filter them, not both"),
        (
            ("records", "export", "--output", "no/such/folder/x.csv"),
            2,
            "windlass: No such file or directory: no/such/folder/x.csv\n",
        ),
        (("records", "import", "nowhere.csv"), 3, "windlass: nowhere.csv cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    server: Windlass, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    done = server(*arguments, code=code)

    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith(complaint)


def test_a_wrong_choice_is_said_in_our_words(tmp_path: Path) -> None:
    done = Windlass(tmp_path, {})("records", "export", "--status", "bad", code=2)

    assert "Error: Invalid value for '--status': 'bad' is not one of 'pending', 'processed', 'failed'." in done.err


def test_a_wrong_key_and_an_absent_server_are_told_apart(server: Windlass, tmp_path: Path) -> None:
    keyless = Windlass(tmp_path, {"API_KEY": ""}, server.options)
    alone = Windlass(tmp_path, {}, ("--url", "http://127.0.0.1:9"))

    refused = keyless("records", "process", code=2)
    away = alone("records", "process", code=5)

    assert refused.err == "windlass: API key required (give the server's key with --api-key or in API_KEY)\n"
    assert "start a server with `windlass up`, or leave --url out" in away.err
    assert keyless("records", "process", "--category", "x", "--api-key", "s3cret-key", "--json").json["matched"] == 0


def test_the_traceback_is_shown_only_when_asked_for(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {"PORT": "abc"})

    short = windlass("runs", "list", code=2)
    long = windlass("runs", "list", "--debug", code=1)

    assert short.err.startswith("windlass: PORT: Input should be a valid integer")
    assert len(short.err.splitlines()) == 1
    assert "Traceback" in long.err


def test_a_reader_that_has_had_enough_ends_an_export_quietly(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {})
    line = b'{"source":"s","category":"c","payload":{"n":%d,"x":"%s"}}\n'
    windlass("records", "import", "-", stdin=b"".join(line % (n, b"y" * 500) for n in range(2000)))

    piped = windlass.pipe("records export", "head -n 1")

    assert json.loads(piped.out)["payload"]["n"] == 0
    assert (piped.code, piped.err) == (0, "")
