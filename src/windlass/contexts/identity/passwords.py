"""Passwords: hashed with Argon2id on threads, so many at once and no more, for each takes 64 MiB and much time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from windlass.kernel.errors import Unavailable
from windlass.kernel.threads import DaemonThreads

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")

MOST_WAITING = 200
"""Logins beyond these are told to come again."""
NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$dwx0xIphjvnld8QmrdIBnw$TLCZgfQaNipC6pMJ9vV3NoPb/ntoZWfIOw2fRKQ1sh0"
"""The hash of a password that nobody has: what an unknown user's is compared with, so that it takes as long."""


class Passwords:
    """Hashes and compares passwords.

    Args:
        at_once: how many are worked on at the same time.
    """

    def __init__(self, at_once: int) -> None:
        self._threads = DaemonThreads(at_once, "windlass-password")
        self._waiting = 0

    @cached_property
    def _hasher(self) -> PasswordHasher:
        from argon2 import PasswordHasher  # noqa: PLC0415  most commands of the command line do without it

        return PasswordHasher()

    async def hash(self, password: str) -> str:
        """Return what is kept of a password.

        Raises:
            Unavailable: too many are waiting.
        """
        return await self._run(lambda: self._hasher.hash(_plain(password)))

    async def fits(self, kept: str | None, password: str) -> bool:
        """Say whether a password is the one of which ``kept`` is; without one it takes as long to say no.

        Raises:
            Unavailable: too many are waiting.
        """
        return await self._run(lambda: self._fits(kept or NOBODY, password)) and kept is not None

    def is_dated(self, kept: str) -> bool:
        """Say whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fits(self, kept: str, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415  see above

        try:
            return self._hasher.verify(kept, _plain(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise Unavailable("too many logins at once", retry_after=2.0)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _plain(password: str) -> bytes:
    return password.encode(errors="replace")
