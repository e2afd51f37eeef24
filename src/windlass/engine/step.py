"""Steps: functions whose outcome is kept. Promises 4 and 8."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    Unpack,
    overload,
)

from windlass.engine.attempt import elsewhere, in_thread, too_long
from windlass.engine.compensation import Undo
from windlass.engine.errors import FINAL, Fenced, StepTimeout, Suspend, Withheld
from windlass.engine.failures import own_error
from windlass.engine.heads import to_json
from windlass.engine.ops import heard
from windlass.engine.options import Options
from windlass.engine.outcomes import completed, failure, opening, tell_end
from windlass.engine.registry import check_name
from windlass.engine.run import Run
from windlass.engine.scope import CURRENT, Scope, current_scope
from windlass.engine.transact import TRANSACT, TRANSACT_ALONE, Effect
from windlass.engine.types import NewEvent
from windlass.executors.api import THREADS, Errand, check_place
from windlass.executors.api import check_name as check_executor
from windlass.kernel.checks import LONGEST_SECONDS, Errors, check_number, error_types
from windlass.kernel.clock import SECOND
from windlass.kernel.deadlines import within
from windlass.kernel.retry import RetryPolicy
from windlass.kernel.stepping import RUNNING, StepInfo
from windlass.kernel.telling import told, trace
from windlass.values.codec import Signature, digest

if TYPE_CHECKING:
    from windlass.engine.history import Recorded
    from windlass.engine.ports import Transaction

P = ParamSpec("P")
R = TypeVar("R")

QUICK_SECONDS = 0.003
"""A transactional step that took less the last time may be written by the event loop itself."""
TOLERANCE_SECONDS = 0.001
"""By how much the database's own limit on a statement may come before ours."""


class Step(Generic[P, R]):
    """A function whose outcome is written to the journal; called outside a run it is the plain function."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str,
        policy: RetryPolicy,
        timeout: float | None,
        abandon: bool,
        transactional: bool,
        kind: str = "step",
        compensate: Step[..., Any] | None = None,
        executor: str = THREADS,
    ) -> None:
        self.fn = fn
        self.name = check_name(name)
        self.kind = kind
        self.policy = policy
        self.timeout = timeout
        self.abandon = abandon
        self.transactional = transactional
        self.sync = not inspect.iscoroutinefunction(fn)
        if transactional and not self.sync:
            raise TypeError(f"step {name}: a transactional step is a plain function, not 'async def'")
        self.executor = None if executor == THREADS else executor
        if self.executor is not None:
            if transactional or not self.sync:
                raise TypeError(f"step {name}: an executor takes a plain function without a transaction")
            check_executor(self.executor)
            check_place(fn)
        if timeout is not None and check_number("timeout", timeout, 0, LONGEST_SECONDS, whose=f"step {name}: ") == 0:
            raise ValueError(f"step {name}: timeout must be above 0 seconds, not {timeout!r}")
        self.signature = Signature(fn, skip=1 if transactional else 0)
        self._quick = False
        self._output = f"output of step {name}"
        self._opening = opening(name, kind)
        self._late = functools.partial(too_long, name, timeout or 0)
        self.undo = None if compensate is None else Undo(self, compensate)
        functools.update_wrapper(self, fn)

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the step, or return what it came to before.

        Raises:
            StepFailed: no attempt succeeded; its cause is the last error when that happened in this process.
        """
        if (scope := CURRENT.get()) is None:
            plain: R = await self._plainly(args, kwargs)
            return plain
        if asyncio.current_task() is not scope.task:
            current_scope(f"step {self.name}")
        if self.undo is not None:
            scope.run.undoes[self.undo.place] = self.undo
        path, recorded = scope.enter(self.name, "step")
        mark = digest(args, kwargs, f"input of step {self.name}")
        if recorded is not None:
            if recorded.digest is not None and recorded.digest != mark:
                raise scope.run.diverged(f"step {path!r} is called with another input than its journal holds")
            if recorded.settled is not None:
                result: R = self._replayed(scope, path, recorded)
                return result
        live: R = await self._live(scope, path, mark, recorded, args, kwargs)
        return live

    async def _plainly(self, args: Any, kwargs: Any) -> Any:
        value = self.fn(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    def _replayed(self, scope: Scope[Run], path: str, recorded: Recorded) -> Any:
        data = recorded.data or {}
        scope.hear(recorded.seq)
        if recorded.settled == "step_completed":
            return self.signature.recalled(data.get("output"), self._output)
        raise failure(path, data["error"], data["error_type"], data["attempt"])

    async def _live(
        self, scope: Scope[Run], path: str, mark: str, recorded: Recorded | None, args: Any, kwargs: Any
    ) -> Any:
        run = scope.run
        attempt = 0
        undo = "" if self.undo is None else self.undo.kept(args, kwargs)
        if recorded is not None:
            attempt = recorded.attempts
            if recorded.retry_at is not None:
                await run.wait(due=recorded.retry_at)
        clock = run.worker.clock
        while True:
            attempt += 1
            if run.replaying:
                await run.catch_up()
            if run.held_up:
                await run.hold()
            if run.unsettled:
                await run.barrier()
            run.worker.check_lease()
            run.executing[path] = started = clock.now()
            if attempt == 1:
                run.worker.telemetry.step_started(run.workflow.name, run.run_id, path, self.kind)
            try:
                self.signature.prepare(self._output)
                if self.transactional:
                    value = await self._transact(run, path, mark, attempt, args, kwargs, undo)
                    scope.hear()
                    tell_end(run, path, self.kind, started, clock.now())
                    return value
                value = await self._attempt(run, path, attempt, args, kwargs)
                value, text = self.signature.output(value, self._output)
            except (Suspend, Withheld) as left:
                run.executing.pop(path, None)
                if isinstance(left, Suspend):
                    raise
                attempt -= 1
                run.withhold(left.reason)
                continue
            except BaseException as raised:
                events = self._opened(run, path)
                await self._failed(scope, path, mark, attempt, events, own_error(raised), started)
                continue
            events = self._opened(run, path)
            done, ended = completed(self.name, self.kind, mark, attempt, text, undo), clock.now()
            events.append(NewEvent("step_completed", path, done, ended))
            run.record(events)
            scope.hear()
            tell_end(run, path, self.kind, started, ended)
            return value

    def _opened(self, run: Run, path: str) -> list[NewEvent]:
        """Return the event of the start, unless it was written while the step ran long."""
        started = run.executing.pop(path, 0)
        if run.pausing is not None or run.worker.stopping:
            self._ended(run)
        return [NewEvent("step_started", path, self._opening, started)] if started else []

    async def _attempt(self, run: Run, path: str, attempt: int, args: Any, kwargs: Any) -> Any:
        if not self.sync:
            info = RUNNING.set(StepInfo(run.run_id, path, attempt))
            scope = CURRENT.set(None)
            try:
                if self.timeout is None:
                    return await self.fn(*args, **kwargs)
                return await within(self.timeout, self.fn(*args, **kwargs), self._late)
            finally:
                CURRENT.reset(scope)
                RUNNING.reset(info)
        if self.executor is not None:
            errand = Errand(self.fn.__module__, self.fn.__qualname__, args, kwargs, StepInfo(run.run_id, path, attempt))
            return await elsewhere(run, self.executor, errand, self.name, self.timeout)
        context = copy_context()
        context.run(CURRENT.set, None)
        context.run(RUNNING.set, StepInfo(run.run_id, path, attempt))
        call = functools.partial(context.run, self.fn, *args, **kwargs)
        return await in_thread(run, call, self.name, self.timeout, abandon=self.abandon)

    async def _transact(self, run: Run, path: str, mark: str, attempt: int, args: Any, kwargs: Any, undo: str) -> Any:
        info = StepInfo(run.run_id, path, attempt)
        effects = TRANSACT if run.worker.transactions is run.worker.commits else TRANSACT_ALONE
        seconds = self.timeout or effects.seconds
        longest = seconds if self.timeout or effects is TRANSACT else math.inf
        monotonic = run.worker.clock.monotonic

        def call(tx: Transaction) -> tuple[Any, str]:
            token = RUNNING.set(info)
            scope = CURRENT.set(None)
            begun = monotonic()
            try:
                answer = self.signature.output(self.fn(tx, *args, **kwargs), self._output)
            except Exception as error:
                if monotonic() - begun > longest - TOLERANCE_SECONDS:
                    raise too_long(self.name, seconds) from error
                raise
            finally:
                self._quick = monotonic() - begun < QUICK_SECONDS
                CURRENT.reset(scope)
                RUNNING.reset(token)
            if monotonic() - begun > longest:
                raise too_long(self.name, seconds)
            return answer

        def events(text: str) -> list[NewEvent]:
            done = completed(self.name, self.kind, mark, attempt, text, undo)
            return [begun, NewEvent("step_completed", path, done, run.worker.clock.now())]

        begun = NewEvent("step_started", path, self._opening, run.executing[path])
        effect = Effect(run.run_id, run.holder, call, events, seconds, self._quick)
        try:
            value = await heard(run.worker.transactions.submit(effects, effect))
        except Fenced:
            run.worker.fenced(run)
            raise Suspend from None
        run.executing.pop(path, None)
        self._ended(run)
        return value

    @staticmethod
    def _ended(run: Run) -> None:
        """Let a run that is being paused, or a process that shuts down, know that a step has ended."""
        if run.pausing is not None:
            run.settle_soon()
        if run.worker.stopping:
            run.worker.step_ended()

    async def _failed(
        self,
        scope: Scope[Run],
        path: str,
        mark: str,
        attempt: int,
        events: list[NewEvent],
        error: Exception,
        started: int,
    ) -> None:
        """Write a failed attempt down and wait for the next, or raise when there is none."""
        run = scope.run
        now = run.worker.clock.now()
        details: dict[str, Any] = {
            "step_id": self.name, "type": self.kind, "input": mark, "attempt": attempt, "error": told(error),
            "error_type": type(error).__name__, "traceback": trace(error),
        }  # fmt: skip
        said = {"step_id": self.name, "attempt": attempt}
        if isinstance(error, StepTimeout):
            events.append(NewEvent("step_timeout", path, to_json(said), now))
        if not isinstance(error, FINAL) and self.policy.again(error, attempt):
            details["retry_at"] = retry_at = now + int(self.policy.pause(attempt, run.worker.random()) * SECOND)
            await run.commit([*events, NewEvent("step_failed", path, to_json(details), now)])
            await run.wait(due=retry_at)
            return
        if attempt <= self.policy.retries:
            said["reason_code"] = details["error_type"]
            events.append(NewEvent("step_retry_suppressed", path, to_json(said), now))
        scope.hear()
        tell_end(run, path, self.kind, started, now, failed=True)
        with suppress(asyncio.CancelledError):  # what the journal holds is told, also to a branch that is being stopped
            await run.commit([*events, NewEvent("step_failed", path, to_json(details), now)])
        raise failure(path, details["error"], details["error_type"], attempt) from error


class Decorator(Protocol):
    """``@step(...)``: takes an async or a plain function."""

    @overload
    def __call__(self, fn: Callable[P, Awaitable[R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Step[P, R]: ...


class TransactionalDecorator(Protocol):
    """``@step(transactional=True)``: takes a plain function whose first argument is the transaction."""

    def __call__(self, fn: Callable[Concatenate[Any, P], R], /) -> Step[P, R]:
        """Make the function a step that is called without the transaction."""
        ...


@overload
def step(fn: Callable[P, Awaitable[R]], /) -> Step[P, R]: ...
@overload
def step(fn: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(*, transactional: Literal[False] = False, **options: Unpack[Options]) -> Decorator: ...
@overload
def step(*, transactional: Literal[True], **options: Unpack[Options]) -> TransactionalDecorator: ...
def step(  # noqa: PLR0913  the options of a step
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retries: int = 0,
    backoff: float = 1.0,
    factor: float = 2.0,
    cap: float = 300.0,
    jitter: float = 0.5,
    retry_on: Errors = (Exception,),
    fatal: Errors = (),
    timeout: float | None = None,
    abandon: bool = False,
    transactional: bool = False,
    compensate: Callable[..., Any] | None = None,
    executor: str = THREADS,
) -> Any:
    """Make a function a durable step: it runs at least once, and once it has succeeded never again.

    Async functions run on the event loop, plain ones in threads.

    Args:
        fn: the function, when used without parentheses.
        name: its name in the journal; the function's name by default.
        retries: attempts after the first.
        backoff: seconds before the second attempt; each further pause is ``factor`` times longer, up to ``cap``.
        factor: growth of the pauses.
        cap: longest pause in seconds.
        jitter: the share (0..1) of a pause that is random.
        retry_on: the type of errors worth another attempt, or several.
        fatal: those that are not, beside ``windlass.Fatal``.
        timeout: seconds an attempt may take. A plain function that takes longer is dropped: its result is
            refused, and the next attempt waits until it has returned.
        abandon: do not wait for such a function before the next attempt.
        transactional: the function gets an open transaction as its first argument, which commits together with
            its outcome: its effects in this database happen exactly once.
        compensate: undoes it when its run fails later on: a step, or a function, which becomes one with this one's
            retries and time-out. It gets the result, then by name those of the step's arguments that it takes.
        executor: where a plain function runs: ``threads``, ``processes``, ``ray``, or a name of ``executors.register``.

    Raises:
        TypeError, ValueError: an option is wrong; names the step and the option.
    """

    def wrap(function: Callable[..., Any]) -> Step[..., Any]:
        called = name or function.__name__
        try:
            worth, not_worth = error_types("retry_on", retry_on), error_types("fatal", fatal)
            policy = RetryPolicy(retries, backoff, factor, cap, jitter, worth, not_worth)
        except (TypeError, ValueError) as error:
            raise type(error)(f"step {called}: {error}") from None
        options: Any = {"policy": policy, "timeout": timeout, "abandon": abandon}
        undo = compensate
        if undo is not None and not isinstance(undo, Step):
            undo = Step(undo, name=undo.__name__, transactional=False, **options)
        options["executor"] = executor
        return Step(function, name=called, transactional=transactional, compensate=undo, **options)

    return wrap if fn is None else wrap(fn)
