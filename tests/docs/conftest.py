"""What documents need beside a shell: a PostgreSQL when one asks for it."""

from collections.abc import Callable

import pytest


@pytest.fixture
def new_postgres(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Give the address of an empty PostgreSQL database; the server starts only when it is called."""

    def make() -> str:
        dsn: str = request.getfixturevalue("pg_dsn")
        return dsn

    return make
