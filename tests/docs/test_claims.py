"""Numbers that the documents name are the numbers of the code."""

import pytest

from tests.support.paths import DOCS
from windlass.engine.run import LINGER
from windlass.engine.transact import TRANSACT
from windlass.engine.types import POISON_DEATHS
from windlass.engine.worker import LONG_STEP, POLL_SECONDS
from windlass.kernel.clock import SECOND
from windlass.storage.committer import PATIENCE_SECONDS
from windlass.storage.postgres.servers import CONNECT_SECONDS
from windlass.storage.postgres.wire import REPLY_SECONDS


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
        ("howto/failover.md", "waited for three seconds", CONNECT_SECONDS == 3),
        ("decisions/0001-the-event-loop-writes.md", "more than 20 ms on average", PATIENCE_SECONDS == 0.02),
    ],
)
def test_a_number_is_that_of_the_code(page: str, words: str, holds: bool) -> None:
    assert words in " ".join((DOCS / page).read_text().split())
    assert holds
