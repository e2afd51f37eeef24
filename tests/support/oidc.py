"""A provider of OpenID Connect that is a process of its own: `oidc-provider-mock`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.support.paths import BIN
from tests.support.ports import free_port
from tests.support.servers import GuardedProcess


@dataclass(frozen=True)
class OidcProvider:
    """A running provider."""

    issuer: str

    def knows(self, sub: str, claims: Mapping[str, Any]) -> None:
        """Say what it says of somebody."""
        httpx2.put(f"{self.issuer}/users/{sub}", json=dict(claims), timeout=30).raise_for_status()

    def log_in(self, address: str, sub: str) -> str:
        """Do what a person does in the browser; returns where it is sent back to."""
        form = {"action": "deny"} if not sub else {"sub": sub}
        answer = httpx2.post(address, data=form, timeout=30)
        assert answer.status_code == httpx2.codes.FOUND, answer.text
        return answer.headers["location"]


@contextmanager
def running_provider(folder: Path) -> Iterator[OidcProvider]:
    """Start it, wait until it answers, end it afterwards."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    process = GuardedProcess(
        [BIN / "oidc-provider-mock", "--port", str(port), "--require-nonce", "true"],
        folder=folder,
        log=folder / "provider.log",
    )

    def answers() -> bool:
        try:
            return httpx2.get(f"{issuer}/jwks", timeout=5).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    try:
        process.wait_ready(answers, timeout=60)
        yield OidcProvider(issuer)
    finally:
        process.stop()
