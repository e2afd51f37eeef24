"""Hosts as an address names them: one spelling each, and which of a list they match."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")

PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "::1/128", "::ffff:0:0/96", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8",
        # Ways to write an IPv4 address into an IPv6 one, and ranges for documents and the past.
        "::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "2001:db8::/32", "fec0::/10", "100::/64",
    )
)  # fmt: skip
"""Networks that are nobody's public address."""


def normal_host(text: str) -> str | None:
    """Return a host in its one spelling, or None for what is none.

    Lower case, names in ASCII (IDNA), without the trailing dot; an address as Python writes it, also from its
    decimal, octal, hexadecimal and shortened forms, without a zone.
    """
    host = text.strip().lower().removesuffix(".")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host.partition("%")[0]))
        except ValueError:
            return None
    last = host.rpartition(".")[2]
    if _NUMBER.fullmatch(last):
        return _ipv4(host)
    if not host.isascii():
        host = _ascii(host) or ""
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            return _ipv4(host)
    return host if len(host) <= 253 and _NAME.fullmatch(host) else None


def _ipv4(host: str) -> str | None:
    """Read a host that ends in a number as resolvers do: any of its one to four parts may be octal or hexadecimal."""
    try:
        return socket.inet_ntoa(socket.inet_aton(host)) if " " not in host else None
    except (OSError, ValueError):
        return None


def _ascii(host: str) -> str | None:
    import idna  # noqa: PLC0415  most hosts are ASCII already

    try:
        return idna.encode(host, uts46=True).decode().lower().removesuffix(".")
    except idna.IDNAError:
        return None


def as_address(host: str) -> Address | None:
    """Return a normal host as the address it is, or None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_private(address: str) -> bool:
    """Say whether an address is private, local or reserved; what is no address counts as such."""
    found = as_address(address.partition("%")[0])
    return found is None or any(found in network for network in PRIVATE if network.version == found.version)


def entry(text: str) -> str | None:
    """Return an entry of a host list in its normal spelling, ``*.`` left out; None for one that is none."""
    return normal_host(text.strip().removeprefix("*."))


def listed(host: str, entries: Iterable[str]) -> bool:
    """Say whether a normal host is one of the entries, or below one; ``*`` is every host.

    An IPv4 address that is mapped into IPv6 is the IPv4 address: that is what is connected to.
    """
    host = _unmapped(host)
    for text in entries:
        if text.strip() == "*":
            return True
        known = entry(text)
        if known is None:
            continue
        known = _unmapped(known)
        if host == known or (host.endswith(f".{known}") and as_address(known) is None):
            return True
    return False


def _unmapped(host: str) -> str:
    """Return the IPv4 address that a normal host is as IPv6, or the host."""
    found = as_address(host)
    inner = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return host if inner is None else str(inner)
