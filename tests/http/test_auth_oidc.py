"""Logging in at a provider of OpenID Connect, a real one in a process of its own."""

import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.apps import Served, serving
from tests.support.oidc import OidcProvider, running_provider
from windlass.bootstrap.options import identity_provider
from windlass.kernel.errors import ConfigError
from windlass.settings import Settings

CHECK = "/api/v1/workflows/auth/check"
ANN = {"email": "ann@example.com", "email_verified": True, "groups": ["staff", "windlass-admins"]}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    """The provider."""
    with running_provider(tmp_path_factory.mktemp("provider")) as running:
        yield running


async def log_in(served: Served, provider: OidcProvider, sub: str) -> httpx2.Response:
    """Go to the provider, log in there, and come back."""
    there = await served.client.get("/auth/oidc/login")
    assert there.status_code == 302, there.text
    back = urlsplit(provider.log_in(there.headers["location"], sub))
    assert (back.netloc, back.path) == ("windlass", "/auth/oidc/callback")
    return await served.client.get(f"{back.path}?{back.query}")


async def test_a_browser_goes_to_the_provider_and_comes_back_with_tokens(
    database_url: str, provider: OidcProvider
) -> None:
    provider.knows("a-1", ANN)
    provider.knows("b-1", {"email": "bob@example.com"})
    given = {"oidc_issuer": provider.issuer, "oidc_client_id": "windlass", "oidc_client_secret": "s3cret"}
    roles = {"oidc_role_claim": "groups", "oidc_admin_values": ("windlass-admins",)}
    async with serving(database_url, **given, **roles) as served:
        there = await served.client.get("/auth/oidc/login")
        cookie = there.headers["set-cookie"].lower()
        answer = await log_in(served, provider, "a-1")

        assert there.headers["location"].startswith(f"{provider.issuer}/oauth2/authorize?")
        assert all(word in cookie for word in ("httponly", "samesite=lax", "path=/auth/oidc", "max-age=600"))
        assert there.headers["cache-control"] == answer.headers["cache-control"] == "no-store"
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
        assert 'windlass_oidc=""' in answer.headers["set-cookie"]
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        known = (await served.client.get(CHECK, headers=headers)).json()
        assert (known["username"], known["is_admin"]) == ("ann@example.com", True)

        provider.knows("a-1", {**ANN, "groups": ["staff"]})
        again = await log_in(served, provider, "a-1")
        headers = {"Authorization": f"Bearer {again.json()['access_token']}"}
        later = (await served.client.get(CHECK, headers=headers)).json()
        assert (later["user_id"], later["is_admin"]) == (known["user_id"], False)
        refreshed = await served.client.post("/auth/refresh", data={"refresh_token": again.json()["refresh_token"]})
        assert refreshed.status_code == 200

        unverified, denied = await log_in(served, provider, "b-1"), await log_in(served, provider, "")
        assert (unverified.status_code, unverified.json()["code"]) == (403, "FORBIDDEN")
        assert (denied.status_code, denied.json()["detail"]) == (401, "Login with the provider failed")
        assert denied.headers["www-authenticate"] == "Bearer"
        there = await served.client.get("/auth/oidc/login")
        back = urlsplit(provider.log_in(there.headers["location"], "a-1"))
        served.client.cookies.clear()
        stolen = await served.client.get(f"{back.path}?{back.query}")
        assert stolen.status_code == 401
        reasons = [line["reason"] for line in served.lines.events("identity.external_login_refused")]
        # This provider sends the state along with a code alone.
        assert reasons == ["another state", "the browser brings nothing back, or too late"]


async def test_without_a_provider_or_while_it_is_away_that_is_said(migrated_sqlite_url: str) -> None:
    async with serving(migrated_sqlite_url) as served:
        for path in ("/auth/oidc/login", "/auth/oidc/callback?code=1&state=2"):
            answer = await served.client.get(path)
            assert (answer.status_code, answer.json()["detail"].split(":")[0]) == (404, "No login provider is set up")
    async with serving(migrated_sqlite_url, oidc_issuer="http://127.0.0.1:1", oidc_client_id="x") as served:
        answer = await served.client.get("/auth/oidc/login")
        assert (answer.status_code, answer.json()["detail"]) == (503, "the login provider does not answer")


@pytest.mark.parametrize(
    "given,said",
    [
        ({}, "OIDC_CLIENT_ID is missing"),
        ({"oidc_client_id": "x", "auth_mode": "single_user"}, "AUTH_MODE=single_user"),
        ({"oidc_client_id": "x", "app_env": "staging", "jwt_secret_key": "k" * 32}, "OIDC_ISSUER: it is not https"),
        ({"oidc_client_id": "x"}, "OIDC_ISSUER needs the extra oidc: pip install 'windlass[oidc]'"),
    ],
)
def test_what_does_not_fit_stops_the_start(given: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "extra" in said:
        monkeypatch.setitem(sys.modules, "cryptography", None)

    with pytest.raises(ConfigError) as refused:
        identity_provider(Settings(oidc_issuer="http://login.example", **given))  # type: ignore[arg-type]

    assert said in refused.value.message
