"""When something is tried again. No clock and no dice in here: both come from the caller."""

from __future__ import annotations

from dataclasses import dataclass

from windlass.kernel.checks import check_number


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how late something is tried again.

    ``retries`` counts attempts after the first. The pause before attempt ``n + 1`` is
    ``min(cap, backoff * factor ** (n - 1))`` seconds, of which up to ``jitter`` (a share, 0..1) is taken off
    at random. Only errors of ``retry_on`` are tried again, and never those of ``fatal``.
    """

    retries: int = 0
    backoff: float = 1.0
    factor: float = 2.0
    cap: float = 300.0
    jitter: float = 0.5
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    fatal: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        for field, low, high in (
            ("retries", 0, 10**9),
            ("backoff", 0, 10**9),
            ("factor", 1, 1000),
            ("cap", 0, 10**9),
            ("jitter", 0, 1),
        ):
            check_number(field, getattr(self, field), low, high, whole=field == "retries")

    def again(self, error: BaseException, attempt: int) -> bool:
        """Say whether attempt number ``attempt``, which ended in ``error``, is followed by another."""
        if attempt > self.retries or isinstance(error, self.fatal):
            return False
        return isinstance(error, self.retry_on)

    def pause(self, attempt: int, dice: float) -> float:
        """Return the seconds to wait after attempt ``attempt``; ``dice`` is uniform in 0..1."""
        longest = min(self.cap, self.backoff * self.factor ** min(attempt - 1, 64))
        return longest * (1 - self.jitter * dice)
