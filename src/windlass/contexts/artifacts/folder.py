"""Objects as files of a local folder.

``objects/ab/<sha256>-<id>`` are objects, ``incoming/<id>`` is what is being received. Every part of a path is opened
without following links, from the folder down, so nothing outside is ever read, written or deleted. Processes on several
machines may share the folder where its file system renames atomically.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import ParamSpec, TypeVar
from urllib.parse import quote, unquote, urlsplit

from windlass.contexts.artifacts.model import FileMissing, NotAFile, OutsideRoot
from windlass.contexts.artifacts.objects import BLOCK, Staged
from windlass.kernel.errors import TooLarge, Unavailable
from windlass.kernel.ids import new_id

P = ParamSpec("P")
T = TypeVar("T")

OBJECTS, INCOMING = "objects", "incoming"
LISTED = 500
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ASTRAY = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK})
"""What opening a link, or something below a file, fails with."""


class _Received:
    """See ``objects.Staged``."""

    def __init__(self, folder: LocalFolder, name: str, fd: int) -> None:
        self._folder = folder
        self.name = name
        self._fd = fd
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self.size = 0
        self.checksum = ""
        self.kept = False

    def write(self, blocks: Sequence[bytes]) -> None:
        with self._lock:
            for block in blocks:
                self._hash.update(block)
                rest = memoryview(block)
                while rest and self._fd >= 0:
                    rest = rest[os.write(self._fd, rest) :]
                self.size += len(block)

    def finish(self) -> None:
        with self._lock:
            os.fsync(self._fd)
            self._close()
            self.checksum = self._hash.hexdigest()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def discard(self) -> None:
        """Forget it."""
        with self._lock:
            self._close()
        if not self.kept:
            self.kept = True
            with suppress(OSError, FileMissing, OutsideRoot):
                self._folder.remove(f"{INCOMING}/{self.name}")


class _Open:
    """See ``objects.Opened``."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        known = os.fstat(fd)
        self.size = known.st_size
        self.mark = f"{known.st_ino}.{known.st_size}.{known.st_mtime_ns}"

    async def chunks(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Yield a part."""
        at, end = start, min(start + length, self.size)
        while at < end:
            block = await _in_thread(self._read, min(BLOCK, end - at), at)
            if not block:
                raise Unavailable("an artifact's file was cut short while it was read")
            at += len(block)
            yield block

    def _read(self, length: int, at: int) -> bytes:
        with self._lock:
            return os.pread(self._fd, length, at) if self._fd >= 0 else b""

    def close(self) -> None:
        """Stop reading."""
        with self._lock:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close


class LocalFolder:
    """See ``objects.ObjectStore``. The folder is made when the first content comes in.

    Args:
        root: the folder; it may itself be reached through a link.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100  without following links

    def uri(self, key: str) -> str:
        """Return the address of an object."""
        return f"file://{quote(str(self.root / key))}"

    def locate(self, uri: str) -> str:
        """Return the key behind an address."""
        parts = urlsplit(uri)
        if parts.scheme.lower() != "file" or parts.netloc not in {"", "localhost"}:
            raise NotAFile
        path = PurePosixPath(unquote(parts.path))
        for root in (self.root, Path(os.path.realpath(self.root))):
            if path.is_relative_to(root) and path != PurePosixPath(root):
                return "/".join(_parts(str(path.relative_to(root))))
        raise OutsideRoot

    async def receive(self, chunks: AsyncIterable[bytes], most: int) -> Staged:
        """Take a content in."""
        staged = await _in_thread(self._begin)
        try:
            await self._take(staged, chunks, most)
            await _in_thread(staged.finish)
        except BaseException:
            staged.discard()
            raise
        return staged

    @staticmethod
    async def _take(staged: _Received, chunks: AsyncIterable[bytes], most: int) -> None:
        waiting: list[bytes] = []
        size = held = 0
        async for chunk in chunks:
            size += len(chunk)
            held += len(chunk)
            if size > most:
                raise TooLarge(f"an artifact is at most {most} bytes", limit=most)
            waiting.append(chunk)
            if held >= BLOCK:
                await _in_thread(staged.write, waiting)
                waiting, held = [], 0
        await _in_thread(staged.write, waiting)

    def _begin(self) -> _Received:
        name = new_id()
        self._make(INCOMING)
        with self._folder([INCOMING]) as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return _Received(self, name, os.open(name, flags, 0o640, dir_fd=folder))

    async def settle(self, staged: Staged, key: str) -> None:
        """Give a content its key."""
        assert isinstance(staged, _Received)  # noqa: S101  what receive returned
        await _in_thread(self._settle, staged, key)

    def _settle(self, staged: _Received, key: str) -> None:
        *folders, name = _parts(key)
        self._make(*folders)
        with self._folder([INCOMING]) as source, self._folder(folders) as target:
            try:
                os.rename(staged.name, name, src_dir_fd=source, dst_dir_fd=target)
            except FileNotFoundError:
                raise Unavailable("the upload took too long: send it again") from None
            staged.kept = True
            os.fsync(target)

    async def open(self, key: str) -> _Open:
        """Open an object."""
        return await _in_thread(self._open, key)

    def _open(self, key: str) -> _Open:
        *folders, name = _parts(key)
        with self._folder(folders) as folder, _contained():
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileMissing
        return _Open(fd)

    async def exists(self, key: str) -> bool:
        """Say whether there is an object."""
        try:
            (await self.open(key)).close()
        except FileMissing:
            return False
        return True

    async def delete(self, key: str) -> bool:
        """Delete an object."""
        return await _in_thread(self.remove, key)

    def remove(self, key: str) -> bool:
        """Delete a file, on this thread; a link is never followed, and never deleted either."""
        *folders, name = _parts(key)
        try:
            with self._folder(folders) as folder, _contained():
                if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    raise OutsideRoot
                os.unlink(name, dir_fd=folder)
        except FileMissing:
            return False
        return True

    async def keys(self, before: int) -> AsyncIterator[list[str]]:
        """Yield the keys of old objects."""
        found = self._old(before)
        while True:
            batch = await _in_thread(lambda: list(islice(found, LISTED)))
            if not batch:
                return
            yield batch

    def _old(self, before: int) -> Iterator[str]:
        for shard in self._names([OBJECTS]):
            with suppress(OutsideRoot, FileMissing):
                yield from (f"{OBJECTS}/{shard}/{name}" for name in self._older([OBJECTS, shard], before))

    def _older(self, folders: Sequence[str], before: int) -> Iterator[str]:
        with self._folder(folders) as folder, os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    known = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(known.st_mode) and known.st_mtime_ns // 1000 < before:
                        yield entry.name

    def _names(self, folders: Sequence[str]) -> list[str]:
        try:
            with self._folder(folders) as folder:
                return sorted(os.listdir(folder))  # noqa: PTH208  a descriptor has no path
        except FileMissing:
            return []

    async def sweep(self, before: int) -> int:
        """Delete what was never received to its end."""
        return await _in_thread(self._sweep, before)

    def _sweep(self, before: int) -> int:
        try:
            return sum(self.remove(f"{INCOMING}/{name}") for name in self._older([INCOMING], before))
        except FileMissing:
            return 0

    def _make(self, *folders: str) -> None:
        """Make folders that are not there, durably."""
        for path in reversed([path for path in (self.root, *self.root.parents) if not path.exists()]):
            path.mkdir(exist_ok=True)
            _sync(path.parent)
        for place, name in enumerate(folders):
            with self._folder(folders[:place]) as folder:
                try:
                    os.mkdir(name, 0o750, dir_fd=folder)
                    os.fsync(folder)
                except FileExistsError:
                    if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name) from None

    @contextmanager
    def _folder(self, folders: Sequence[str]) -> Iterator[int]:
        """Open a folder below the root; raises FileMissing, or OutsideRoot where a link is on the way."""
        try:
            fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise FileMissing from None
        with _contained():
            try:
                for name in folders:
                    below = os.open(name, _FOLDER, dir_fd=fd)
                    os.close(fd)
                    fd = below
            except BaseException:
                os.close(fd)
                raise
        try:
            yield fd
        finally:
            os.close(fd)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _parts(key: str) -> list[str]:
    """Return the names on the way to an object; raises OutsideRoot when they do not lead down."""
    parts = key.split("/")
    if "\0" in key or any(part in {"", ".", ".."} for part in parts):
        raise OutsideRoot
    return parts


@contextmanager
def _contained() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise FileMissing from None
    except OSError as error:
        if error.errno in _ASTRAY:
            raise OutsideRoot from None
        raise


async def _in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call on a thread; a full disk or a folder without rights is told as what it is: nothing is stored, try again."""
    try:
        return await asyncio.to_thread(call, *args, **kwargs)
    except OSError as error:
        raise Unavailable(f"the artifact folder cannot be used: {error.strerror}", retry_after=5.0) from error
