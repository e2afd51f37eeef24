"""A place of its own beside a database, on the same disk or server, that is gone afterwards."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from windlass.kernel.errors import Unavailable
from windlass.storage.migrate import engine_for
from windlass.storage.urls import parse


@contextmanager
def sandbox(address: str) -> Iterator[str]:
    """Yield the address of an empty database like the one at ``address``: a file in its folder, or a schema in it.

    Raises:
        Unavailable: the database cannot be reached, or allows no new schema.
    """
    url = parse(address)
    if url.path is not None:
        folder = url.path.absolute().parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".windlass-sandbox-", dir=folder) as inner:
            yield f"sqlite:///{inner}/sandbox.db"
        return
    schema = f"windlass_sandbox_{secrets.token_hex(4)}"
    engine = engine_for(url)
    try:
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema(schema))
        inside = url.sqlalchemy.update_query_dict({"options": f"-csearch_path={schema}"})
        try:
            yield inside.render_as_string(hide_password=False)
        finally:
            with engine.begin() as connection:
                connection.execute(sa.schema.DropSchema(schema, cascade=True))
    except sa.exc.DBAPIError as error:
        raise Unavailable(f"the database {url} cannot be reached, or allows no new schema: {error.orig}") from error
    finally:
        engine.dispose()
