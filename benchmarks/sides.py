"""Short ways to name a side; the table's files are written with them."""

from __future__ import annotations

from benchmarks.model import Side, Store

DATABASES = (Store.SQLITE, Store.POSTGRES)
_CONTENDERS = {
    "windlass": "benchmarks.ours",
    "windlass http": "benchmarks.ours_http",
    "windlass apart": "benchmarks.ours_apart",
    "windlass crash": "benchmarks.ours_crash",
    "windlass crowd": "benchmarks.ours_crowd",
    "windlass fleet": "benchmarks.ours_fleet",
    "windlass grown": "benchmarks.ours_grown",
    "windlass histories": "benchmarks.ours_histories",
    "windlass unused": "benchmarks.ours_unused",
    "windlass documents": "benchmarks.ours_definitions",
    "windlass lists": "benchmarks.ours_lists",
    "windlass approvals": "benchmarks.ours_approvals",
    "session": "benchmarks.ours_http",
    "bare": "benchmarks.bare",
    "bare effects": "benchmarks.bare_effects",
    "dbos": "benchmarks.peers.dbos_peer",
    "restate": "benchmarks.peers.restate_peer",
}
PEERS = frozenset({"dbos", "restate"})


def side(
    contender: str,
    shape: str,
    unit: str,
    store: Store,
    size: int,
    quick: int,
    *,
    at_a_time: int = 100,
    rounds: int | None = None,
) -> Side:
    """Return a side of a known contender."""
    return Side(contender, store, _CONTENDERS[contender], shape, unit, size, quick, at_a_time, rounds)


def restate(shape: str, unit: str, size: int, *, rounds: int | None = None) -> Side:
    """Return Restate's side of a shape; it has no quick size, as tests do not install peers."""
    return side("restate", shape, unit, Store.OWN, size, max(1, size // 10), rounds=rounds)


def dbos(shape: str, unit: str, store: Store, size: int, *, rounds: int | None = None) -> Side:
    """Return DBOS's side of a shape; it has no quick size, as tests do not install peers."""
    return side("dbos", shape, unit, store, size, max(1, size // 10), rounds=rounds)
