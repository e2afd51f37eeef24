"""PgBouncer in transaction mode between Windlass and PostgreSQL."""

from pathlib import Path

from tests.faults.promotion import live_through
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import CARELESS
from tests.support.standby import pair
from tests.system.conftest import program


async def test_a_standby_is_promoted_behind_a_pooler(tmp_path: Path) -> None:
    with pair(CARELESS) as servers, pgbouncer(program("pgbouncer"), servers.primary.dsn) as pooler:
        await live_through(
            servers,
            pooler.url,
            tmp_path,
            lambda: pooler.lead_to(servers.standby.dsn),
            direct=servers.url,
        )
