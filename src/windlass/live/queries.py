"""Queries: questions to a run that is open, answered from what its code holds in memory, without an event."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson

from windlass.engine.errors import Suspend
from windlass.engine.heads import to_json
from windlass.engine.registry import check_name
from windlass.engine.run import Run
from windlass.engine.scope import current_scope
from windlass.engine.types import InboxRow
from windlass.kernel.telling import told
from windlass.live.errors import LooksOnly
from windlass.live.looking import look
from windlass.live.rows import COMPLETED, FAILED, REFUSED, Answer, write_answers
from windlass.live.state import state_of
from windlass.values.codec import encode


def on_query(name: str, handler: Callable[..., Any]) -> None:
    """Have queries of a name answered by ``handler``, which gets their argument unless it takes none.

    It may look and must change nothing.

    A run that has left memory is woken and replayed for a query, so register first of all.

    Raises:
        BadName: no query can have this name.
    """
    check_name(name)
    run: Run = current_scope(f"on_query {name}").run
    state = state_of(run)
    state.queries[name] = handler if inspect.signature(handler).parameters else lambda _arg: handler()
    for row in state.asked.values():
        if row.name == name:
            spawn(run, row)


def spawn(run: Run, row: InboxRow) -> None:
    """Answer a query once the run has come to where it stands."""
    run.worker.keep(run.loop.create_task(_answer(run, row)))


async def _answer(run: Run, row: InboxRow) -> None:
    with suppress(Suspend):
        await run.catch_up()
        state = state_of(run)
        if row.inbox_id not in state.asked or (row.name not in state.queries and run.busy):
            return  # answered, or the code may still come to register it
        del state.asked[row.inbox_id]
        said = orjson.loads(row.payload)
        how, answer = outcome(run, row.name, said["payload"])
        run.mail.consume(row)
        run.along.append((write_answers, Answer(run.run_id, said["id"], how, answer)))
        await run.commit([])


def outcome(run: Run, name: str, arg: Any) -> tuple[str, str]:
    """Return what a query of a run that is held here comes to, and the answer, or why there is none, as JSON text."""
    queries = state_of(run).queries
    if name not in queries:
        known = ", ".join(sorted(queries)) or "none"
        return REFUSED, to_json(f"run {run.run_id} has no query {name!r}; it has {known}")
    what = f"query {name!r}"
    try:
        return COMPLETED, encode(look(what, queries[name], arg), f"answer of {what}")
    except LooksOnly as error:
        return REFUSED, to_json(told(error))
    except Exception as error:  # noqa: BLE001  told to who asked
        return FAILED, to_json(f"{type(error).__name__}: {told(error)}")
