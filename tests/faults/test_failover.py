"""A synchronous standby promoted under load."""

from pathlib import Path

from tests.faults.promotion import live_through
from tests.support.postgres import CARELESS
from tests.support.standby import pair


async def test_a_promoted_standby_has_all_that_was_acknowledged_and_everybody_goes_on(tmp_path: Path) -> None:
    """Nobody is restarted; the old primary, named first, comes back as one and nobody follows it."""
    with pair(CARELESS) as servers:
        await live_through(servers, servers.url, tmp_path, lambda: None)
