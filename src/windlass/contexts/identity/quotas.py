"""How often a token has been used: counted on disk, so that no restart and no other process forgets."""

from __future__ import annotations

from windlass.contexts.identity.model import Grant
from windlass.engine.ports import Transaction
from windlass.kernel.actors import Forbidden
from windlass.kernel.clock import SECOND

EXCEEDED = "Forbidden: token quota exceeded"
_UNLIMITED = (1 << 62) - 1
_SPEND = """INSERT INTO token_uses (jti, runs, calls, expires_at) VALUES (:jti, :runs, :calls, :expires_at)
 ON CONFLICT (jti) DO UPDATE SET runs = token_uses.runs + excluded.runs, calls = token_uses.calls + excluded.calls
 WHERE token_uses.runs + excluded.runs <= :max_runs AND token_uses.calls + excluded.calls <= :max_calls"""


def spend(tx: Transaction, grant: Grant, *, runs: int, calls: int) -> None:
    """Count uses of a token.

    Raises:
        Forbidden: it has been used as often as it may be; nothing was counted.
    """
    max_runs = _UNLIMITED if grant.max_runs is None else grant.max_runs
    max_calls = _UNLIMITED if grant.max_calls is None else grant.max_calls
    wanted = {
        "jti": grant.jti,
        "runs": runs,
        "calls": calls,
        "expires_at": int(min(grant.expires_at * SECOND, float(1 << 62))),
        "max_runs": max_runs,
        "max_calls": max_calls,
    }
    if runs > max_runs or calls > max_calls or tx.execute(_SPEND, wanted).rowcount != 1:
        raise Forbidden(EXCEEDED)
