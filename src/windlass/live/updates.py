"""Updates: what a run takes from outside while it is open, checks, applies once and answers."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from windlass.engine.heads import to_json
from windlass.engine.registry import check_name
from windlass.engine.run import Run
from windlass.engine.scope import current_scope
from windlass.engine.types import InboxRow, NewEvent
from windlass.kernel.checks import LONGEST_SECONDS, check_number
from windlass.kernel.clock import SECOND
from windlass.kernel.telling import told
from windlass.live.errors import UpdateTimeout
from windlass.live.looking import look
from windlass.live.rows import ACCEPTED, COMPLETED, FAILED, REFUSED, Answer, write_answers
from windlass.live.state import put, state_of
from windlass.values.codec import encode


class Update:
    """An update that the run has taken; whoever sent it waits for ``answer`` or ``fail``."""

    def __init__(self, name: str, update_id: str, payload: Any) -> None:
        self.name = name
        self.update_id = update_id
        self.payload = payload
        self.answered = False

    def __repr__(self) -> str:
        return f"<update {self.name} {self.update_id}>"

    def answer(self, value: object = None) -> None:
        """Answer it; the answer is kept, and is the same for whoever sends it again.

        Raises:
            NotSerializable: the value cannot be kept as JSON.
            RuntimeError: it is answered already.
        """
        self._answer(COMPLETED, "result", encode(value, f"answer of update {self.name}"))

    def fail(self, message: str) -> None:
        """Answer that it failed, and why: who sent it gets ``UpdateFailed``.

        Raises:
            RuntimeError: it is answered already.
        """
        self._answer(FAILED, "error", encode(message, f"error of update {self.name}"))

    def _answer(self, state: str, word: str, text: str) -> None:
        if self.answered:
            raise RuntimeError(f"update {self.update_id!r} is answered already")
        scope = current_scope(f"update {self.name}: answer")
        path, recorded = scope.enter(f"answer:{self.name}", "update")
        self.answered = True
        state_of(scope.run).taken.pop(self.update_id, None)
        if recorded is not None:
            scope.hear(recorded.seq)
            return
        run: Run = scope.run
        said = f'{{"id":{to_json(self.update_id)},"{word}":{text}}}'
        event = NewEvent("update_answered", path, said, run.worker.clock.now())
        put(run, event, write_answers, Answer(run.run_id, self.update_id, state, text))
        scope.hear()


class Updates:
    """The updates of one name, in the order they were sent.

    Args:
        name: their name.
        validator: gets the payload when its turn has come and raises what is wrong with it; it may look at what the
            workflow knows and must change nothing.
    """

    def __init__(self, name: str, validator: Callable[[Any], object] | None = None) -> None:
        self.name = check_name(name)
        self._validator = validator
        self._last: Update | None = None

    def __aiter__(self) -> AsyncIterator[Update]:
        return self._each()

    async def _each(self) -> AsyncIterator[Update]:
        while True:
            yield await self.receive()

    async def receive(self, *, timeout: float | None = None) -> Update:
        """Wait for the next update that the validator lets pass. One that is still open then is answered with None.

        So is every open one when the run begins anew. A refused one is answered with what the validator raised and
        leaves no event.

        Args:
            timeout: seconds to wait; without it for ever.

        Raises:
            UpdateTimeout: none came in time (recorded: a replay sees the same).
            ValueError: the time is no number, or beyond any calendar.
        """
        if timeout is not None:
            check_number("timeout", timeout, -LONGEST_SECONDS, LONGEST_SECONDS, whose=f"update {self.name!r}: ")
        if self._last is not None and not self._last.answered:
            self._last.answer()
        scope = current_scope(f"update {self.name!r}")
        run: Run = scope.run
        path, recorded = scope.enter(f"update:{self.name}", "update")
        due = None if timeout is None else run.worker.clock.now() + int(timeout * SECOND)
        if recorded is not None and recorded.settled is not None:
            scope.hear(recorded.seq)
            if recorded.settled == "update_timed_out":
                raise _late(self.name, path)
            return self._take(run, recorded.data or {})
        if recorded is not None and recorded.opened is not None:
            due = recorded.opened["due_at"]
        elif due is not None:
            run.pending.append(NewEvent("update_awaited", path, to_json({"due_at": due}), run.worker.clock.now()))
        if run.pausing is not None:
            await run.hold()
        if run.replaying:
            await run.catch_up()
        row = await self._next(run, due)
        now = run.worker.clock.now()
        scope.hear()
        if row is None:
            run.pending.append(NewEvent("update_timed_out", path, to_json({"name": self.name}), now))
            raise _late(self.name, path)
        said = orjson.loads(row.payload)
        run.pending.append(NewEvent("update_accepted", path, f'{{"name":"{self.name}",{row.payload[1:]}', now))
        run.along.append((write_answers, Answer(run.run_id, said["id"], ACCEPTED, None)))
        run.mail.consume(row)
        return self._take(run, said)

    def _take(self, run: Run, said: dict[str, Any]) -> Update:
        self._last = state_of(run).taken[said["id"]] = Update(self.name, said["id"], said["payload"])
        return self._last

    async def _next(self, run: Run, due: int | None) -> InboxRow | None:
        """Return the next one that is not refused, None when the time came first."""
        while True:
            row = await run.wait(due=due, listen=f"update:{self.name}")
            if row is None:
                return None
            said = orjson.loads(row.payload)
            try:
                if self._validator is not None:
                    look(f"the validator of update {self.name!r}", self._validator, said["payload"])
            except Exception as error:  # noqa: BLE001  whatever it raises is why
                message = told(error) or type(error).__name__
                run.mail.consume(row)
                run.along.append((write_answers, Answer(run.run_id, said["id"], REFUSED, to_json(message))))
                await run.commit([])
            else:
                return row

    async def handle(self, handler: Callable[[Any], Any], *, timeout: float | None = None) -> Any:
        """Wait for the next update and answer it with what ``handler``, plain or async, makes of its payload.

        What the handler raises is the answer, too: the update has failed, and the workflow goes on.

        Returns:
            what the handler returned; None when it failed.

        Raises:
            UpdateTimeout: see ``receive``.
        """
        update = await self.receive(timeout=timeout)
        try:
            value = handler(update.payload)
            if inspect.isawaitable(value):
                value = await value
            update.answer(value)
        except Exception as error:  # noqa: BLE001  told to who sent it
            update.fail(told(error) or type(error).__name__)
            return None
        return value


def _late(name: str, path: str) -> UpdateTimeout:
    return UpdateTimeout(f"update {name!r} did not come in time", step=path, signal=name)


def updates(name: str, validator: Callable[[Any], object] | None = None) -> Updates:
    """Return the updates of a name that are sent to the run whose code this is; see ``Updates``.

    Raises:
        BadName: no update can have this name.
    """
    return Updates(name, validator)
