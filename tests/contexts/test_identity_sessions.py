"""Logins that go on and end: refresh tokens, logout, two keys at once, and the administrator of development."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import jwt
import pytest
import sqlalchemy as sa

from tests.contexts.test_identity import KEY, OPERATOR, WORD, Hands, bearer
from windlass.bootstrap import Application
from windlass.contexts.identity import seeds, sessions
from windlass.contexts.identity.api import AuditQuery, Identity, NotAuthenticated, Rules, Token, VirtualKey
from windlass.contexts.identity.service import TIDY_ROWS
from windlass.contexts.identity.tables import ended_tokens, login_sessions, users
from windlass.kernel.clock import SECOND
from windlass.kernel.errors import Invalid

RULES = Rules(b"api-key-of-old", development=False, jwt_key=KEY.encode())
NEXT = "n" * 32


@pytest.fixture
def hands() -> Hands:
    """The clock of this test."""
    return Hands()


@pytest.fixture
async def identity(running: Application, hands: Hands) -> AsyncIterator[Identity]:
    """Identity in production with a user who may log in."""
    made = Identity(running.engine, RULES, hands)
    await made.add_user(OPERATOR, "ann", WORD)
    yield made
    await made.stop()


async def refused(identity: Identity, *tokens: Token) -> bool:
    """Whether none of the tokens lets anybody in, neither the bearer tokens nor those for further ones."""
    attempts = [identity.recognise(bearer(one.access_token)) for one in tokens]
    outcomes: list[object] = [*await asyncio.gather(*attempts, return_exceptions=True)]
    for one in tokens:
        outcomes += await asyncio.gather(identity.refresh(one.refresh_token), return_exceptions=True)
    return all(
        isinstance(outcome, NotAuthenticated) and str(outcome) == "Could not validate credentials"
        for outcome in outcomes
    )


async def actions(identity: Identity) -> list[str]:
    """What the audit log tells beside users that were added, the latest first."""
    told = [entry["action"] for entry in await identity.entries(AuditQuery())]
    return [action for action in told if not action.startswith("user.")]


async def test_a_refresh_token_gets_the_next_and_is_spent(
    identity: Identity, running: Application, hands: Hands
) -> None:
    first = await identity.login("ann", WORD)
    hands.seconds += 1800
    second = await identity.refresh(first.refresh_token)
    third = await identity.refresh(second.refresh_token)

    assert len({one.refresh_token for one in (first, second, third)}) == 3
    assert (await identity.recognise(bearer(third.access_token))).actor.username == "ann"
    kept = await running.engine.read(lambda c: c.execute(sa.select(login_sessions)).all())
    assert len(kept) == 1
    assert third.refresh_token.split("_", 2)[2] not in str(kept)
    hands.seconds += RULES.session_seconds - 1800
    assert await refused(identity, third)
    await identity.tidy()
    assert await running.engine.read(lambda c: c.execute(sa.select(login_sessions)).all()) == []


async def test_a_copied_refresh_token_ends_the_login_for_both(
    identity: Identity, running: Application, hands: Hands
) -> None:
    other = Identity(running.engine, RULES, hands)
    first, elsewhere = await identity.login("ann", WORD), await identity.login("ann", WORD)
    second = await identity.refresh(first.refresh_token)
    for one in (identity, other):
        await one.recognise(bearer(second.access_token))

    with pytest.raises(NotAuthenticated):
        await identity.refresh(first.refresh_token, "r-1")

    hands.seconds += RULES.cache_seconds
    assert await refused(identity, first, second)
    assert await refused(other, first, second)
    [entry] = await identity.entries(AuditQuery(action="session.reuse"))
    assert (entry["actor"]["name"], entry["request_id"]) == ("ann", "r-1")
    assert (await identity.refresh(elsewhere.refresh_token)).access_token


async def test_of_two_who_come_with_one_refresh_token_one_is_in_until_it_shows(identity: Identity) -> None:
    token = await identity.login("ann", WORD)

    outcomes = await asyncio.gather(
        *(identity.refresh(token.refresh_token) for _ in range(4)), return_exceptions=True
    )  # fmt: skip

    [fresh] = [outcome for outcome in outcomes if isinstance(outcome, Token)]
    assert await refused(identity, fresh)
    assert await actions(identity) == ["session.reuse"]


async def test_a_login_ends_in_every_process(identity: Identity, running: Application, hands: Hands) -> None:
    other = Identity(running.engine, RULES, hands)
    old = await identity.login("ann", WORD)
    new = await identity.refresh(old.refresh_token)
    elsewhere = await identity.login("ann", WORD)
    for one in (old, new):
        await other.recognise(bearer(one.access_token))

    await identity.logout(bearer(old.access_token), None, "r-2")

    assert await refused(identity, old, new)
    assert (await other.recognise(bearer(old.access_token))).actor.username == "ann"
    hands.seconds += RULES.cache_seconds
    assert await refused(other, old, new)
    assert (await other.recognise(bearer(elsewhere.access_token))).actor.username == "ann"
    await identity.logout(bearer(old.access_token))
    await identity.logout({}, elsewhere.refresh_token)
    assert await refused(identity, elsewhere)
    assert await actions(identity) == ["session.end", "session.end"]
    hands.seconds += sessions.LONGEST_TOKEN_SECONDS
    await identity.tidy()
    assert await running.engine.read(lambda c: c.execute(sa.select(ended_tokens)).all()) == []


async def test_what_cannot_log_out_is_told_so(identity: Identity) -> None:
    token = await identity.login("ann", WORD)
    minted = (await identity.mint_for("1", VirtualKey())).token
    await identity.logout(bearer(minted))
    with pytest.raises(NotAuthenticated):
        await identity.recognise(bearer(minted))
    assert (await identity.recognise(bearer(token.access_token))).actor.username == "ann"
    key = (await identity.add_key(OPERATOR, "job")).text
    with pytest.raises(Invalid, match="revoke it"):
        await identity.logout(bearer(key))
    for headers, refresh_token, said in (
        ({}, None, "Not authenticated"),
        (bearer("nonsense"), None, "Could not validate credentials"),
        ({}, "nonsense", "Could not validate credentials"),
        ({}, f"wr_{'0' * 32}_{'x' * 43}", "Could not validate credentials"),
        (bearer("nonsense"), "x" * 10_000, "Could not validate credentials"),
    ):
        with pytest.raises(NotAuthenticated, match=f"^{said}$"):
            await identity.logout(headers, refresh_token)


@pytest.mark.parametrize("end", ["disable", "password"])
async def test_a_login_ends_with_its_user(identity: Identity, end: str) -> None:
    token = await identity.login("ann", WORD)

    if end == "disable":
        await identity.change_user(OPERATOR, "ann", is_active=False)
        await identity.change_user(OPERATOR, "ann", is_active=True)
    else:
        await identity.set_password(OPERATOR, "ann", "another one")

    assert await refused(identity, token)


async def test_what_has_expired_goes_in_batches(identity: Identity, running: Application, hands: Hands) -> None:
    rows = [(f"{number:032x}", hands.now()) for number in range(2 * TIDY_ROWS + 1)]
    later = [("later", hands.now() + SECOND)]
    await running.engine.transact(lambda tx: tx.insert_rows(ended_tokens, ("id", "expires_at"), rows + later))
    sizes: list[int] = []
    forget = identity._forget

    def counted(table: sa.Table, tx: object) -> int:
        sizes.append(forget(table, tx))  # type: ignore[arg-type]  # it is a transaction
        return sizes[-1]

    identity._forget = counted  # type: ignore[method-assign]
    await identity.tidy()

    assert [size for size in sizes if size] == [TIDY_ROWS, TIDY_ROWS, 1]
    assert await running.engine.read(lambda c: c.execute(sa.select(ended_tokens.c.id)).scalars().all()) == ["later"]


async def test_two_keys_are_read_and_the_first_signs(identity: Identity, running: Application, hands: Hands) -> None:
    """As docs/howto says: the next key is read everywhere before it signs anywhere, the former one is read on."""
    announced = Identity(running.engine, replace(RULES, jwt_previous_key=NEXT.encode()), hands)
    swapped = Identity(running.engine, replace(RULES, jwt_key=NEXT.encode(), jwt_previous_key=KEY.encode()), hands)
    alone = Identity(running.engine, replace(RULES, jwt_key=NEXT.encode()), hands)
    old, new = await announced.login("ann", WORD), await swapped.login("ann", WORD)
    kids = [jwt.get_unverified_header(one.access_token)["kid"] for one in (old, new)]

    for one in (announced, swapped):
        for token in (old, new):
            assert (await one.recognise(bearer(token.access_token))).actor.username == "ann"
    assert kids[0] != kids[1]
    said = jwt.decode(old.access_token, options={"verify_signature": False})
    nameless = jwt.encode(said, KEY, "HS256")
    assert (await swapped.recognise(bearer(nameless))).actor.username == "ann"
    crossed = [jwt.encode(said, KEY, "HS256", {"kid": kid}) for kid in (kids[1], "f" * 16)]
    for one, forged in ((identity, new.access_token), (alone, old.access_token), *((swapped, it) for it in crossed)):
        with pytest.raises(NotAuthenticated):
            await one.recognise(bearer(forged))
    assert (await alone.refresh(old.refresh_token)).access_token


async def test_the_administrator_of_development_is_nobody_elsewhere(
    running: Application, identity: Identity, hands: Hands
) -> None:
    dev = Identity(running.engine, Rules(jwt_key=KEY.encode()), hands)
    with pytest.raises(NotAuthenticated):
        await identity.login(seeds.NAME, seeds.PASSWORD)
    with pytest.raises(NotAuthenticated):
        await dev.login(seeds.NAME, "admin124")
    assert [user.username for user in await dev.list_users()] == ["ann"]

    outcomes = await asyncio.gather(*(dev.login("Admin@Example.com", seeds.PASSWORD) for _ in range(3)))
    actor = (await dev.recognise(bearer(outcomes[0].access_token))).actor
    minted = await dev.mint(actor, VirtualKey())

    assert (actor.username, actor.role) == (seeds.NAME, "admin")
    assert (await dev.get_user(seeds.NAME)).seeded
    assert await refused(identity, *outcomes)
    for attempt in (identity.login(seeds.NAME, seeds.PASSWORD), identity.recognise(bearer(minted.token))):
        with pytest.raises(NotAuthenticated):
            await attempt
    await identity.set_password(OPERATOR, seeds.NAME, "a word of its own")
    hands.seconds += 60
    assert (await identity.login(seeds.NAME, "a word of its own")).access_token
    with pytest.raises(NotAuthenticated):
        await dev.login(seeds.NAME, seeds.PASSWORD)


async def test_a_user_of_that_name_is_not_replaced(running: Application) -> None:
    dev = running.identity
    await dev.add_user(OPERATOR, seeds.NAME, WORD)

    with pytest.raises(NotAuthenticated):
        await dev.login(seeds.NAME, seeds.PASSWORD)

    assert (await dev.login(seeds.NAME, WORD)).access_token
    kept = await running.engine.read(lambda c: c.execute(sa.select(users.c.seeded)).scalars().all())
    assert [bool(seeded) for seeded in kept] == [False]
