"""The example's converter reads a package index in every form it is kept in, and hides nothing of it."""

import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lz4.frame  # type: ignore[import-untyped]
import pytest

from examples.debian import convert, sampling
from examples.debian.packages import BadIndex, fields, open_index, paragraphs
from tests.support.paths import EXAMPLES, ROOT

SAMPLE = EXAMPLES / "debian" / "sample" / "Packages.xz"
INDEX = """\
Package: hello
Version: 2.10-3
Installed-Size: 277
Maintainer: Santiago Vila <sanvila@debian.org>
Architecture: amd64
Description: example package based on GNU hello
 The GNU hello program produces a familiar, friendly greeting.
Homepage: https://www.gnu.org/software/hello/
Tag: role::program,
 works-with::text
Section: devel
Priority: optional
Size: 52800


Package: ünder
Description: an entry that says little
"""


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, lzma.compress, lz4.frame.compress], ids=["plain", "gz", "xz", "lz4"]
)
def test_every_compression_is_read(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    index = tmp_path / "Packages"
    index.write_bytes(compress(INDEX.encode()))

    with open_index(index) as lines:
        found = list(convert.records(lines, "test"))

    assert found == [
        {
            "source": "test",
            "category": "devel",
            "payload": {
                "package": "hello",
                "version": "2.10-3",
                "architecture": "amd64",
                "maintainer": "Santiago Vila <sanvila@debian.org>",
                "synopsis": "example package based on GNU hello",
                "section": "devel",
                "priority": "optional",
                "homepage": "https://www.gnu.org/software/hello/",
                "installed_size": "277",
                "size": "52800",
            },
        },
        {
            "source": "test",
            "category": "none",
            "payload": {"package": "ünder", "synopsis": "an entry that says little"},
        },
    ]


def test_folded_values_are_kept_together() -> None:
    [paragraph] = paragraphs(iter(["Tag: one,\n", " two\n", "\n", "\n"]))

    assert fields(paragraph) == {"Tag": "one,\ntwo"}


@pytest.mark.parametrize(
    "text",
    [" continues nothing", "no colon", ": no name", "Package: a\nPackage: b", "Origin: Debian\nSuite: stable"],
)
def test_what_is_no_index_is_refused(text: str) -> None:
    with pytest.raises(BadIndex):
        list(convert.records(text.splitlines()))


def test_the_index_is_streamed() -> None:
    def endless() -> object:
        while True:
            yield "Package: a\n"
            yield "\n"

    assert next(convert.records(endless()))["payload"] == {"package": "a"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "damage",
    [b"\x1f\x8b rest", b"\xfd7zXZ\x00 rest", b"\x04\x22\x4d\x18 rest", b"\xff\xfe", gzip.compress(INDEX.encode())[:60]],
    ids=["gz", "xz", "lz4", "text", "gz-cut-off"],
)
def test_a_damaged_file_is_named_and_leaves_no_output(
    damage: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index, output = tmp_path / "Packages", tmp_path / "out.ndjson"
    index.write_bytes(damage)

    assert convert.main([str(index), "--output", str(output)]) == 1

    assert str(index) in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [index]


def test_the_command_writes_one_object_a_line(tmp_path: Path) -> None:
    output = tmp_path / "out.ndjson"
    command = [sys.executable, "-m", "examples.debian.convert", str(SAMPLE)]

    subprocess.run([*command, "--output", output], cwd=ROOT, check=True, capture_output=True)
    piped = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, encoding="utf-8").stdout

    assert piped == output.read_text()
    records = [json.loads(line) for line in piped.splitlines()]
    assert len(records) == 2000
    assert all(record["source"] == "debian" and record["payload"]["package"] for record in records)


def test_a_reader_may_stop_early() -> None:
    command = f"{sys.executable} -m examples.debian.convert {SAMPLE} | head -1"

    done = subprocess.run(["sh", "-c", command], cwd=ROOT, check=True, capture_output=True, text=True)

    assert json.loads(done.stdout)["payload"]["package"] == "0ad"
    assert not done.stderr


def test_a_sample_is_taken_evenly(tmp_path: Path) -> None:
    index, output = tmp_path / "Packages", tmp_path / "sample.xz"
    index.write_text("".join(f"Package: p{number}\nTag: a,\n b\n\n" for number in range(10)))

    assert sampling.main([str(index), "4", str(output)]) == 0

    assert lzma.decompress(output.read_bytes()).decode() == "".join(
        f"Package: p{n}\nTag: a,\n b\n\n" for n in (0, 2, 5, 7)
    )


def test_a_sample_larger_than_the_index_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = tmp_path / "Packages"
    index.write_text("Package: p\n")

    assert sampling.main([str(index), "2", str(tmp_path / "sample.xz")]) == 1
    assert "has 1 entries" in capsys.readouterr().err
