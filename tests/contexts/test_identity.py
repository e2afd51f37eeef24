"""Who is calling: logins, tokens, service keys, and what they are narrowed down to."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
import sqlalchemy as sa

from tests.support.databases import ON_ONE_DATABASE
from windlass.bootstrap import Application
from windlass.contexts.identity import logins
from windlass.contexts.identity.api import KEEPER, Identity, NotAuthenticated, Rules, TooManyLogins, VirtualKey
from windlass.contexts.identity.passwords import NOBODY
from windlass.contexts.identity.tables import login_failures, service_keys, token_uses, users
from windlass.kernel.actors import DEVELOPER, RUNS_READ, Actor, Forbidden
from windlass.kernel.clock import SECOND
from windlass.kernel.errors import Conflict, Invalid, NotFound, Unavailable

KEY = "k" * 32
OPERATOR = Actor("operator", "ann", role="admin", kind="operator")
WORD = "correct horse"


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def now(self) -> int:
        """Microseconds."""
        return int(self.seconds * SECOND)

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds


@pytest.fixture
def hands() -> Hands:
    """The clock of this test."""
    return Hands()


@pytest.fixture
async def identity(running: Application, hands: Hands) -> AsyncIterator[Identity]:
    """Identity in production with an API key."""
    made = Identity(running.engine, Rules(b"api-key-of-old", development=False, jwt_key=KEY.encode()), hands)
    yield made
    await made.stop()


def bearer(token: str) -> dict[str, str]:
    """The header of a token."""
    return {"authorization": f"Bearer {token}"}


async def test_a_user_logs_in_and_is_known_by_the_token(identity: Identity) -> None:
    added = await identity.add_user(OPERATOR, "Ann", WORD, "acme", "admin", [RUNS_READ])

    token = await identity.login("ANN", WORD)
    actor = (await identity.recognise(bearer(token.access_token))).actor

    assert (added.user.user_id, added.new_tenant, token.expires_in) == ("1", True, 1800)
    assert actor == Actor("1", "Ann", "acme", "admin", frozenset({RUNS_READ}), "user")
    claims = jwt.decode(token.access_token, options={"verify_signature": False})
    assert claims.keys() == {"sub", "username", "role", "tenant", "type", "ver", "iat", "exp", "jti", "sid"}
    assert (claims["sub"], claims["role"], claims["tenant"]) == ("1", "admin", "acme")
    assert claims["exp"] - claims["iat"] == 1800
    assert (await identity.get_user("ann")).last_login_at is not None


async def test_a_name_is_taken_in_whatever_case(identity: Identity) -> None:
    await identity.add_user(OPERATOR, "Ann", WORD)

    with pytest.raises(Conflict, match="already"):
        await identity.add_user(OPERATOR, "aNN", WORD)
    outcomes = await asyncio.gather(
        *(identity.add_user(OPERATOR, "bob", WORD) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3
    assert [user.username for user in await identity.list_users()] == ["Ann", "bob"]
    assert await identity.list_users("acme") == []


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "given,field",
    [
        ({"username": ""}, "username"),
        ({"username": " ann"}, "username"),
        ({"username": "a\0b"}, "username"),
        ({"username": "a\ud800"}, "username"),
        ({"username": "x" * 256}, "username"),
        ({"username": "42"}, "username"),
        ({"username": "\uff14\uff12"}, "username"),
        ({"username": "Role:admin"}, "username"),
        ({"username": "KEY:1"}, "username"),
        ({"username": "dev"}, "username"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"tenant_id": "no tenant"}, "tenant"),
        ({"role": "root"}, "role"),
        ({"permissions": ["workflow.runs.read"]}, "permissions"),
    ],
)
async def test_what_is_no_user_is_refused_by_field(identity: Identity, given: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        await identity.add_user(OPERATOR, **{"username": "ann", "password": WORD, **given})

    assert refused.value.data == {"field": field}
    assert await identity.list_users() == []


@pytest.mark.production_passwords
async def test_wrong_names_and_wrong_passwords_are_one_answer_and_one_work(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    await identity.add_user(OPERATOR, "ann", WORD)
    await identity.add_user(OPERATOR, "gone", WORD)
    await identity.change_user(OPERATOR, "gone", is_active=False)
    compared: list[str] = []
    fits = identity._passwords._fits

    def counted(kept: str, word: str) -> bool:
        compared.append(kept)
        return fits(kept, word)

    monkeypatch.setattr(identity._passwords, "_fits", counted)

    for name, word in (("ann", "wrong"), ("nobody", WORD), ("gone", WORD), ("a\0b", WORD), ("\ud800", "")):
        with pytest.raises(NotAuthenticated, match=r"^Incorrect username or password$"):
            await identity.login(name, word)

    assert len(compared) == 5
    assert compared.count(NOBODY) == 3
    assert not identity._passwords.is_dated(NOBODY)


async def test_wrong_passwords_make_the_next_try_wait(
    identity: Identity, hands: Hands, running: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    await identity.add_user(OPERATOR, "ann", WORD)
    monkeypatch.setattr(identity._passwords, "_fits", lambda _kept, word: word == WORD)
    for name in ("ann", "nobody"):
        waits = []
        for _ in range(logins.FREE):
            with pytest.raises(NotAuthenticated):
                await identity.login(name, "wrong")
        for _ in range(8):
            with pytest.raises(NotAuthenticated):
                await identity.login(name, "wrong")
            with pytest.raises(TooManyLogins) as told:
                await identity.login(name, WORD)
            waits.append(round(told.value.retry_after))
            hands.seconds += told.value.retry_after
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60]

    assert (await identity.login("ann", WORD)).access_token
    with pytest.raises(NotAuthenticated):
        await identity.login("ann", "wrong")
    assert (await identity.login("ann", WORD)).access_token

    hands.seconds += logins.REMEMBERED_SECONDS
    await identity.tidy()
    assert await running.engine.read(lambda c: c.execute(sa.select(login_failures)).all()) == []


async def test_guesses_side_by_side_count_one_by_one(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    await identity.add_user(OPERATOR, "ann", WORD)
    monkeypatch.setattr(identity._passwords, "_fits", lambda _kept, word: word == WORD)

    outcomes = await asyncio.gather(*(identity.login("ann", "wrong") for _ in range(30)), return_exceptions=True)

    assert sum(isinstance(outcome, NotAuthenticated) for outcome in outcomes) == logins.FREE + 1
    assert sum(isinstance(outcome, TooManyLogins) for outcome in outcomes) == 30 - logins.FREE - 1
    crowd = await asyncio.gather(*(identity.login("bob", "wrong") for _ in range(60)), return_exceptions=True)
    assert sum(isinstance(outcome, Unavailable) for outcome in crowd) == 60 - logins.MOST_IN_TURN


def altered(token: str, **claims: Any) -> str:
    """A token with other claims under the old signature."""
    head, _, signature = token.split(".")
    said = jwt.decode(token, options={"verify_signature": False}) | claims
    body = base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


def signed(claims: dict[str, Any]) -> str:
    """A token whose claims nobody looked at before they were signed."""
    return jwt.PyJWS().encode(json.dumps(claims).encode(), KEY, "HS256")


def resigned(claims: dict[str, Any], algorithm: str, **head: Any) -> str:
    """A token signed as HS256 whose header says what it likes."""
    parts = [json.dumps({"alg": algorithm, "typ": "JWT", **head}), json.dumps(claims)]
    text = ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
    signature = hmac.digest(KEY.encode(), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


FORGERIES: dict[str, Callable[[str, dict[str, Any]], str]] = {
    "no algorithm": lambda _, said: jwt.encode(said, None, "none"),  # type: ignore[arg-type]  # nothing signs it
    "another algorithm": lambda _, said: jwt.encode(said, KEY * 2, "HS512"),
    "another key": lambda _, said: jwt.encode(said, "x" * 32, "HS256"),
    "other claims": lambda token, _: altered(token, role="admin"),
    "no end": lambda _, said: jwt.encode({k: v for k, v in said.items() if k != "exp"}, KEY, "HS256"),
    "an end that is no number": lambda _, said: signed({**said, "exp": "never"}),
    "no end to its end": lambda _, said: signed({**said, "exp": float("inf")}),
    "not yet": lambda _, said: jwt.encode({**said, "nbf": said["exp"]}, KEY, "HS256"),
    "no id": lambda _, said: jwt.encode({k: v for k, v in said.items() if k != "jti"}, KEY, "HS256"),
    "no access token": lambda _, said: jwt.encode({**said, "type": "refresh"}, KEY, "HS256"),
    "nobody": lambda _, said: jwt.encode({**said, "sub": "77"}, KEY, "HS256"),
    "no user at all": lambda _, said: jwt.encode({**said, "sub": "ann@example.com"}, KEY, "HS256"),
    "an older password": lambda _, said: jwt.encode({**said, "ver": 0}, KEY, "HS256"),
    "a quota that is none": lambda _, said: jwt.encode({**said, "max_runs": True}, KEY, "HS256"),
    "half of it": lambda token, _: token[: len(token) // 2],
    "no token": lambda _, __: "...",
    "too long": lambda token, _: token + "x" * 9000,
    "a key that is not ours": lambda _, said: jwt.encode(said, KEY, "HS256", {"kid": "0" * 16}),
    "a public key's algorithm": lambda _, said: resigned(said, "RS256"),
    "a name of a key that is none": lambda _, said: resigned(said, "HS256", kid=7),
    "an end of long ago": lambda _, said: jwt.encode({**said, "exp": said["iat"] - 1}, KEY, "HS256"),
    "8 kB of claims": lambda _, said: jwt.encode({**said, "more": "x" * 8192}, KEY, "HS256"),
    "not ASCII": lambda _, __: "münzen.a.b",
}


@ON_ONE_DATABASE
@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token_is_refused(identity: Identity, forgery: str) -> None:
    await identity.add_user(OPERATOR, "ann", WORD)
    token = (await identity.login("ann", WORD)).access_token
    said = jwt.decode(token, options={"verify_signature": False})
    assert (await identity.recognise(bearer(jwt.encode(said, KEY, "HS256")))).actor.username == "ann"

    with pytest.raises(NotAuthenticated, match=r"^Could not validate credentials$"):
        await identity.recognise(bearer(FORGERIES[forgery](token, said)))


async def test_a_token_ends(identity: Identity, hands: Hands) -> None:
    await identity.add_user(OPERATOR, "ann", WORD)
    token = (await identity.login("ann", WORD)).access_token
    hands.seconds += 1799
    await identity.recognise(bearer(token))

    hands.seconds += 1
    with pytest.raises(NotAuthenticated):
        await identity.recognise(bearer(token))


async def test_a_disabled_user_is_out(identity: Identity, running: Application, hands: Hands) -> None:
    """At once in the process that did it, in others when what they looked up is no longer believed."""
    other = Identity(running.engine, identity.rules, hands)
    await identity.add_user(OPERATOR, "ann", WORD)
    headers = bearer((await identity.login("ann", WORD)).access_token)
    assert (await other.recognise(headers)).actor.username == "ann"

    await identity.change_user(OPERATOR, "ann", is_active=False)

    with pytest.raises(NotAuthenticated):
        await identity.recognise(headers)
    assert (await other.recognise(headers)).actor.username == "ann"
    hands.seconds += identity.rules.cache_seconds
    with pytest.raises(NotAuthenticated):
        await other.recognise(headers)

    await identity.change_user(OPERATOR, "ann", is_active=True)
    with pytest.raises(NotAuthenticated):
        await identity.recognise(headers)
    await identity.login("ann", WORD)


async def test_a_new_password_ends_the_tokens_of_before(identity: Identity) -> None:
    await identity.add_user(OPERATOR, "ann", WORD)
    headers = bearer((await identity.login("ann", WORD)).access_token)

    await identity.set_password(OPERATOR, "Ann", "another one")

    for attempt in (identity.recognise(headers), identity.login("ann", WORD)):
        with pytest.raises(NotAuthenticated):
            await attempt
    assert (await identity.login("ann", "another one")).access_token


async def test_rights_are_those_of_the_table(identity: Identity) -> None:
    await identity.add_user(OPERATOR, "ann", WORD, permissions=[RUNS_READ])
    headers = bearer((await identity.login("ann", WORD)).access_token)

    changed = await identity.change_user(OPERATOR, "ann", role="admin", grant=["workflows.admin"], revoke=[RUNS_READ])

    assert (changed.role, changed.permissions) == ("admin", ("workflows.admin",))
    assert (await identity.recognise(headers)).actor.permissions == {"workflows.admin"}
    assert await identity.change_user(OPERATOR, "ann", role="admin") == changed
    with pytest.raises(Invalid, match="at once"):
        await identity.change_user(OPERATOR, "ann", grant=[RUNS_READ], revoke=[RUNS_READ])
    for name in ("bob", "a\0b"):
        with pytest.raises(NotFound):
            await identity.change_user(OPERATOR, name, role="admin")


async def test_the_api_key_is_an_administrator(identity: Identity) -> None:
    assert (await identity.recognise({"x-api-key": "api-key-of-old"})).actor == KEEPER
    for headers, text in (
        ({}, "Not authenticated"),
        ({"x-api-key": "api-key-of-olf"}, "Could not validate credentials"),
        ({"x-api-key": "ü"}, "Could not validate credentials"),
        ({"authorization": "Basic YTpi"}, "Not authenticated"),
        ({"authorization": "Bearer "}, "Not authenticated"),
    ):
        with pytest.raises(NotAuthenticated, match=f"^{text}$"):
            await identity.recognise(headers)


async def test_in_development_without_a_key_everybody_is_the_developer(running: Application) -> None:
    identity = running.identity
    await identity.add_user(OPERATOR, "ann", WORD)
    token = (await identity.login("ann", WORD)).access_token

    for headers in ({}, {"x-api-key": ""}, {"x-api-key": "whatever"}, {"authorization": "Bearer "}):
        assert (await identity.recognise(headers)).actor == DEVELOPER
    assert (await identity.recognise(bearer(token))).actor.username == "ann"
    for headers in (bearer("nonsense"), {"x-api-key": "wk_nonsense"}):
        with pytest.raises(NotAuthenticated):
            await identity.recognise(headers)


async def test_processes_of_development_share_a_secret(running: Application) -> None:
    await running.identity.add_user(OPERATOR, "ann", WORD)
    token = (await running.identity.login("ann", WORD)).access_token
    other = Identity(running.engine, Rules())

    assert (await other.recognise(bearer(token))).actor.username == "ann"


async def test_a_short_secret_signs_in_development(running: Application) -> None:
    identity = Identity(running.engine, Rules(jwt_key=b"dev"))
    await identity.add_user(OPERATOR, "ann", WORD)

    token = (await identity.login("ann", WORD)).access_token

    assert (await identity.recognise(bearer(token))).actor.username == "ann"


async def test_nobody_logs_in_with_a_single_user(running: Application) -> None:
    identity = Identity(running.engine, Rules(b"key", jwt_key=KEY.encode(), single_user=True))
    others = Identity(running.engine, Rules(b"key", jwt_key=KEY.encode()))
    await identity.add_user(OPERATOR, "ann", WORD)
    token = (await others.login("ann", WORD)).access_token

    with pytest.raises(Invalid, match="AUTH_MODE=single_user"):
        await identity.login("ann", WORD)
    with pytest.raises(NotAuthenticated):
        await identity.recognise(bearer(token))
    with pytest.raises(Invalid):
        await identity.mint_for("1", VirtualKey())
    assert (await identity.recognise({"x-api-key": "key"})).actor == KEEPER


async def test_a_service_key_is_shown_once_and_can_be_revoked(
    identity: Identity, running: Application, hands: Hands
) -> None:
    added = await identity.add_key(OPERATOR, "the nightly job", "acme", [RUNS_READ])
    wanted = Actor(f"key:{added.key.key_id}", "the nightly job", "acme", "user", frozenset({RUNS_READ}), "service_key")
    other = Identity(running.engine, identity.rules, hands)

    assert (await identity.recognise({"x-api-key": added.text})).actor == wanted
    assert (await identity.recognise(bearer(added.text))).actor == wanted
    kept = await running.engine.read(lambda c: c.execute(sa.select(service_keys)).all())
    assert added.text.split("_", 2)[2] not in str(kept)
    assert (await other.recognise({"x-api-key": added.text})).actor == wanted
    for text in (f"{added.text[:-1]}{'a' if added.text[-1] != 'a' else 'b'}", "wk_", f"wk_{'0' * 12}_{'x' * 43}"):
        with pytest.raises(NotAuthenticated):
            await identity.recognise({"x-api-key": text})

    assert await identity.revoke_key(OPERATOR, added.key.key_id)
    assert not await identity.revoke_key(OPERATOR, added.key.key_id)
    with pytest.raises(NotAuthenticated):
        await identity.recognise({"x-api-key": added.text})
    hands.seconds += identity.rules.cache_seconds
    with pytest.raises(NotAuthenticated):
        await other.recognise({"x-api-key": added.text})
    with pytest.raises(NotFound):
        await identity.revoke_key(OPERATOR, "nope")
    assert [key.revoked_at is not None for key in await identity.list_keys("acme")] == [True]


async def test_a_service_key_can_have_an_end(identity: Identity, hands: Hands) -> None:
    added = await identity.add_key(OPERATOR, "job", days=0.5)
    hands.seconds += 43_199
    assert (await identity.recognise({"x-api-key": added.text})).actor.kind == "service_key"

    hands.seconds += 1
    with pytest.raises(NotAuthenticated):
        await identity.recognise({"x-api-key": added.text})
    for days in (0, -1, 1e9):
        with pytest.raises(Invalid):
            await identity.add_key(OPERATOR, "job", days=days)


async def test_a_known_caller_costs_no_query(
    identity: Identity, running: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = await identity.add_key(OPERATOR, "job")
    await identity.add_user(OPERATOR, "ann", WORD)
    token = (await identity.login("ann", WORD)).access_token
    reads: list[object] = []
    read = running.engine.read

    def counted(fn: Callable[[Any], Any]) -> Any:
        reads.append(fn)
        return read(fn)

    monkeypatch.setattr(running.engine, "read", counted)

    for headers in ({"x-api-key": added.text}, bearer(token)):
        await asyncio.gather(*(identity.recognise(headers) for _ in range(50)))
        assert (await identity.recognise(headers)).actor.kind in {"service_key", "user"}
    assert len(reads) == 3


async def test_a_virtual_key_carries_what_it_is_narrowed_down_to(identity: Identity, hands: Hands) -> None:
    await identity.add_user(OPERATOR, "ann", WORD, role="admin")
    ann = (await identity.recognise(bearer((await identity.login("ann", WORD)).access_token))).actor

    minted = await identity.mint(
        ann,
        VirtualKey(5, "workflows", "s1", ["workflows.run_saved"], ["POST"], ["/api/v1/workflows"], 3, 9),
    )
    actor, grant = await identity.recognise(bearer(minted.token))

    assert (actor.user_id, actor.role, actor.kind) == ("1", "admin", "virtual_key")
    assert grant is not None
    assert (grant.scope, grant.schedule_id, grant.endpoints) == ("workflows", "s1", ("workflows.run_saved",))
    assert (grant.methods, grant.paths, grant.max_runs, grant.max_calls) == (("POST",), ("/api/v1/workflows",), 3, 9)
    assert (minted.scope, minted.schedule_id) == ("workflows", "s1")
    for nobody in (KEEPER, DEVELOPER, Actor("key:1", "job")):
        with pytest.raises(Invalid):
            await identity.mint(nobody, VirtualKey())

    lesser = await identity.mint_for("1", VirtualKey())
    assert (await identity.recognise(bearer(lesser.token))).actor.role == "user"
    await identity.change_user(OPERATOR, "ann", role="user")
    assert (await identity.recognise(bearer(minted.token))).actor.role == "user"
    hands.seconds += 300
    with pytest.raises(NotAuthenticated):
        await identity.recognise(bearer(minted.token))


async def test_uses_are_counted_on_disk_and_over_processes(
    identity: Identity, running: Application, hands: Hands
) -> None:
    await identity.add_user(OPERATOR, "ann", WORD)
    token = (await identity.mint_for("1", VirtualKey(max_runs=3, max_calls=5))).token
    grant = (await identity.recognise(bearer(token))).grant
    assert grant is not None
    other = Identity(running.engine, identity.rules, hands)

    outcomes = await asyncio.gather(
        *(one.spend(grant, runs=1) for one in (identity, other) * 4), return_exceptions=True
    )

    assert sum(outcome is None for outcome in outcomes) == 3
    assert {str(outcome) for outcome in outcomes if outcome} == {"Forbidden: token quota exceeded"}
    await identity.spend(grant)
    await identity.spend(grant)
    with pytest.raises(Forbidden):
        await other.spend(grant)

    hands.seconds += 3600
    await identity.tidy()
    assert await running.engine.read(lambda c: c.execute(sa.select(token_uses)).all()) == []


async def test_no_use_at_all_is_a_quota_too(identity: Identity) -> None:
    await identity.add_user(OPERATOR, "ann", WORD)
    grant = (await identity.recognise(bearer((await identity.mint_for("1", VirtualKey(max_runs=0))).token))).grant
    assert grant is not None

    with pytest.raises(Forbidden):
        await identity.spend(grant, runs=1)
    await identity.spend(grant)


@pytest.mark.production_passwords
async def test_old_hashes_are_made_anew_at_a_login(identity: Identity, running: Application) -> None:
    from argon2 import PasswordHasher

    await identity.add_user(OPERATOR, "ann", WORD)
    weak = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(WORD)
    await running.engine.transact(lambda tx: tx.execute("UPDATE users SET password_hash = :weak", {"weak": weak}))

    await identity.login("ann", WORD)

    [kept] = await running.engine.read(lambda c: c.execute(sa.select(users.c.password_hash)).scalars().all())
    assert kept != weak
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    await identity.login("ann", WORD)
