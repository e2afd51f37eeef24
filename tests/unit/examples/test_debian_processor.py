"""The example's processor takes good entries, and says of a bad one which rule it breaks."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator

import orjson
import pytest

from examples.debian import convert
from examples.debian.packages import open_index
from tests.support.paths import EXAMPLES
from windlass.contexts.records import processors
from windlass.contexts.records.api import Outcome, Processors, Rejected, load_processors

Process = Callable[[dict[str, str]], Outcome]

GOOD = {
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
}


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[Processors]:
    """The processors of a process that began with `--app examples.debian.app`; other tests do not see them."""
    monkeypatch.setattr(processors, "declared", Processors())
    monkeypatch.delitem(sys.modules, "examples.debian.app", raising=False)
    yield load_processors(("examples.debian.app",))
    sys.modules.pop("examples.debian.app", None)


@pytest.fixture
def process(registered: Processors) -> Process:
    """Process a payload as a record's run does."""
    found = registered.find("devel")

    def work(payload: dict[str, str]) -> Outcome:
        outcome = found.work(*found.arguments(orjson.dumps(payload).decode(), "devel"))
        assert isinstance(outcome, Outcome)
        return outcome

    return work


def test_it_is_the_processor_of_every_category(registered: Processors) -> None:
    assert registered.find("devel").work is registered.find("anything").work
    assert registered.find("devel").work.__module__ == "examples.debian.app"


def test_a_good_entry_is_classified_by_its_section(process: Process) -> None:
    outcome = process(GOOD)

    assert outcome == Outcome(
        "development",
        3,
        {
            "classification": "development",
            "score": 3,
            "rules": "debian-1",
            "area": "development",
            "priority": "optional",
            "installed_kib": 277,
            "secure_homepage": True,
        },
    )


@pytest.mark.parametrize(
    "change,classification,score",
    [
        ({"priority": "required"}, "base", 11),
        ({"priority": "important", "homepage": ""}, "base", 7),
        ({"priority": "standard", "homepage": "http://example.org"}, "base", 5),
        ({"section": "contrib/net", "homepage": ""}, "server", 2),
        ({"section": "rust"}, "language", 3),
        ({"version": "1:2.0~rc1+dfsg-1+b2"}, "development", 3),
        ({"essential": "yes", "priority": "required"}, "base", 11),
        ({"section": "oldlibs", "synopsis": "transitional package for hello"}, "library", 3),
    ],
)
def test_section_and_priority_decide(
    process: Process, change: dict[str, str], classification: str, score: float
) -> None:
    outcome = process(GOOD | change)

    assert (outcome.classification, outcome.score) == (classification, score)


@pytest.mark.parametrize(
    "change,reason",
    [
        ({"package": "Hello"}, "invalid package name"),
        ({"version": "v2"}, "invalid version"),
        ({"maintainer": "A <a@example.org>, B <b@example.org>"}, "maintainer is not one name and address"),
        ({"maintainer": "Santiago Vila"}, "maintainer is not one name and address"),
        ({"section": "greetings"}, "unknown section"),
        ({"priority": "extra"}, "priority extra is deprecated"),
        ({"priority": "high"}, "unknown priority"),
        ({"essential": "yes"}, "essential but not required"),
        ({"synopsis": "x" * 80}, "synopsis has 80 characters or more"),
        ({"synopsis": "says hello."}, "synopsis ends with a full stop"),
        ({"synopsis": "The hello program"}, "synopsis begins with an article"),
        ({"synopsis": "a hello program"}, "synopsis begins with an article"),
        ({"homepage": "ftp://ftp.gnu.org/hello"}, "homepage is no web address"),
        ({"synopsis": "transitional package for hello"}, "transitional package outside of oldlibs"),
        (
            {"size": "-1"},
            "classification failed: invalid payload format: size: Input should be greater than or equal to 0",
        ),
    ],
)
def test_a_bad_entry_fails_with_its_reason(process: Process, change: dict[str, str], reason: str) -> None:
    with pytest.raises(Rejected) as raised:
        process(GOOD | change)

    assert str(raised.value) == reason


@pytest.mark.parametrize("field", [name for name in GOOD if name != "homepage"])
def test_a_missing_field_is_named(process: Process, field: str) -> None:
    entry = {name: value for name, value in GOOD.items() if name != field}

    with pytest.raises(Rejected, match=f"invalid payload format: {field}: Field required"):
        process(entry)


def test_some_real_entries_fail_honestly(process: Process) -> None:
    reasons: Counter[str] = Counter()
    with open_index(EXAMPLES / "debian" / "sample" / "Packages.xz") as lines:
        for record in convert.records(lines):
            try:
                process(record["payload"])  # type: ignore[arg-type]
                reasons["none"] += 1
            except Rejected as error:
                reasons[str(error)] += 1

    assert reasons == {
        "none": 1951,
        "synopsis has 80 characters or more": 13,
        "synopsis ends with a full stop": 11,
        "transitional package outside of oldlibs": 10,
        "synopsis begins with an article": 6,
        "classification failed: invalid payload format: installed_size: Field required": 4,
        "priority extra is deprecated": 4,
        "homepage is no web address": 1,
    }
