"""Asking for definitions: over HTTP, or in this process on the database itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from windlass.cli.client.protocol import Row
from windlass.cli.exits import bad_input

if TYPE_CHECKING:
    from windlass.bootstrap import Application
    from windlass.cli.client.http import HttpClient
    from windlass.engine.types import RunView
    from windlass.kernel.actors import Actor

PATH = "/api/v1/workflows"


class DefinitionsClient(Protocol):
    """Who keeps definitions; rows are as the API answers them."""

    name: str
    """How messages call it."""

    async def listed(self, **wanted: str) -> list[Row]:
        """Return versions, by name and the newest first; ``wanted`` are the API's filters."""
        ...

    async def get(self, workflow_id: int) -> Row:
        """Return a version with its ``definition``."""
        ...

    async def create(self, document: Row) -> Row:
        """Save a definition."""
        ...

    async def add_version(self, workflow_id: int, document: Row) -> Row:
        """Save another version."""
        ...

    async def change(self, workflow_id: int, action: str) -> Row:
        """``delete``, ``activate`` or ``rollback`` a version."""
        ...

    async def diff(self, workflow_id: int, old: int, new: int) -> Row:
        """Compare two versions."""
        ...

    async def start(self, workflow_id: int | None, document: Row | None, order: Row, key: str | None) -> Row:
        """Start a run of a saved version, or of ``document``; ``order`` is the API's body, ``key`` makes it once."""
        ...

    async def fork(self, run_id: str, order: Row, key: str | None) -> Row:
        """Fork a run, or say what would be done again; as ``start``."""
        ...


class HttpDefinitions:
    """See ``DefinitionsClient``."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self.name = client.name

    async def listed(self, **wanted: str) -> list[Row]:
        """Return versions."""
        found: list[Row] = await self._client.ask("GET", PATH, list, params=wanted)
        return found

    async def get(self, workflow_id: int) -> Row:
        """Return a version."""
        return await self._row("GET", f"/{workflow_id}")

    async def create(self, document: Row) -> Row:
        """Save a definition."""
        return await self._row("POST", "", document)

    async def add_version(self, workflow_id: int, document: Row) -> Row:
        """Save another version."""
        return await self._row("POST", f"/{workflow_id}/versions", document)

    async def change(self, workflow_id: int, action: str) -> Row:
        """Change a version."""
        if action == "delete":
            return await self._row("DELETE", f"/{workflow_id}")
        return await self._row("POST", f"/{workflow_id}/{action}")

    async def diff(self, workflow_id: int, old: int, new: int) -> Row:
        """Compare two versions."""
        found: Row = await self._client.ask("GET", f"{PATH}/{workflow_id}/diff", dict, params={"from": old, "to": new})
        return found

    async def start(self, workflow_id: int | None, document: Row | None, order: Row, key: str | None) -> Row:
        """Start a run."""
        if workflow_id is not None:
            return await self._row("POST", f"/{workflow_id}/run", order, key)
        return await self._row("POST", "/run", {**order, "definition": document}, key)

    async def fork(self, run_id: str, order: Row, key: str | None) -> Row:
        """Fork a run."""
        from windlass.cli.client.http import segment

        return await self._row("POST", f"/runs/{segment(run_id)}/fork", order, key)

    async def _row(self, method: str, path: str, document: Row | None = None, key: str | None = None) -> Row:
        kwargs: dict[str, Any] = {} if document is None else {"json": document}
        if key is not None:
            kwargs["headers"] = {"Idempotency-Key": key}
        found: Row = await self._client.ask(method, f"{PATH}{path}", dict, **kwargs)
        return found


class DirectDefinitions:
    """See ``DefinitionsClient``."""

    def __init__(self, application: Application, actor: Actor) -> None:
        self._definitions = application.definitions
        self._runs = application.workflows.runs
        self._seals = application.settings.workflows_secrets_key is not None
        self._actor = actor
        self.name = str(application.settings.database)

    async def listed(self, **wanted: str) -> list[Row]:
        """Return versions."""
        from windlass.contexts.workflows.api import ListQuery

        query = ListQuery(
            self._actor.tenant_id,
            self._actor.user_id,
            wanted.get("q"),
            wanted.get("tag"),
            wanted.get("name"),
            current=wanted.get("current") == "true",
            deleted=wanted.get("deleted") == "true",
        )
        return [row.shown() async for page in self._definitions.every(query) for row in page]

    async def get(self, workflow_id: int) -> Row:
        """Return a version."""
        found = await self._definitions.get(self._actor, workflow_id)
        row = found.row
        times = {"owner_id": row.owner_id, "created_at": row.created_at, "updated_at": row.updated_at}
        return {**row.shown(), **times, "definition": found.document}

    async def create(self, document: Row) -> Row:
        """Save a definition."""
        return (await self._definitions.create(self._actor, document)).shown()

    async def add_version(self, workflow_id: int, document: Row) -> Row:
        """Save another version."""
        return (await self._definitions.add_version(self._actor, workflow_id, document)).shown()

    async def change(self, workflow_id: int, action: str) -> Row:
        """Change a version."""
        if action == "delete":
            await self._definitions.delete(self._actor, workflow_id)
            return {"ok": True}
        act = self._definitions.activate if action == "activate" else self._definitions.rollback
        return (await act(self._actor, workflow_id)).shown()

    async def diff(self, workflow_id: int, old: int, new: int) -> Row:
        """Compare two versions."""
        return await self._definitions.diff(self._actor, workflow_id, old, new)

    async def start(self, workflow_id: int | None, document: Row | None, order: Row, key: str | None) -> Row:
        """Start a run."""
        from windlass.contexts.workflows.api import Order

        wanted = Order(order["inputs"], key, secrets=self._secrets(order))
        if workflow_id is not None:
            return _run(await self._runs.start_saved(self._actor, workflow_id, wanted))
        return _run(await self._runs.start_adhoc(self._actor, document, wanted))

    async def fork(self, run_id: str, order: Row, key: str | None) -> Row:
        """Fork a run."""
        from windlass.contexts.workflows.api import Fork

        if order.get("dry_run"):
            again = await self._runs.steps_again(self._actor, run_id, order["from_step"])
            return {"dry_run": True, "reexecutes": again}
        wanted = Fork(order["from_step"], order.get("inputs"), self._secrets(order), key)
        return _run((await self._runs.fork(self._actor, run_id, wanted))[0])

    def _secrets(self, order: Row) -> dict[str, str]:
        """Return the secrets of a run, which are to outlive this process.

        Raises:
            CommandError: they would not.
        """
        found: dict[str, str] = order.get("secrets") or {}
        if found and not self._seals:
            message = "without WORKFLOWS_SECRETS_KEY a secret would end with this command"
            bad_input(message, "set it, here and where runs are carried out, or start the run on a server with --url")
        return found


def _run(run: RunView) -> Row:
    names = ("run_id", "workflow_id", "status", "created_at")
    return {name: getattr(run, name) for name in names}


@asynccontextmanager
async def open_definitions(
    url: str | None, api_key: str | None, *, creates: bool = False
) -> AsyncIterator[DefinitionsClient]:
    """Open a client.

    Args:
        url: the server's address, or None for the database of DATABASE_URL.
        api_key: the server's key.
        creates: whether a SQLite file that is not there is made.
    """
    if url is not None:
        from windlass.cli.client.http import open_http

        async with open_http(url, api_key) as client:
            yield HttpDefinitions(client)
        return
    from windlass import settings
    from windlass.bootstrap import visit_application

    found = settings.load()
    if not creates and found.auto_migrate is None:
        found = found.model_copy(update={"auto_migrate": False})
    async with visit_application(found) as application:
        yield DirectDefinitions(application, _owner(keyed=found.api_key is not None))


def _owner(*, keyed: bool) -> Actor:
    """Return who owns what is saved directly: whoever it would be over HTTP."""
    if keyed:
        from windlass.http.callers import KEEPER

        return KEEPER
    from windlass.kernel.actors import DEVELOPER

    return DEVELOPER
