"""One writer of a memory store."""

from __future__ import annotations

from windlass.kernel.ids import new_id
from windlass.storage.memory.store import MemoryStore
from windlass.storage.memory.transaction import MemoryTransaction


class MemorySession:
    """A ``WriteSession``: the dicts and the SQLite in RAM change together, or not at all."""

    inline = True

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._writer = new_id()
        self._open = False
        self._reserved = False

    def reserve(self) -> bool:
        if not self._reserved:
            self._reserved = self._store.try_acquire()
        return self._reserved

    def begin(self, marker: int) -> MemoryTransaction:
        if not self._reserved:
            self._store.acquire()
        self._reserved, self._open = False, True
        self._store.raw.execute("BEGIN")
        self._store.commits.put(self._writer, marker)
        return MemoryTransaction(self._store)

    def commit(self) -> None:
        self._store.raw.execute("COMMIT")
        self._store.undo.forget()
        self._end()

    def rollback(self) -> None:
        if self._open:
            if self._store.raw.in_transaction:
                self._store.raw.execute("ROLLBACK")
            self._store.undo.rewind()
            self._end()
        elif self._reserved:
            self._reserved = False
            self._store.release()

    def away(self, error: BaseException) -> bool:  # noqa: ARG002  RAM is there
        return False

    def committed(self, marker: int) -> bool:
        self.rollback()
        with self._store.turn():
            return self._store.commits.get(self._writer) == marker

    def close(self) -> None:
        self.rollback()
        with self._store.turn():
            self._store.commits.remove(self._writer)
            self._store.undo.forget()

    def _end(self) -> None:
        self._open = False
        self._store.release()
