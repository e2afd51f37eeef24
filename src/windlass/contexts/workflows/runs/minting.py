"""Keys for runs of schedules: made when a step asks for one, where the run is carried out, and kept in memory alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from windlass.contexts.workflows.runs.vault import Vault
from windlass.engine.engine import Engine

JWT = "jwt"
"""The name of the secret."""


class Minted(NamedTuple):
    """A key of a user's, and the seconds for which it is good."""

    token: str
    seconds: float


Minter = Callable[[str, str], Awaitable[Minted | None]]
"""Makes a key for a user that reaches as far as a schedule; None where the user may have none (any more)."""


class Minting:
    """The secrets of runs: those they were given, else a key for those whose schedule promised one.

    A run that moves to another process or is retried gets a new one, so none has to be stored.

    Args:
        engine: knows whose a run is.
        vault: keeps secrets.
        mint: makes keys.
    """

    def __init__(self, engine: Engine, vault: Vault, mint: Minter) -> None:
        self._engine = engine
        self._vault = vault
        self._mint = mint

    async def get(self, run_id: str) -> Mapping[str, str] | None:
        """Return the secrets of a run; None when they are gone."""
        kept = await self._vault.get(run_id)
        if kept is not None:
            return kept
        run = await self._engine.get_run(run_id)
        schedule_id = run.attributes.get("schedule_id")
        if schedule_id is None or run.owner is None or run.attributes.get("secrets") != [JWT]:
            return None
        minted = await self._mint(run.owner, schedule_id)
        if minted is None:
            return None
        secrets = {JWT: minted.token}
        # A step begins with half of the key's time at least.
        self._vault.remember(run_id, secrets, minted.seconds / 2)
        return secrets


def may_have_key(user_id: str) -> bool:
    """Say whether an owner is a user who logs in: keys and developers are nobody to make a key for."""
    return user_id.isascii() and user_id.isdigit()
