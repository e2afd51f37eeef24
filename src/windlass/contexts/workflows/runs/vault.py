"""Secrets of runs: in the memory of the process that was told them, and sealed in the database where there is a key."""

from __future__ import annotations

import base64
import hashlib
import secrets as dice
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.contexts.workflows.runs import tables
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.clock import SECOND
from windlass.kernel.errors import ConfigError

NONCE_BYTES = 12
SWEEP = 1000


class _Kept(NamedTuple):
    secrets: Mapping[str, str]
    expires_at: int


class Vault:
    """Keeps secrets until their time is up or they are forgotten.

    Args:
        engine: for its clock and its database.
        key: seals them at rest; without one a secret dies with this process.
        seconds: how long they are kept.

    Raises:
        ConfigError: there is a key, and the extra ``crypto`` is not installed.
    """

    def __init__(self, engine: Engine, key: str | None, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._kept: dict[str, _Kept] = {}
        self._cipher: Any = None if key is None else _cipher(key)

    @property
    def at_rest(self) -> bool:
        """Whether secrets outlive this process."""
        return self._cipher is not None

    async def keep(self, run_id: str, secrets: Mapping[str, str]) -> None:
        """Keep the secrets of a run; what it had before is replaced."""
        now = self._engine.clock.now()
        kept = _Kept(dict(secrets), now + int(self._seconds * SECOND))
        self._sweep(now)
        self._kept[run_id] = kept
        if self._cipher is not None:
            sealed = self._seal(run_id, kept.secrets)
            await self._engine.transact(lambda tx: _store(tx, run_id, sealed, kept.expires_at, now))

    def remember(self, run_id: str, secrets: Mapping[str, str], seconds: float) -> None:
        """Keep secrets of a run in this process's memory alone."""
        self._kept[run_id] = _Kept(dict(secrets), self._engine.clock.now() + int(seconds * SECOND))

    async def get(self, run_id: str) -> Mapping[str, str] | None:
        """Return the secrets of a run; None when they are gone."""
        now = self._engine.clock.now()
        kept = self._kept.get(run_id)
        if kept is None and self._cipher is not None:
            query = sa.select(tables.secrets.c.sealed, tables.secrets.c.expires_at).where(
                tables.secrets.c.run_id == run_id
            )
            row = await self._engine.read(lambda connection: connection.execute(query).one_or_none())
            if row is not None:
                kept = self._kept[run_id] = _Kept(self._open(run_id, row[0]), row[1])
        if kept is None or kept.expires_at <= now:
            self._kept.pop(run_id, None)
            return None
        return kept.secrets

    async def forget(self, run_id: str) -> None:
        """Drop the secrets of a run that has ended."""
        self._kept.pop(run_id, None)
        if self._cipher is not None:
            await self._engine.transact(lambda tx: _drop(tx, run_id))

    def _sweep(self, now: int) -> None:
        if len(self._kept) >= SWEEP:
            self._kept = {run_id: kept for run_id, kept in self._kept.items() if kept.expires_at > now}

    def _seal(self, run_id: str, secrets: Mapping[str, str]) -> str:
        nonce = dice.token_bytes(NONCE_BYTES)
        sealed: bytes = self._cipher.encrypt(nonce, orjson.dumps(secrets), run_id.encode())
        return base64.b64encode(nonce + sealed).decode()

    def _open(self, run_id: str, sealed: str) -> Mapping[str, str]:
        raw = base64.b64decode(sealed)
        opened = self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], run_id.encode())
        secrets: dict[str, str] = orjson.loads(opened)
        return secrets


def _cipher(key: str) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  an extra
    except ImportError as error:
        raise ConfigError("WORKFLOWS_SECRETS_KEY needs the extra crypto: pip install 'windlass[crypto]'") from error
    return AESGCM(hashlib.sha256(key.encode()).digest())


def _store(tx: Transaction, run_id: str, sealed: str, expires_at: int, now: int) -> None:
    tx.execute(
        "INSERT INTO workflow_run_secrets (run_id, sealed, expires_at) VALUES (:run_id, :sealed, :expires_at)"
        " ON CONFLICT (run_id) DO UPDATE SET sealed = excluded.sealed, expires_at = excluded.expires_at",
        {"run_id": run_id, "sealed": sealed, "expires_at": expires_at},
    )
    tx.execute("DELETE FROM workflow_run_secrets WHERE expires_at <= :now", {"now": now})


def _drop(tx: Transaction, run_id: str) -> None:
    tx.execute("DELETE FROM workflow_run_secrets WHERE run_id = :run_id", {"run_id": run_id})
