"""Numbers and names that the documents give are those of the code."""

import re

import pytest

from tests.support.paths import DOCS
from windlass.engine.run import LINGER
from windlass.engine.transact import TRANSACT
from windlass.engine.types import POISON_DEATHS
from windlass.engine.worker import LONG_STEP, POLL_SECONDS
from windlass.http.logs import open_log
from windlass.http.metrics import Meter
from windlass.http.tracing import Tracer
from windlass.kernel.clock import SECOND
from windlass.settings import Settings, load
from windlass.storage.committer import PATIENCE_SECONDS
from windlass.storage.postgres.servers import CONNECT_SECONDS
from windlass.storage.postgres.wire import REPLY_SECONDS

SETTINGS = Settings.model_fields


@pytest.mark.parametrize(
    "page,words,holds",
    [
        ("concepts/ownership.md", "five times without a single event", POISON_DEATHS == 5),
        ("decisions/0004-deaths-without-progress.md", "after five deaths", POISON_DEATHS == 5),
        ("runbook.md", "killed its process five times", POISON_DEATHS == 5),
        ("concepts/waiting.md", "half a second first", LINGER == 0.5),
        ("concepts/waiting.md", "once a second", POLL_SECONDS == 1),
        ("howto/several-processes.md", "once a second", POLL_SECONDS == 1),
        ("concepts/journal.md", "longer than a second", LONG_STEP == SECOND),
        ("concepts/effects.md", "else five seconds", TRANSACT.seconds == 5),
        ("howto/failover.md", "given up after half a minute", REPLY_SECONDS == 30),
        ("growing.md", "above 5,000, half of `COMMIT_QUEUE_LIMIT`", SETTINGS["commit_queue_limit"].default == 10_000),
        ("howto/failover.md", "waited for three seconds", CONNECT_SECONDS == 3),
        ("decisions/0001-the-event-loop-writes.md", "more than 20 ms on average", PATIENCE_SECONDS == 0.02),
    ],
)
def test_a_number_is_that_of_the_code(page: str, words: str, holds: bool) -> None:
    assert words in " ".join((DOCS / page).read_text().split())
    assert holds


def test_the_metrics_that_growing_names_are_there() -> None:
    meter = Meter(Tracer(open_log(load(log_level="ERROR"))), "1")
    meter.request("GET", "/healthz", 200, 0.1)
    meter.run_finished("shop", "run", "succeeded", "default", 1.0)
    there = meter.text({"runs_waiting": {"backlog": 1}}, None, database=True).decode()
    named = set(re.findall(r"windlass_[a-z_]+", (DOCS / "growing.md").read_text()))

    assert named
    assert {name for name in named if name not in there} == set()
