"""The egress policy: which addresses may be requested, for whom. Pure; names are resolved elsewhere.

Order of the checks: scheme, host, port, deny lists, allow lists, addresses. Deny at any level wins: the general lists
(EGRESS_* and WORKFLOWS_EGRESS_*), those of the tenant and, for webhooks, WORKFLOWS_WEBHOOK_DENYLIST of everybody and of
the tenant. Allowed is what the allow list holds: for webhooks the tenant's own list of webhooks, else everybody's, else
(and for everything else) the general lists with the tenant's. Under the profile ``strict`` there has to be such a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import httpx2

from windlass.contexts.outbound.hosts import as_address, entry, is_private, listed, normal_host
from windlass.kernel.errors import ConfigError, Kind, WindlassError

ANY_PORT = frozenset({"*", "any", "all"})
LONGEST_URL = 8192
PORTS = {"http": 80, "https": 443}


class Purpose(StrEnum):
    """What a request is for."""

    GENERAL = "general"
    WEBHOOK = "webhook"


class Refused(WindlassError):
    """The egress policy does not allow this; ``data["reason"]`` says why in a word."""

    code = "EGRESS_DENIED"
    kind = Kind.INVALID

    def __init__(self, reason: str, message: str, host: str = "") -> None:
        super().__init__(f"Denied by egress policy: {message}", reason=reason, host=host)
        self.reason = reason
        self.host = host


class Target(NamedTuple):
    """A checked address: what to connect to, and what to ask for there."""

    scheme: str
    host: str
    port: int
    target: str
    authority: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port


@dataclass(frozen=True, slots=True)
class Narrower:
    """Rules of a single request, beside those of the policy: they can forbid, never allow."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    block_private: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules. ``tenant_lists`` are by the names of their variables (``WORKFLOWS_EGRESS_ALLOWLIST_<TENANT>``)."""

    strict: bool = False
    ports: Sequence[str] = ("80", "443")
    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    webhook_allow: Sequence[str] = ()
    webhook_deny: Sequence[str] = ()
    tenant_lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    block_private: bool = True

    def __post_init__(self) -> None:
        lists = (self.allow, self.deny, self.webhook_allow, self.webhook_deny, *self.tenant_lists.values())
        for text in (text for texts in lists for text in texts):
            if text.strip() != "*" and entry(text) is None:
                raise ConfigError(f"{text!r} in an egress list is no host: hosts have no scheme, port or path")

    def check(
        self, url: str, tenant: str, purpose: Purpose = Purpose.GENERAL, narrower: Narrower | None = None
    ) -> Target:
        """Return a URL taken apart, once all but the addresses of its host is in order.

        Raises:
            Refused: a rule does not allow it.
        """
        target = parse(url)
        host = target.host
        if not self._has_port(target.port):
            raise Refused("port_not_allowed", f"port {target.port} is not allowed", host)
        more = narrower or Narrower()
        if listed(host, self.denied(tenant, purpose)) or listed(host, more.deny):
            raise Refused("denylisted", f"{host} is on a deny list", host)
        allowed = self.allowed(tenant, purpose)
        if (allowed or self.strict) and not listed(host, allowed):
            raise Refused("not_allowlisted", f"{host} is on no allow list", host)
        if more.allow and not listed(host, more.allow):
            raise Refused("not_allowlisted", f"{host} is not on the list of the step", host)
        if as_address(host) is not None:
            self.check_addresses(host, [host], block_private=more.block_private)
        return target

    def check_addresses(self, host: str, addresses: Iterable[str], *, block_private: bool = False) -> None:
        """Check everything a host resolves to.

        Raises:
            Refused: one of the addresses is private, local or reserved.
        """
        if not (self.block_private or block_private):
            return
        for address in addresses:
            if is_private(address):
                raise Refused("private_address", f"{host} leads to a private or reserved address", host)

    def denied(self, tenant: str, purpose: Purpose) -> list[str]:
        """Return the hosts that are denied."""
        found = [*self.deny, *self._of("WORKFLOWS_EGRESS_DENYLIST", tenant)]
        if purpose is Purpose.WEBHOOK:
            found += [*self.webhook_deny, *self._of("WORKFLOWS_WEBHOOK_DENYLIST", tenant)]
        return found

    def denied_addresses(self, tenant: str, purpose: Purpose, narrower: Narrower | None = None) -> frozenset[str]:
        """Return those of the denied hosts that are addresses: no name may lead to them."""
        every = [*self.denied(tenant, purpose), *(() if narrower is None else narrower.deny)]
        known = (entry(text) for text in every)
        return frozenset(host for host in known if host is not None and as_address(host) is not None)

    def allowed(self, tenant: str, purpose: Purpose) -> Sequence[str]:
        """Return the hosts of the allow list that counts; empty when there is none."""
        if purpose is Purpose.WEBHOOK:
            found = self._of("WORKFLOWS_WEBHOOK_ALLOWLIST", tenant) or self.webhook_allow
            if found:
                return found
        return [*self.allow, *self._of("WORKFLOWS_EGRESS_ALLOWLIST", tenant)]

    def _of(self, name: str, tenant: str) -> Sequence[str]:
        return self.tenant_lists.get(f"{name}_{variable_part(tenant)}", ())

    def _has_port(self, port: int) -> bool:
        return any(text.lower() in ANY_PORT or text == str(port) for text in self.ports)


def variable_part(tenant: str) -> str:
    """Return a tenant as it stands in the name of a variable."""
    return tenant.upper().replace("-", "_")


def parse(url: str) -> Target:
    """Take an address apart, its host in the one spelling that every list and the connection use.

    Raises:
        Refused: it is no address of the web, or its host is none.
    """
    if len(url) > LONGEST_URL or not url.isprintable() or " " in url or "\\" in url:
        raise Refused("bad_url", "the address cannot be read")
    try:
        parsed = httpx2.URL(url)
        host_text = parsed.host
    except (httpx2.InvalidURL, ValueError, UnicodeError):
        raise Refused("bad_url", "the address cannot be read") from None
    if parsed.scheme not in PORTS:
        raise Refused("scheme_not_allowed", "only http and https are spoken")
    if not host_text:
        raise Refused("no_host", "the address names no host")
    if parsed.userinfo:
        raise Refused("credentials_in_url", "the address holds a user name: send a header instead")
    host = normal_host(host_text)
    if host is None:
        raise Refused("bad_host", "the address names no host that can be")
    port = PORTS[parsed.scheme] if parsed.port is None else parsed.port
    if not 1 <= port <= 65535:
        raise Refused("bad_url", "the address cannot be read")
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port == PORTS[parsed.scheme] else f"{shown}:{port}"
    return Target(parsed.scheme, host, port, parsed.raw_path.decode("ascii"), authority)


def host_of(url: str) -> str:
    """Return the host of an address for people, or an empty text."""
    try:
        return parse(url).host
    except Refused as refused:
        return refused.host
