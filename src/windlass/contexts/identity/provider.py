"""Another service that vouches for users: the client's side of OpenID Connect, authorization code flow with PKCE.

What it signs is believed when its signature is of one of the keys it publishes, by an algorithm with a public key,
and issuer, audience, nonce and times are right.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import httpx2
import orjson

from windlass.contexts.identity.errors import NotAuthenticated
from windlass.kernel.clock import SECOND, Clock
from windlass.kernel.errors import Unavailable

if TYPE_CHECKING:
    from jwt import PyJWKSet

SECONDS = 10.0
"""How long one question to the provider may take."""
MOST_BYTES = 1 << 20
KNOWN_SECONDS = 3600.0
"""How long what the provider says of itself is believed; its keys are asked for again when one is not among them."""
LEAST_SECONDS = 10.0
"""How long at least lies between two questions for its keys, and after one that was not answered."""
LEEWAY_SECONDS = 60
ALGORITHMS = frozenset({
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
})  # fmt: skip
AWAY = "the login provider does not answer"
FAILED = "Login with the provider failed"


@dataclass(frozen=True, slots=True)
class Provider:
    """Who vouches, and what is made of what it says.

    ``username_claim`` and ``role_claim`` name claims, inner ones with dots between; a user is an administrator when one
    of ``admin_values`` is what the latter says, or among it. ``adds_users`` says whether somebody new becomes a user.
    """

    issuer: str
    client_id: str
    client_secret: str | None = None
    scopes: str = "openid email profile"
    username_claim: str = "email"
    role_claim: str | None = None
    admin_values: tuple[str, ...] = ("admin",)
    adds_users: bool = True
    tenant_id: str = "default"

    def role_of(self, claims: Mapping[str, Any]) -> str | None:
        """Return the role that claims give, or None where roles are looked after here."""
        if self.role_claim is None:
            return None
        said = claim(claims, self.role_claim)
        return "admin" if set(self.admin_values) & set(_texts(said)) else "user"


class Refused(NotAuthenticated):
    """The provider, or what it said, lets nobody in; ``reason`` is for operators."""

    def __init__(self, reason: str) -> None:
        super().__init__(FAILED)
        self.reason = reason


class ProviderClient:
    """Speaks to a provider.

    Args:
        provider: which one.
        clock: tells whether what it signed is of today.
    """

    def __init__(self, provider: Provider, clock: Clock) -> None:
        self.provider = provider
        self._clock = clock
        self._said: Mapping[str, Any] = {}
        self._said_at: float | None = None
        self._keys: PyJWKSet | None = None
        self._keys_at: float | None = None
        self._asking = asyncio.Lock()
        self._failure = ""
        self._again = 0.0

    async def address(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser goes to log in.

        Raises:
            Unavailable: the provider does not answer.
        """
        said = await self._metadata()
        digest = hashlib.sha256(verifier.encode()).digest()
        asked = urlencode({
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.provider.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        })  # fmt: skip
        place = str(said["authorization_endpoint"])
        return f"{place}{'&' if urlsplit(place).query else '?'}{asked}"

    async def claims(self, code: str, redirect_uri: str, nonce: str, verifier: str) -> Mapping[str, Any]:
        """Return what the provider says of who has logged in.

        Raises:
            Refused: it says nothing, or what it says is not to be believed.
            Unavailable: it does not answer.
        """
        said = await self._metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        answer = await self._ask("POST", str(said["token_endpoint"]), form=form, headers=self._credentials(said, form))
        if not isinstance(answer.get("id_token"), str):
            raise Refused(f"no id_token: {str(answer.get('error', 'none was sent'))[:100]}")
        believed = await self._believed(answer["id_token"], said, nonce)
        wanted, more = self.provider.username_claim, said.get("userinfo_endpoint")
        if claim(believed, wanted) is None and more is not None:
            told = await self._ask("GET", str(more), headers={"Authorization": f"Bearer {answer.get('access_token')}"})
            if told.get("sub") != believed["sub"]:
                raise Refused("the user info is of somebody else")
            believed = {**told, **believed}
        return believed

    def _credentials(self, said: Mapping[str, Any], form: dict[str, str]) -> dict[str, str]:
        """Return the headers that tell the provider who asks, or put it into the form."""
        client, secret = self.provider.client_id, self.provider.client_secret
        methods = said.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if secret is not None and "client_secret_basic" in methods:
            pair = f"{quote(client, safe='')}:{quote(secret, safe='')}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        form["client_id"] = client
        if secret is not None:
            form["client_secret"] = secret
        return {}

    async def _believed(self, token: str, said: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        import jwt  # noqa: PLC0415  it brings a large library along, and logins with a password do without it

        try:
            head = jwt.get_unverified_header(token)
            if head.get("alg") not in ALGORITHMS:
                raise Refused(f"signed by {str(head.get('alg'))[:20]}")
            key = await self._key(str(said["jwks_uri"]), head.get("kid"))
            # Times are looked at below, by the one clock.
            options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp", "iat"]}
            found = jwt.decode(
                token, key, [head["alg"]], options, audience=self.provider.client_id, issuer=self.provider.issuer
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise Refused(f"{type(error).__name__}: {str(error)[:100]}") from None
        self._check(found, nonce)
        return dict(found)

    def _check(self, claims: Mapping[str, Any], nonce: str) -> None:
        now = self._clock.now() / SECOND
        times = [claims.get(name, now) for name in ("exp", "iat", "nbf")]
        if not all(type(time) in {int, float} for time in times):
            raise Refused("a time is no number")
        if times[0] + LEEWAY_SECONDS <= now or max(times[1:]) - LEEWAY_SECONDS > now:
            raise Refused("of another time")
        told = claims.get("nonce")
        if not isinstance(told, str) or not secrets.compare_digest(told.encode(), nonce.encode()):
            raise Refused("another nonce")
        several = isinstance(claims.get("aud"), list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self.provider.client_id) != self.provider.client_id:
            raise Refused("for another client")
        if not isinstance(claims.get("sub"), str) or not 1 <= len(claims["sub"]) <= 255:
            raise Refused("no subject")

    async def _metadata(self) -> Mapping[str, Any]:
        async with self._asking:
            now = self._clock.monotonic()
            if self._said_at is None or now - self._said_at >= KNOWN_SECONDS:
                with self._remembering():
                    self._said, self._said_at = await self._introduced(), now
            return self._said

    async def _introduced(self) -> Mapping[str, Any]:
        issuer = self.provider.issuer
        said = await self._ask("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        places = [said.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        safe = urlsplit(issuer).scheme
        if said.get("issuer") != issuer or not all(_is_place(place, safe) for place in places):
            raise Unavailable(f"{AWAY}: what it says of itself does not fit {issuer}")
        return said

    async def _key(self, place: str, kid: str | None) -> Any:
        import jwt  # noqa: PLC0415  see above

        async with self._asking:
            now, age = self._clock.monotonic(), self._keys_at
            found = _find(self._keys, kid)
            if age is None or now - age >= KNOWN_SECONDS or (found is None and now - age >= LEAST_SECONDS):
                with self._remembering():
                    self._keys, self._keys_at = jwt.PyJWKSet.from_dict(dict(await self._ask("GET", place))), now
                found = _find(self._keys, kid)
        if found is None:
            raise Refused("signed by a key that the provider does not publish")
        return found

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        """Share one failure among all who ask meanwhile and a while later: each would wait for one of its own.

        Raises:
            Unavailable: it did not answer a moment ago.
        """
        left = self._again - self._clock.monotonic()
        if self._failure and left > 0:
            raise Unavailable(self._failure, retry_after=left)
        try:
            yield
        except Unavailable as error:
            self._failure, self._again = error.message, self._clock.monotonic() + LEAST_SECONDS
            raise

    async def _ask(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Mapping[str, Any]:
        """Return the JSON object that the provider answers, whatever the status.

        Raises:
            Unavailable: it does not, or with something else.
        """
        accept = {"Accept": "application/json", **(headers or {})}
        body = b""
        try:
            async with (
                asyncio.timeout(SECONDS),
                httpx2.AsyncClient(trust_env=False, timeout=SECONDS) as client,
                client.stream(method, url, data=form, headers=accept) as answer,
            ):
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise Unavailable(f"{AWAY}: too much")
            found = orjson.loads(body)
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError) as error:
            raise Unavailable(f"{AWAY}: {type(error).__name__}: {error}") from None
        if not isinstance(found, dict):
            raise Unavailable(f"{AWAY}: no JSON object")
        return found


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return a claim, or one inside another: a name with dots is first taken as it stands."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict | Mapping) else None
    return found


def _texts(value: object) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _is_place(value: object, scheme: str) -> bool:
    if not isinstance(value, str):
        return False
    parts = urlsplit(value)
    return parts.scheme in {"https", scheme} and bool(parts.hostname)


def _find(keys: PyJWKSet | None, kid: str | None) -> Any:
    """Return the key of a name; without one the only key there is."""
    usable = [] if keys is None else [key for key in keys.keys if key.public_key_use in {None, "sig"}]
    fitting = [key for key in usable if kid in {None, key.key_id}]
    return fitting[0].key if len(fitting) == 1 else None
