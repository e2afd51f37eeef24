"""A client that answers from lists, for the logic around it."""

from collections.abc import Iterator, Sequence
from typing import Any

from windlass.cli.client.protocol import Client, Row, Stored


class Scripted:
    """Answers what it was told to, one after the other; an exception in the list is raised."""

    name = "script"

    def __init__(self, **answers: Sequence[Any]) -> None:
        self._answers: dict[str, Iterator[Any]] = {name: iter(given) for name, given in answers.items()}
        self.asked: list[tuple[Any, ...]] = []

    def _next(self, name: str, *args: Any) -> Any:
        self.asked.append((name, *args))
        answer = next(self._answers[name])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def store(self, body: bytes, key: str) -> Stored:
        stored: Stored = self._next("store", body, key)
        return stored

    async def get_run(self, run_id: str) -> Row:
        run: Row = self._next("get_run", run_id)
        return run

    async def events(self, run_id: str, since: int, limit: int) -> list[Row]:
        found: list[Row] = self._next("events", run_id, since, limit)
        return found

    async def workers(self) -> Sequence[Row] | None:
        found: Sequence[Row] | None = self._next("workers")
        return found


def scripted(**answers: Sequence[Any]) -> tuple[Scripted, Client]:
    """The same client twice: as the test asks it, and as the code under test knows it."""
    client: Any = Scripted(**answers)
    return client, client
