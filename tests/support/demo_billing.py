"""The demo billing in a thread, with a store and faults at hand."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from windlass.demo.billing.faults import Faults, Switch
from windlass.demo.billing.server import Server
from windlass.demo.billing.store import Store

START_SECONDS = 30


@dataclass(frozen=True)
class DemoBilling:
    """A billing service; ``calls`` are its lines about each call."""

    url: str
    store: Store
    switch: Switch
    calls: list[str] = field(default_factory=list)

    def faults(self, **named: Any) -> None:
        """Switch to these faults; none switches all off."""
        self.switch.set(Faults(**named))


@contextmanager
def billing(path: Path | str = ":memory:") -> Iterator[DemoBilling]:
    """Run it; its providers are in a file where a path is given."""
    store, switch = Store(str(path)), Switch(Faults())
    calls: list[str] = []
    up = threading.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Server(store, switch, calls.append, up.set)
        thread = threading.Thread(target=server.run, args=([listener],), name="demo-billing", daemon=True)
        thread.start()
        assert up.wait(START_SECONDS)
        try:
            yield DemoBilling(f"http://127.0.0.1:{listener.getsockname()[1]}", store, switch, calls)
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)
            store.close()
