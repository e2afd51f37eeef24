"""What can be wrong with a caller."""

from __future__ import annotations

from windlass.kernel.errors import Kind, WindlassError


class NotAuthenticated(WindlassError):
    """There is no credential, or one that is not known, no longer valid or malformed."""

    code = "UNAUTHORIZED"
    kind = Kind.UNAUTHORIZED
    challenge = "Bearer"
    """What the answer's ``WWW-Authenticate`` asks for."""


class TooManyLogins(WindlassError):
    """Wrong passwords were given for this name; ``retry_after`` is in seconds."""

    code = "RATE_LIMITED"
    kind = Kind.RATE_LIMITED

    def __init__(self, retry_after: float) -> None:
        super().__init__("Too many failed logins; try again later")
        self.retry_after = retry_after


MISSING = "Not authenticated"
UNKNOWN = "Could not validate credentials"
WRONG_PASSWORD = "Incorrect username or password"  # noqa: S105  a message
