"""What another service says of a user: believed when it is signed, meant for us, of now, and for this very login."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.contexts.test_identity import KEY, OPERATOR, WORD, Hands, bearer
from tests.support.waiting import wait_until_async
from windlass.bootstrap import Application
from windlass.contexts.identity import seeds
from windlass.contexts.identity.api import AuditQuery, Identity, NotAuthenticated, Provider, Rules, Token
from windlass.contexts.identity.provider import AWAY, LEAST_SECONDS, ProviderClient
from windlass.contexts.identity.tables import external_users
from windlass.kernel.actors import Forbidden
from windlass.kernel.errors import NotFound, Unavailable

ISSUER = "https://login.example"
BACK = "https://windlass.example/auth/oidc/callback"
RULES = Rules(development=False, jwt_key=KEY.encode())
RSA_KEY, OTHER_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class Site:
    """A provider that says what a test wants it to say, in place of what the network would bring."""

    def __init__(self) -> None:
        self.keys = [self.key(RSA_KEY.public_key(), "one")]
        self.said: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize?tenant=1",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
        }
        self.tokens: dict[str, Any] = {}
        self.user_info: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.stalled: asyncio.Event | None = None

    @staticmethod
    def key(public: Any, kid: str, **more: str) -> dict[str, Any]:
        """A published key."""
        kind = jwt.algorithms.RSAAlgorithm if isinstance(public, rsa.RSAPublicKey) else jwt.algorithms.ECAlgorithm
        return {**json.loads(kind.to_jwk(public)), "kid": kid, "use": "sig", **more}

    async def ask(
        self, method: str, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        """Answer."""
        self.asked.append((url, dict(form or {}), dict(headers or {})))
        if self.stalled is not None:
            await self.stalled.wait()
        if self.stalled is not None or url.endswith("/broken"):
            raise Unavailable(f"{AWAY}: TimeoutError: ")
        answers: dict[str, Any] = {
            "/.well-known/openid-configuration": self.said,
            "/keys": {"keys": self.keys},
            "/token": {"id_token": self.tokens.get((form or {}).get("code", "")), "access_token": "at"},
            "/userinfo": self.user_info,
        }
        found: Mapping[str, Any] = answers[urlsplit(url).path]
        return found


@pytest.fixture
def hands() -> Hands:
    """The clock of this test."""
    return Hands()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """The provider."""
    made = Site()
    monkeypatch.setattr(ProviderClient, "_ask", lambda _client, *args, **named: made.ask(*args, **named))
    return made


@pytest.fixture
async def identity(running: Application, hands: Hands) -> AsyncIterator[Identity]:
    """Identity with a provider."""
    provider = Provider(ISSUER, "windlass", "s3cret", role_claim="realm.roles", admin_values=("boss",))
    made = Identity(running.engine, RULES, hands, provider)
    yield made
    await made.stop()


def usual(nonce: str, now: float) -> dict[str, Any]:
    """What a provider says of Ann."""
    return {
        "iss": ISSUER, "sub": "a-1", "aud": "windlass", "exp": now + 300, "iat": now, "nonce": nonce,
        "email": "ann@example.com", "email_verified": True, "realm": {"roles": ["boss", "user"]},
    }  # fmt: skip


async def log_in(identity: Identity, site: Site, hands: Hands, sign: Any = None, **other: Any) -> Any:
    """Log in once; ``other`` are claims (None takes one away), ``sign`` makes the token of the claims."""
    begun = await identity.begin_external_login(BACK)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.address).query).items()}
    claims = {**usual(asked["nonce"], hands.seconds), **other}
    claims = {name: value for name, value in claims.items() if value is not None}
    site.tokens[asked["state"]] = (sign or (lambda said: jwt.encode(said, RSA_KEY, "RS256", {"kid": "one"})))(claims)
    return await identity.finish_external_login(begun.kept, {"code": asked["state"], "state": asked["state"]}, "r-1")


async def test_who_logs_in_elsewhere_becomes_a_user_once(
    identity: Identity, site: Site, hands: Hands, running: Application
) -> None:
    begun = await identity.begin_external_login(BACK)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.address).query).items()}
    token = await log_in(identity, site, hands)

    assert begun.address.startswith(f"{ISSUER}/authorize?tenant=1&")
    assert (asked["response_type"], asked["client_id"], asked["redirect_uri"]) == ("code", "windlass", BACK)
    assert (asked["scope"], asked["code_challenge_method"]) == ("openid email profile", "S256")
    [(_, form, headers)] = [one for one in site.asked if one[0].endswith("/token")]
    assert (form["grant_type"], form["redirect_uri"]) == ("authorization_code", BACK)
    assert form["code"] in site.tokens
    assert headers["Authorization"] == f"Basic {base64.b64encode(b'windlass:s3cret').decode()}"
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() not in begun.address  # each login has its own
    actor = (await identity.recognise(bearer(token.access_token))).actor
    assert (actor.username, actor.role, actor.kind) == ("ann@example.com", "admin", "user")
    asked_people, alone = (
        ["ann@example.com", "later@example.com", actor.user_id, "999"],
        Identity(running.engine, RULES),
    )
    unknown = await running.engine.read(
        lambda connection: [one.strangers(connection, "default", asked_people) for one in (identity, alone)]
    )
    assert unknown == [["999"], ["later@example.com", "999"]], "who has not come yet may be asked"
    for word in ("", "admin123", WORD):
        with pytest.raises(NotAuthenticated):
            await identity.login("ann@example.com", word)

    again = await log_in(identity, site, hands, email="ann@other.example", realm={"roles": "user"})

    known = (await identity.recognise(bearer(again.access_token))).actor
    assert (known.user_id, known.username, known.role) == (actor.user_id, "ann@example.com", "user")
    assert (await identity.refresh(again.refresh_token)).access_token
    told = [(entry["action"], entry["request_id"]) for entry in await identity.entries(AuditQuery())]
    assert told == [("user.change", "r-1"), ("user.add", "r-1")]
    kept = await running.engine.read(lambda c: c.execute(sa.select(external_users)).all())
    assert [(row.issuer, row.subject, str(row.user_id)) for row in kept] == [(ISSUER, "a-1", actor.user_id)]


def altered(token: str, **head: Any) -> str:
    """A token with another header under the old signature."""
    _, body, signature = token.split(".")
    said = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": "one", **head}).encode()).rstrip(b"=").decode()
    return f"{said}.{body}.{signature}"


def confused(said: dict[str, Any]) -> str:
    """A token signed as HS256 by the public key, which everybody has."""
    import hmac

    parts = [json.dumps({"alg": "HS256", "kid": "one"}), json.dumps(said)]
    text = ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
    return f"{text}.{base64.urlsafe_b64encode(hmac.digest(PEM, text.encode(), 'sha256')).rstrip(b'=').decode()}"


LIES: dict[str, dict[str, Any]] = {
    "another nonce": {"nonce": "x"},
    "no nonce": {"nonce": None},
    "another audience": {"aud": "somebody"},
    "no audience": {"aud": None},
    "two audiences without a word for whom": {"aud": ["windlass", "somebody"]},
    "for another client": {"azp": "somebody"},
    "another issuer": {"iss": "https://evil.example"},
    "over": {"exp": 1_799_999_000},
    "no end": {"exp": None},
    "an end that is none": {"exp": "tomorrow"},
    "of tomorrow": {"iat": 1_800_086_400},
    "not yet": {"nbf": 1_800_086_400},
    "no subject": {"sub": None},
    "unsigned": {"sign": lambda said: jwt.encode(said, "", "none")},
    "signed by the public key": {"sign": confused},
    "another key": {"sign": lambda said: jwt.encode(said, OTHER_KEY, "RS256", {"kid": "one"})},
    "a key nobody knows": {"sign": lambda said: jwt.encode(said, OTHER_KEY, "RS256", {"kid": "two"})},
    "a key of another sort": {"sign": lambda said: jwt.encode(said, EC_KEY, "ES256", {"kid": "one"})},
    "another algorithm than it says": {
        "sign": lambda said: altered(jwt.encode(said, RSA_KEY, "RS256", {"kid": "one"}), alg="PS256")
    },
    "no token": {"sign": lambda _: "..."},
    "nothing": {"sign": lambda _: None},
}


async def test_lies_are_not_believed(identity: Identity, site: Site, hands: Hands) -> None:
    for lie in LIES.values():
        with pytest.raises(NotAuthenticated, match=r"^Login with the provider failed$"):
            await log_in(identity, site, hands, **lie)
    assert await identity.list_users() == []

    assert (await log_in(identity, site, hands, aud=["windlass", "somebody"], azp="windlass")).access_token


async def test_an_answer_to_another_browser_is_none(identity: Identity, site: Site, hands: Hands) -> None:
    mine, other = [await identity.begin_external_login(BACK) for _ in range(2)]
    state = parse_qs(urlsplit(mine.address).query)["state"][0]
    access = (await log_in(identity, site, hands)).access_token
    answer = {"code": "c", "state": state}

    for kept, said in (
        (None, answer), (other.kept, answer), (access, answer), (f"{mine.kept}x", answer),
        (mine.kept, {"code": "c"}), (mine.kept, {**answer, "code": ""}), (mine.kept, {**answer, "iss": "https://x"}),
        (mine.kept, {"state": state, "error": "access_denied"}), (mine.kept, {**answer, "code": "x" * 5000}),
    ):  # fmt: skip
        with pytest.raises(NotAuthenticated, match=r"^Login with the provider failed$"):
            await identity.finish_external_login(kept, said)
    hands.seconds += 600
    with pytest.raises(NotAuthenticated):
        await identity.finish_external_login(mine.kept, answer)
    with pytest.raises(NotAuthenticated):
        await identity.recognise(bearer(mine.kept))


async def test_who_may_come_is_said_here(running: Application, site: Site, hands: Hands) -> None:
    closed = Identity(running.engine, RULES, hands, Provider(ISSUER, "windlass", adds_users=False))
    for claims, said in (
        ({}, "There is no account for this login"),
        ({"email_verified": False}, "does not call this e-mail address verified"),
        ({"email_verified": "true"}, "does not call this e-mail address verified"),
        ({"email": "42"}, "says no user name: email"),
        ({"email": None}, "says no user name: email"),
        ({"email": seeds.NAME}, "There is no account for this login"),
    ):
        with pytest.raises(Forbidden, match=said):
            await log_in(closed, site, hands, **claims)
    ann = (await closed.add_user(OPERATOR, "Ann@example.com", WORD, "acme", role="admin")).user
    development = Identity(running.engine, Rules(jwt_key=KEY.encode()), hands)
    await development.login(seeds.NAME, seeds.PASSWORD)
    with pytest.raises(Forbidden):
        await log_in(closed, site, hands, sub="evil", email=seeds.NAME)

    token, *_ = await asyncio.gather(*(log_in(closed, site, hands) for _ in range(3)))

    actor = (await closed.recognise(bearer(token.access_token))).actor
    assert (actor.user_id, actor.role, actor.tenant_id) == (ann.user_id, "admin", "acme")
    assert (await closed.entries(AuditQuery(action="user.link")))[0]["target"] == f"user:{ann.user_id}"
    with pytest.raises(Forbidden, match="no account"):
        await log_in(closed, site, hands, sub="a-2")  # the address has been given to somebody else
    assert (await log_in(closed, site, hands)).access_token
    elsewhere = Identity(running.engine, RULES, hands, Provider("https://other.example", "windlass"))
    site.said["issuer"] = "https://other.example"
    assert (await log_in(elsewhere, site, hands, sub="a-2", iss="https://other.example")).access_token
    site.said["issuer"] = ISSUER
    await closed.add_user(OPERATOR, "bob@example.com", WORD)
    bobs = [log_in(closed, site, hands, sub=sub, email="bob@example.com") for sub in ("b-1", "b-2")]
    assert sorted(str(type(one)) for one in await asyncio.gather(*bobs, return_exceptions=True)) == sorted(
        map(str, (Forbidden, Token))
    )
    await closed.change_user(OPERATOR, "ann@example.com", is_active=False)
    for sub in ("a-1", "a-2"):
        with pytest.raises(Forbidden, match="no account"):
            await log_in(closed, site, hands, sub=sub)
    with pytest.raises(NotFound):
        await running.identity.begin_external_login(BACK)


async def test_a_provider_may_change_its_keys_and_tell_more_when_asked(
    running: Application, site: Site, hands: Hands
) -> None:
    public = Identity(running.engine, RULES, hands, Provider(ISSUER, "windlass", username_claim="login.name"))
    site.said["userinfo_endpoint"] = f"{ISSUER}/userinfo"
    site.user_info = {"sub": "a-1", "login": {"name": "ann"}, "email": "x@example.com"}
    assert (await log_in(public, site, hands)).access_token
    [(_, form, headers)] = [one for one in site.asked if one[0].endswith("/token")]
    assert (form["client_id"], "Authorization" in headers) == ("windlass", False)
    assert [user.username for user in await public.list_users()] == ["ann"]
    site.user_info["sub"] = "a-2"
    with pytest.raises(NotAuthenticated):
        await log_in(public, site, hands)
    site.user_info["sub"] = "a-1"

    def sign(said: dict[str, Any]) -> str:
        return jwt.encode(said, EC_KEY, "ES256", {"kid": "two"})

    site.keys = [site.key(EC_KEY.public_key(), "two")]
    with pytest.raises(NotAuthenticated):
        await log_in(public, site, hands, sign)  # it was asked a moment ago
    hands.seconds += 10
    assert (await log_in(public, site, hands, sign)).access_token
    hands.seconds += 3600
    site.said["issuer"] = "https://evil.example"
    with pytest.raises(Unavailable, match="the login provider does not answer"):
        await public.begin_external_login(BACK)


async def test_who_waits_for_a_provider_that_is_away_waits_once(identity: Identity, site: Site, hands: Hands) -> None:
    site.stalled = asyncio.Event()
    waiting = [asyncio.create_task(identity.begin_external_login(BACK)) for _ in range(5)]
    await wait_until_async(lambda: len(site.asked) == 1)
    site.stalled.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    site.stalled = None
    with pytest.raises(Unavailable, match=AWAY):
        await identity.begin_external_login(BACK)  # it was away a moment ago
    assert {type(answer) for answer in answers} == {Unavailable}
    assert len(site.asked) == 1

    hands.seconds += LEAST_SECONDS
    site.said["jwks_uri"] = f"{ISSUER}/broken"
    for _ in range(2):
        with pytest.raises(Unavailable, match=AWAY):
            await log_in(identity, site, hands)
    assert [url for url, *_ in site.asked if url.endswith("/broken")] == [f"{ISSUER}/broken"]
    assert (await identity.begin_external_login(BACK)).address  # what it says of itself is known
