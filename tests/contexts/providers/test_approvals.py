"""Approvals: exactly one provider for a candidate, and a candidate that agrees with billing or says what is open."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.support.billing import FIRST_ID, FakeBilling, Fate
from tests.support.waiting import wait_until_async
from windlass.bootstrap import Application
from windlass.contexts.providers import approvals, rows, tasks
from windlass.contexts.providers.api import (
    AlreadyDecided,
    ApprovalRules,
    Approved,
    BillingFailed,
    Candidate,
    Modified,
    NoReview,
    Outcome,
    Parts,
    Pending,
    ProviderTaken,
    Sagas,
    SecondNeeded,
)
from windlass.engine.errors import RunFailed
from windlass.engine.ports import Transaction
from windlass.kernel.actors import Actor
from windlass.kernel.clock import SECOND
from windlass.storage.explain import explain_run

ANN = Actor("1", "ann", role="admin")
BEN = Actor("2", "ben", role="admin")
FIELDS = {"products": ["apples"], "truck_count": 2, "capacity_tons_per_day": 3}
LOST = [Fate.AFTER] * 4


class Desk:
    """An application with a billing of its own."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.engine = application.engine
        self.billing = FakeBilling(self.engine.clock.now)
        self.told: list[str] = []
        self.emails = 0
        self.rule()

    def rule(self, **rules: Any) -> None:
        """Approve by these rules from now on."""
        identity = self.application.identity
        parts = Parts(self.billing, self.engine.clock, self.engine.worker.telemetry, identity.record, self._tell)
        self.sagas = Sagas(self.engine, parts, ApprovalRules(**{"wait_seconds": 20.0, **rules}))

    def _tell(self, _tx: Transaction, candidate: Candidate) -> None:
        self.told.append(f"{candidate.candidate_id} {candidate.status} {candidate.provider_id}")

    async def register(self, name: str = "Fresh Fruit") -> str:
        """Register a candidate and return its id."""
        self.emails += 1
        fields = {**FIELDS, "company_name": name, "contact_email": f"c{self.emails}@example.com"}
        return (await self.application.providers.candidates.create("default", fields)).candidate_id

    async def approve(self, candidate_id: str, actor: Actor = ANN, *, wait: bool = True) -> Outcome:
        """Approve a candidate."""
        return await self.sagas.approve(actor, candidate_id, version=None, wait=wait)

    async def refused(self, candidate_id: str) -> str:
        """Approve a candidate in vain and return what is said of it."""
        with pytest.raises(BillingFailed) as failed:
            await self.approve(candidate_id)
        return failed.value.message

    async def get(self, candidate_id: str) -> Candidate:
        """Return a candidate."""
        return await self.application.providers.candidates.get("default", candidate_id)

    async def state(self, candidate_id: str, wanted: str) -> Candidate:
        """Wait until an approval has come so far."""

        async def reached() -> Candidate | None:
            found = await self.get(candidate_id)
            return found if found.approval is not None and found.approval.state == wanted else None

        found = await wait_until_async(reached, what=wanted)
        assert found is not None
        return found

    async def tried(self, candidate_id: str) -> str | None:
        """Return the name under which billing may have a provider."""
        return (await self.engine.read(lambda connection: rows.tried(connection, candidate_id)))[0]

    @property
    def names(self) -> list[str]:
        """The names of billing's providers."""
        return [one.name for one in self.billing.providers.values()]


@pytest.fixture
def desk(running: Application, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An application with a billing of its own, in whose hours pass as moments."""
    monkeypatch.setattr(tasks, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(tasks, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(approvals, "LOOK_SECONDS", 0.05)
    return Desk(running)


async def test_an_approved_candidate_has_its_provider_and_stays_so(desk: Desk) -> None:
    candidate_id = await desk.register()

    assert await desk.approve(candidate_id) == Approved(candidate_id, FIRST_ID)

    found = await desk.get(candidate_id)
    assert (found.status, found.provider_id, found.approval, found.version) == ("approved", FIRST_ID, None, 3)
    assert desk.told == [f"{candidate_id} approved {FIRST_ID}"]
    assert await desk.tried(candidate_id) is None
    for actor in (ANN, BEN):
        with pytest.raises(AlreadyDecided, match="Candidate already approved"):
            await desk.approve(candidate_id, actor)
    with pytest.raises(AlreadyDecided):
        await desk.application.providers.candidates.reject(BEN, candidate_id, version=None, reason=None)
    with pytest.raises(AlreadyDecided):
        await desk.sagas.review(ANN, candidate_id, version=None, provider_id=7)
    assert desk.billing.calls["create"] == 1


async def test_of_all_who_decide_at_once_one_wins(desk: Desk) -> None:
    candidate_id = await desk.register()
    reject = desk.application.providers.candidates.reject
    attempts: list[Awaitable[Any]] = [desk.approve(candidate_id, actor) for actor in (ANN, BEN, ANN, BEN)]
    attempts[2:2] = [reject(actor, candidate_id, version=None, reason="no") for actor in (ANN, BEN)]

    ended = await asyncio.gather(*attempts, return_exceptions=True)

    won = [one for one in ended if not isinstance(one, Exception)]
    assert len(won) == 1, ended
    assert all(isinstance(one, AlreadyDecided | Modified) for one in ended if one not in won)
    found = await desk.get(candidate_id)
    assert len(desk.billing.providers) == (found.status == "approved")
    assert found.status == ("approved" if isinstance(won[0], Approved) else "rejected")


async def test_a_billing_that_refuses_or_stays_away_leaves_the_candidate_pending(desk: Desk) -> None:
    candidate_id = await desk.register()
    desk.billing.fates = deque([Fate.REFUSED])
    assert await desk.refused(candidate_id) == "Failed to create provider: no such company"
    assert await desk.tried(candidate_id) is None

    desk.billing.fates = deque([Fate.UNREACHED] * 4)
    assert await desk.refused(candidate_id) == "Failed to create provider: Connection refused"

    found = await desk.get(candidate_id)
    assert (found.status, found.approval, found.provider_id) == ("pending", None, None)
    assert desk.billing.calls["create"] == 5
    assert [(attempt, most) for attempt, most, _ in desk.billing.retries] == [(1, 3), (2, 3), (3, 3)]
    assert found.failure is not None
    assert found.failure.message == "Failed to create provider: Connection refused"
    assert found.created_at < found.failure.at <= found.updated_at
    assert isinstance(await desk.approve(candidate_id), Approved)
    assert (await desk.get(candidate_id)).failure is None
    assert desk.names == ["Fresh Fruit"]


async def test_who_did_not_wait_sees_why_an_approval_failed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate_id = await desk.register()

    async def ended(outcome: Outcome) -> tuple[str, str | None]:
        assert isinstance(outcome, Pending)
        with pytest.raises(RunFailed):
            await desk.engine.result(outcome.approval.run_id, 20)
        found = await desk.get(candidate_id)
        assert (found.status, found.approval) == ("pending", None)
        return outcome.approval.run_id, None if found.failure is None else found.failure.message

    desk.billing.fates = deque([Fate.REFUSED])
    _, why = await ended(await desk.approve(candidate_id, wait=False))
    assert why == "Failed to create provider: no such company"

    async def broken(_name: str, _key: str) -> None:
        raise RuntimeError("nobody has thought of this")

    with monkeypatch.context() as patched:
        patched.setattr(desk.billing, "create", broken)
        started = await desk.approve(candidate_id, wait=False)
        run_id, why = await ended(started)
    assert why == f"its run {run_id} failed"

    await desk.approve(candidate_id)
    assert (await desk.get(candidate_id)).failure is None


def test_pauses_are_those_of_the_contract() -> None:
    assert [tasks.pause_after(n, None) for n in (1, 2, 3, 7, 8, 100)] == [0.5, 1.0, 2.0, 32.0, 60.0, 60.0]
    assert tasks.pause_after(1, 7.0) == 7.0


@pytest.mark.parametrize("honours, tells", [(True, True), (False, True), (False, False)])
async def test_a_lost_answer_creates_no_second_provider(desk: Desk, honours: bool, tells: bool) -> None:
    desk.billing.honours_keys, desk.billing.tells_keys = honours, tells
    once, given_up, late = [await desk.register(f"Company {n}") for n in range(3)]

    desk.billing.fates = deque([Fate.AFTER, Fate.BEFORE])
    assert await desk.approve(once) == Approved(once, FIRST_ID)

    desk.billing.fates = deque(LOST)
    assert "no answer" in await desk.refused(given_up)
    assert await desk.tried(given_up) == "Company 1"
    assert await desk.approve(given_up, BEN) == Approved(given_up, FIRST_ID + 1)

    desk.billing.fates = deque([Fate.LATE] * 4)
    await desk.refused(late)
    desk.billing.catch_up()
    assert await desk.approve(late) == Approved(late, FIRST_ID + 2)
    assert desk.names == ["Company 0", "Company 1", "Company 2"]


async def test_a_refusal_after_a_lost_answer_is_checked(desk: Desk) -> None:
    made, not_made = await desk.register("Made"), await desk.register("Not made")

    desk.billing.fates = deque([Fate.AFTER, Fate.REFUSED])
    assert await desk.approve(made) == Approved(made, FIRST_ID)
    desk.billing.fates = deque([Fate.BEFORE, Fate.REFUSED])
    assert "no such company" in await desk.refused(not_made)

    assert desk.names == ["Made"]


async def test_without_waiting_it_goes_on_until_billing_is_back(desk: Desk) -> None:
    candidate_id = await desk.register()
    down = True
    desk.billing.fate = lambda: Fate.ERROR if down else Fate.WELL

    started = await desk.approve(candidate_id, wait=False)
    assert isinstance(started, Pending)
    found = await desk.state(candidate_id, "waiting_for_billing")
    assert found.status == "pending"
    assert found.approval is not None
    assert "500" in (found.approval.note or "")
    for late in (desk.approve(candidate_id, BEN), desk.sagas.review(BEN, candidate_id, version=None, provider_id=7)):
        with pytest.raises((Modified, NoReview)):
            await late
    down = False
    await desk.engine.result(started.approval.run_id, 20)

    assert (await desk.get(candidate_id)).provider_id == FIRST_ID
    assert {most for _, most, _ in desk.billing.retries} == {None}


async def test_who_waits_for_billing_can_give_up(desk: Desk) -> None:
    never, unclear, made = [await desk.register(name) for name in ("Never", "Unclear", "Made")]
    fate, door = Fate.UNREACHED, asyncio.Event()
    desk.billing.fate = lambda: fate

    async def give_up(candidate_id: str) -> Candidate:
        return await desk.sagas.review(BEN, candidate_id, version=None, provider_id=None)

    started = await desk.approve(never, wait=False)
    assert isinstance(started, Pending)
    with pytest.raises(Modified):
        await desk.sagas.review(BEN, never, version=(await desk.state(never, "waiting_for_billing")).version - 1,
                                provider_id=None)  # fmt: skip
    found = await give_up(never)
    assert (found.status, found.approval, await desk.tried(never)) == ("pending", None, None)
    assert await desk.engine.result(started.approval.run_id, 20) == {"outcome": "released"}

    await desk.approve(unclear, wait=False)
    await desk.state(unclear, "waiting_for_billing")
    fate = Fate.BEFORE
    calls = desk.billing.calls["create"]
    await wait_until_async(lambda: desk.billing.calls["create"] > calls + 1, what="a call that was lost")
    found = await give_up(unclear)
    assert found.approval is not None
    assert found.approval.state == "needs_review"
    assert found.approval.note == "ben gave it up, and billing may have a provider of the name 'Unclear' by now"
    assert (await give_up(unclear)).approval is None

    await desk.approve(made, wait=False)
    await desk.state(made, "waiting_for_billing")
    fate, desk.billing.spend = Fate.WELL, door.wait  # type: ignore[assignment]
    calls = desk.billing.calls["create"]
    await wait_until_async(lambda: desk.billing.calls["create"] > calls, what="a call under way")
    desk.rule(wait_seconds=0.0)
    asked = await give_up(made)
    assert asked.approval is not None
    assert (asked.approval.state, (asked.approval.note or "")[:15]) == ("waiting_for_billing", "ben gives it up")
    desk.rule()
    answer = asyncio.create_task(give_up(made))  # asking twice changes nothing
    door.set()
    assert (await answer).provider_id == FIRST_ID
    for late in (never, made):
        with pytest.raises((NoReview, AlreadyDecided)):
            await give_up(late)
    assert desk.names == ["Made"]


async def test_what_is_not_certain_is_left_to_a_person(desk: Desk) -> None:
    desk.billing.honours_keys = desk.billing.tells_keys = False
    other = await desk.register("Elsewhere")
    await desk.approve(other)
    old, adopted, untold = [await desk.register(name) for name in ("Old", "Twin", "Untold")]
    desk.billing.make("Old", "somebody's").created_at -= 3600 * SECOND  # type: ignore[union-attr]

    outcome = await desk.approve(old)
    assert isinstance(outcome, Pending)
    assert outcome.approval.state == "needs_review"
    assert "was there before" in (outcome.approval.note or "")
    told = await explain_run(desk.engine, outcome.approval.run_id)
    assert told.reason == "waiting_human"
    with pytest.raises(ProviderTaken):
        await desk.sagas.review(BEN, old, version=None, provider_id=FIRST_ID)
    with pytest.raises(Modified):
        await desk.sagas.review(BEN, old, version=1, provider_id=None)
    assert (await desk.sagas.review(BEN, old, version=None, provider_id=None)).approval is None
    assert await desk.engine.result(outcome.approval.run_id, 20) == {"outcome": "released"}

    twin = await desk.register("Twin")
    desk.billing.fates = deque([Fate.UNREACHED] * 3 + [Fate.BEFORE])
    await desk.refused(twin)  # billing may have made one for it
    desk.billing.fates = deque([Fate.AFTER])
    outcome = await desk.approve(adopted)
    assert isinstance(outcome, Pending)
    assert twin in (outcome.approval.note or "")
    assert (await desk.sagas.review(BEN, adopted, version=None, provider_id=FIRST_ID + 2)).provider_id == FIRST_ID + 2

    desk.billing.tells_names = False
    desk.billing.fates = deque([Fate.AFTER])
    outcome = await desk.approve(untold)
    assert isinstance(outcome, Pending)
    assert "does not tell which one" in (outcome.approval.note or "")
    assert len(desk.names) == len(set(desk.names)) == 4


async def test_a_name_that_changed_meanwhile_hides_no_provider(desk: Desk) -> None:
    left, none = await desk.register("Former"), await desk.register("Nothing there")
    desk.billing.fates = deque([*LOST, *[Fate.BEFORE] * 4])
    for candidate_id in (left, none):
        await desk.refused(candidate_id)
        changed = {"company_name": f"New {candidate_id}"}
        await desk.application.providers.candidates.change(ANN, candidate_id, changed, version=None)

    outcome = await desk.approve(left)
    assert isinstance(outcome, Pending)
    assert f"provider {FIRST_ID} of this candidate under its former name 'Former'" in (outcome.approval.note or "")
    assert isinstance(await desk.approve(none), Approved)
    assert desk.names == ["Former", f"New {none}"]


async def test_who_is_rejected_after_a_lost_answer_says_so(desk: Desk) -> None:
    lost, unreached, twice = [await desk.register(f"Company {n}") for n in range(3)]
    reject = desk.application.providers.candidates.reject
    desk.billing.honours_keys = desk.billing.tells_keys = False
    desk.billing.fates = deque([*LOST, *[Fate.UNREACHED] * 4, *LOST, *[Fate.UNREACHED] * 4])
    for candidate_id in (lost, unreached, twice, twice):
        await desk.refused(candidate_id)

    for candidate_id in (lost, unreached, twice):
        await reject(BEN, candidate_id, version=None, reason="no")

    assert (await desk.get(unreached)).approval is None
    for candidate_id, name in ((lost, "Company 0"), (twice, "Company 2")):
        found = await desk.get(candidate_id)
        assert found.status == "rejected"
        assert found.approval is not None
        assert (found.approval.state, found.approval.view()["run_id"]) == ("needs_review", None)
        assert name in (found.approval.note or "")
    with pytest.raises(AlreadyDecided):
        await desk.sagas.review(ANN, lost, version=None, provider_id=FIRST_ID)
    seen = await desk.sagas.review(ANN, lost, version=None, provider_id=None)
    assert (seen.status, seen.approval) == ("rejected", None)
    with pytest.raises(AlreadyDecided):
        await desk.sagas.review(ANN, lost, version=None, provider_id=None)


async def test_a_second_pair_of_eyes(desk: Desk) -> None:
    desk.rule(second=True, expires_hours=1)
    candidate_id, given_up = await desk.register("One"), await desk.register("Two")

    for each in (candidate_id, given_up):
        first = await desk.approve(each)
        assert isinstance(first, Pending)
        assert first.approval.state == "awaiting_second"
        assert first.approval.expires_at is not None
    with pytest.raises(SecondNeeded):
        await desk.approve(candidate_id)
    assert desk.billing.calls["create"] == 0
    ended = await asyncio.gather(*(desk.approve(candidate_id, BEN) for _ in range(3)), return_exceptions=True)
    assert [one for one in ended if isinstance(one, Approved)] == [Approved(candidate_id, FIRST_ID)]
    assert sum(isinstance(one, Modified | AlreadyDecided) for one in ended) == 2

    assert (await desk.sagas.review(BEN, given_up, version=None, provider_id=None)).approval is None
    await desk.application.providers.candidates.reject(BEN, given_up, version=None, reason="no")
    assert desk.names == ["One"]

    desk.rule(second=True, expires_hours=0.00001)
    late = await desk.register("Three")
    assert isinstance(await desk.approve(late), Pending)

    async def open_again() -> bool:
        return (await desk.get(late)).approval is None

    await wait_until_async(open_again, what="the approval to expire")
    expired = await desk.get(late)
    assert (expired.status, expired.failure and expired.failure.message) == (
        "pending", "No second administrator approved in time",
    )  # fmt: skip
    assert await desk.tried(late) is None


async def test_a_cancelled_approval_is_left_to_a_person(desk: Desk) -> None:
    candidate_id = await desk.register()
    desk.billing.fates = deque([Fate.AFTER])
    desk.billing.fate = lambda: Fate.ERROR
    started = await desk.approve(candidate_id, wait=False)
    assert isinstance(started, Pending)
    await desk.state(candidate_id, "waiting_for_billing")

    await desk.engine.control(started.approval.run_id, "cancel")
    found = await desk.state(candidate_id, "needs_review")

    assert found.approval is not None
    assert "ended as cancelled" in (found.approval.note or "")
    assert (await desk.sagas.review(BEN, candidate_id, version=None, provider_id=FIRST_ID)).status == "approved"


async def test_no_connection_is_held_while_billing_answers(desk: Desk) -> None:
    door, inside = asyncio.Event(), 0

    async def spend() -> None:
        nonlocal inside
        inside += 1
        await door.wait()

    desk.billing.spend = spend
    candidates = [await desk.register(f"Company {n}") for n in range(40)]
    working = [asyncio.create_task(desk.approve(candidate_id)) for candidate_id in candidates]

    async def all_inside() -> bool:
        return inside == 40

    await wait_until_async(all_inside, what="forty calls of billing")
    another = await desk.register("Another")
    await desk.application.providers.candidates.reject(ANN, another, version=None, reason=None)
    door.set()

    assert all(isinstance(one, Approved) for one in await asyncio.gather(*working))
    assert len(set(desk.names)) == len(desk.names) == 40


async def test_who_waits_too_long_is_told_where_it_stands(desk: Desk) -> None:
    door = asyncio.Event()

    async def spend() -> None:
        await door.wait()

    desk.rule(wait_seconds=0.1)
    desk.billing.spend = spend
    candidate_id = await desk.register()

    outcome = await desk.approve(candidate_id)
    assert isinstance(outcome, Pending)
    assert outcome.approval.state == "approving"
    door.set()
    assert (await desk.engine.result(outcome.approval.run_id, 20))["outcome"] == "approved"


async def test_nobody_gets_a_provider_that_was_there_before_billing_was_asked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "SKEW_SECONDS", 0)
    desk.billing.honours_keys = desk.billing.tells_keys = False
    candidate_id = await desk.register("Rival")
    desk.billing.make("Rival", "somebody else's")

    assert isinstance(await desk.approve(candidate_id), Pending)
    found = await desk.state(candidate_id, "needs_review")
    assert found.approval is not None
    assert "was there before" in (found.approval.note or "")

    desk.rule(second=True)
    late = await desk.register("Late")
    await desk.approve(late)
    desk.billing.make("Late", "somebody else's, while a second administrator was waited for")
    desk.billing.fates = deque([Fate.BEFORE])
    assert isinstance(await desk.approve(late, BEN), Pending)


async def test_nobody_gets_a_provider_that_may_have_been_made_for_a_candidate_of_another_name_by_now(
    desk: Desk,
) -> None:
    desk.billing.honours_keys = desk.billing.tells_keys = False
    renamed, candidate_id = await desk.register("Fresh"), await desk.register("Fresh")
    desk.billing.fates = deque([Fate.AFTER, Fate.BEFORE, Fate.BEFORE, Fate.BEFORE])
    await desk.refused(renamed)
    change = {"company_name": "Fresher"}
    await desk.application.providers.candidates.change(ANN, renamed, change, version=None)
    desk.billing.fates = deque([Fate.BEFORE])

    assert isinstance(await desk.approve(candidate_id), Pending)
    found = await desk.state(candidate_id, "needs_review")
    assert found.approval is not None
    assert renamed in (found.approval.note or "")


async def test_the_second_administrator_says_whether_to_wait(desk: Desk) -> None:
    desk.rule(second=True)
    patient, hasty = await desk.register("Patient"), await desk.register("Hasty")
    await desk.approve(patient)
    await desk.approve(hasty, wait=False)
    desk.billing.fates = deque([Fate.UNREACHED] * 6)

    assert isinstance(await desk.approve(patient, BEN, wait=False), Pending)
    await wait_until_async(lambda: _approved(desk, patient), what="an approval that goes on")
    desk.billing.fates = deque([Fate.UNREACHED] * 6)
    with pytest.raises(BillingFailed):
        await desk.approve(hasty, BEN)


async def _approved(desk: Desk, candidate_id: str) -> bool:
    return (await desk.get(candidate_id)).status == "approved"


async def test_an_approval_ends_whose_candidate_is_deleted_meanwhile(desk: Desk) -> None:
    door, asked = asyncio.Event(), asyncio.Event()

    async def spend() -> None:
        asked.set()
        await door.wait()

    desk.billing.spend = spend
    going = await desk.approve(await desk.register("Gone"), wait=False)
    assert isinstance(going, Pending)
    await asked.wait()
    await desk.engine.transact(lambda tx: tx.execute("DELETE FROM candidates"))
    door.set()

    told = await desk.engine.result(going.approval.run_id, 60)

    assert told == {"outcome": "superseded", "provider_id": FIRST_ID}
