"""Where the contents are kept: a small port for stores of objects, and the local folder.

An object is written once under a key that is never used again, and is whole from the moment it can be found. Which of
them is needed is the database's to know: this knows bytes and keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Protocol

from windlass.kernel.ids import new_id

Content = bytes | bytearray | memoryview | AsyncIterable[bytes]
"""A content: all of it, or its pieces as they come."""
BLOCK = 256 * 1024
"""How many bytes are written, read or hashed at a time."""


class Staged(Protocol):
    """A content that has arrived and has no key yet."""

    checksum: str
    """Its SHA-256 in hexadecimal."""
    size: int

    def discard(self) -> None:
        """Forget it; does nothing once it has a key."""
        ...


class Opened(Protocol):
    """An object that is being read: what is seen stays the same even when it is deleted meanwhile."""

    size: int
    mark: str
    """Changes when somebody has changed the content behind our back."""

    def chunks(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Yield a part, a block at a time."""
        ...

    def close(self) -> None:
        """Stop reading."""
        ...


class ObjectStore(Protocol):
    """A store of objects. Methods raise ``Unavailable`` when the store itself cannot be used."""

    def uri(self, key: str) -> str:
        """Return the address of an object as callers see it."""
        ...

    def locate(self, uri: str) -> str:
        """Return the key behind an address.

        Raises:
            NotAFile: the address is of another kind.
            OutsideRoot: it leads out of the store.
        """
        ...

    async def receive(self, chunks: AsyncIterable[bytes], most: int) -> Staged:
        """Take a content in, durably, a block at a time.

        Raises:
            TooLarge: it is longer than ``most`` bytes; nothing of it is kept.
        """
        ...

    async def settle(self, staged: Staged, key: str) -> None:
        """Give a content its key, durably; the object is there whole or not at all, whenever the machine stops.

        Raises:
            Unavailable: the content has been swept away meanwhile.
        """
        ...

    async def open(self, key: str) -> Opened:
        """Open an object.

        Raises:
            FileMissing: there is none.
            OutsideRoot: a link leads out of the store.
        """
        ...

    async def exists(self, key: str) -> bool:
        """Say whether there is an object."""
        ...

    async def delete(self, key: str) -> bool:
        """Delete an object; False when there was none."""
        ...

    def keys(self, before: int) -> AsyncIterator[list[str]]:
        """Yield the keys of objects last changed before ``before`` (microseconds), some at a time."""
        ...

    async def sweep(self, before: int) -> int:
        """Delete contents without a key not written to since ``before`` (microseconds); returns how many."""
        ...


def new_key(checksum: str) -> str:
    """Return a key for a content that no object has had."""
    return f"objects/{checksum[:2]}/{checksum}-{new_id()}"


def checksum_of(key: str) -> str:
    """Return which content an object's key is for."""
    return key.rpartition("/")[2].partition("-")[0]
