"""``crash_everywhere``: a user's own workflow, once for every commit and everything that can happen to it there."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import sqlalchemy as sa

from windlass.engine.compensation import NAME as COMPENSATION
from windlass.engine.history import History
from windlass.engine.registry import Definition, Registry, default_registry
from windlass.engine.types import Event
from windlass.replay.api import Outcome, replay
from windlass.testing.driver import Driver
from windlass.testing.life import RUN_ID, STOPPED, Case, Life, live
from windlass.testing.linting import lint_function
from windlass.testing.report import PromiseBroken, Report
from windlass.testing.rules import Finding
from windlass.testing.simulation.faults import BAD_FATES
from windlass.testing.watch import Watch

FATES = (*(fate.value for fate in BAD_FATES), STOPPED)
"""What happens to each commit, in turn."""

OWN_FAULTS = {
    "BareTaskError": "the engine must know every branch: use windlass.gather or windlass.map",
    "NonDeterminismError": "the code must ask for the same each time it runs: see the findings, or windlass lint",
}
"""Errors that no workflow ends with on purpose."""

AGAIN = (
    "the code runs again after each crash and hears from the journal what it heard before: whatever else it looks at"
)
STEPS = "a step runs again when its process dies before its record: only step_info().idempotency_key stays the same"
ADVICE = (f"{AGAIN} (clock, dice, globals, files, what a step did to its arguments) must come from a step's result",)


def crash_everywhere(  # noqa: PLR0913  what a test can say of its workflow
    workflow: Definition,
    *args: Any,
    drive: Callable[[Driver], Awaitable[None]] | None = None,
    signals: Sequence[tuple[str, object]] = (),
    effects: Callable[[], Sequence[object]] | None = None,
    tables: sa.MetaData | None = None,
    fresh: Callable[[], object] | None = None,
    reboot: Callable[[], object] | None = None,
    fates: Sequence[str] = FATES,
    registry: Registry | None = None,
    lint: bool = True,
    watch: bool = True,
    most: int = 500,
    **kwargs: Any,
) -> Report:
    """Run a workflow without a crash, then once for every commit it makes and every fate that can meet it.

    After each crash another process goes on. Every time the run must end, as before and with the same result; its
    journal has no gaps; no step whose outcome is recorded runs again; nothing happens outside of steps but once.

    Args:
        workflow: the workflow; all others that are registered beside it are there too.
        args: its input.
        drive: speaks to the run: ``async def drive(run): await run.sleep(60); await run.signal("go")``.
        signals: names and payloads that are sent right at the beginning; each waits until it is asked for.
        effects: returns what has been done to the world outside by now, as a list; those of steps may stand in it once
            more per crash, anything else may not.
        tables: tables that transactional steps write to; what they hold must be the same in each life.
        fresh: called before each life, to make the outside world new.
        reboot: called as each process starts, to make anew what a process keeps in memory: caches, module globals.
        fates: what happens to each commit; all that there is by default.
        registry: where the workflow is registered, when that is not the process's own registry.
        watch: see in the first life what its code calls beside its journal; left out where a profiler is at work.
        lint: look through its source for what no run shows, as the order of sets.
        most: how many commits are gone through at most; of more, every second, every third and so on.
        kwargs: input by name.

    Raises:
        PromiseBroken: a promise does not hold; names the commit, what broke, and what to do about it.
    """
    made = registry or default_registry
    case = Case(workflow, args, kwargs, made, drive, signals, effects, tables, fresh, reboot)
    work = Everywhere(case, fates, lint=lint, watch=watch, most=most)
    if asyncio._get_running_loop() is None:
        return work.run()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work.run).result()


class Everywhere:
    """All lives of one workflow."""

    def __init__(self, case: Case, fates: Sequence[str], *, lint: bool, watch: bool, most: int) -> None:
        self._case, self._fates, self._most = case, fates, most
        self._watches = watch
        self._findings: list[Finding] = []
        self._linted = lint_function(case.workflow.fn) if lint else []
        self._first = Life()
        self._same = self._same_effects = True

    def run(self) -> Report:
        """Live through all of them."""
        first = self._undisturbed()
        lives = Counter({"nothing goes wrong": 2})
        stride = max(1, math.ceil(first.commits / self._most))
        for fate in self._fates:
            commit = 1
            while True:
                life = live(self._case, fate=fate, commit=commit)
                if not life.met and life.stuck is None:
                    break
                self._check(life, commit, fate)
                lives[f"commit {fate}"] += 1
                commit += stride
        if self._linted:
            self._broken(f"its code breaks a rule: {self._linted[0].what}")
        return Report(
            self._case.workflow.name, first.commits, str(first.status), _json(first.outputs), _json(first.error),
            dict(lives), first.journal, self._same,
        )  # fmt: skip

    def _undisturbed(self) -> Life:
        watch = Watch()
        first = self._first = live(self._case, watch=watch if self._watches else None)
        self._findings = [*watch.findings.values()]
        if first.stuck is not None:
            self._broken(first.stuck)
        error = _json(first.error) or {}
        if error.get("type") in OWN_FAULTS:
            self._broken(f"it fails with {error['type']}: {error['message']}", advice=(OWN_FAULTS[error["type"]],))
        if self._findings:
            self._broken(f"its code uses {self._findings[0].what}, of which its journal knows nothing")
        self._replay(first)
        second = live(self._case, seed="1")
        self._same = (second.status, second.outputs, _kind(second)) == (first.status, first.outputs, _kind(first))
        self._same_effects = Counter(second.effects) == Counter(first.effects)
        if second.stuck is not None or second.status != first.status:
            self._broken(f"it ended as {first.status} and, run anew, {second.stuck or 'as ' + str(second.status)}")
        self._sane(first, None, None)
        return first

    def _replay(self, life: Life) -> None:
        """Run the code once more over its own journals: nothing may change by that, inside or outside."""
        before = self._effects()
        for run_id, head in life.heads.items():
            ours = run_id == RUN_ID
            workflow = self._case.workflow if ours else self._case.registry.get(head.name, life.versions[run_id])
            found = replay(workflow, life.inputs[run_id], life.journals[run_id], outputs=life.ends[run_id][0])
            if found.outcome is Outcome.DIVERGED:
                said = found.reason.removeprefix(f"workflow {workflow.name}: ")
                self._broken(f"run again over its own journal, {said}", advice=ADVICE)
        if self._effects() != before:
            self._broken(
                "run again over its own journal, it does something outside of its steps",
                advice=("whatever changes the world outside belongs into a step, or it happens anew after each crash",),
            )

    def _effects(self) -> list[str]:
        return [] if self._case.effects is None else [repr(effect) for effect in self._case.effects()]

    def _check(self, life: Life, commit: int, fate: str) -> None:
        first, at = self._first, (commit, fate)
        if life.stuck is not None:
            self._broken(life.stuck, life, *at)
        if life.status != first.status or _kind(life) != _kind(first):
            said = f"it ends as {_how(life)}, and without a crash as {_how(first)}"
            self._broken(said, life, *at, advice=(*ADVICE, STEPS))
        if self._same and life.outputs != first.outputs:
            self._broken(f"it returns {life.outputs}, and without a crash {first.outputs}", life, *at, advice=ADVICE)
        self._sane(life, *at)
        self._outside(life, *at)

    def _sane(self, life: Life, commit: int | None, fate: str | None) -> None:
        """Check what must be true of every life."""
        for run_id, journal in life.journals.items():
            numbers = [event.seq for event in journal]
            if numbers != [*range(1, life.heads[run_id].last_seq + 1)]:
                self._broken(f"the journal of {run_id} has gaps: {numbers}", life, commit, fate)
            self._undone(life, journal, commit, fate)
        if life.repeated:
            self._broken(f"step {life.repeated[0]!r} ran again although its outcome was recorded", life, commit, fate)
        if life.changed:
            said = f"step {life.changed[0]!r} was called again with another input"
            self._broken(said, life, commit, fate, advice=ADVICE)
        if life.swallowed:
            self._broken(
                f"the code of {life.swallowed[0]} went on after its run had left memory",
                life, commit, fate,
                advice=("it catches BaseException, CancelledError or leaves a finally by return: catch Exception",),
            )  # fmt: skip

    def _undone(self, life: Life, journal: Sequence[Event], commit: int | None, fate: str | None) -> None:
        history = History(journal)
        listed = history.calls.get(f"{COMPENSATION}#1")
        failed = bool(journal) and journal[-1].type == "run_failed"
        if failed and listed is None and history.undoable:
            paths = ", ".join(call.path for call in history.undoable)
            self._broken(f"the run failed and {paths} were not undone", life, commit, fate)
        if listed is not None:
            begun = [path for path in history.calls if path.startswith(f"{COMPENSATION}/") and path.count("/") == 1]
            wanted = (listed.data or {})["value"]
            if failed and len(begun) < len(wanted):
                self._broken(f"{len(wanted)} steps were to be undone, {len(begun)} were", life, commit, fate)

    def _outside(self, life: Life, commit: int, fate: str) -> None:
        """Compare what happened in the world outside."""
        first = self._first
        if self._same_effects:
            now, before = Counter(life.effects), Counter(first.effects)
            missing, new = before - now, set(now) - set(before)
            if missing or new:
                wrong = next(iter(missing or new))
                said = "is missing" if missing else "is new"
                self._broken(f"of what it does outside, {wrong} {said}", life, commit, fate, advice=ADVICE)
            if sum(now.values()) - sum(before.values()) > max(0, life.calls - first.calls):
                again = ", ".join(now - before)
                self._broken(
                    f"it does more outside than its steps do: {again} once more", life, commit, fate,
                    advice=("whatever changes the world outside belongs into a step",),
                )  # fmt: skip
        if self._same and sorted(life.rows) != sorted(first.rows):
            self._broken(f"its tables hold {life.rows}, and without a crash {first.rows}", life, commit, fate)

    def _broken(
        self,
        what: str,
        life: Life | None = None,
        commit: int | None = None,
        fate: str | None = None,
        *,
        advice: Iterable[str] = (),
    ) -> None:
        found = [str(finding) for finding in (*self._findings, *self._linted)]
        raise PromiseBroken(
            what,
            workflow=self._case.workflow.name,
            commit=commit,
            fate=fate,
            journal=(life or self._first).journal,
            advice=[*dict.fromkeys([*found, *advice])],
        )


def _json(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)


def _kind(life: Life) -> str | None:
    error = _json(life.error)
    return None if error is None else str(error.get("type"))


def _how(life: Life) -> str:
    error = _json(life.error)
    return str(life.status) if error is None else f"{life.status} ({error.get('type')}: {error.get('message')})"
