"""What can go wrong between a run that is open and those who follow it, ask it or want to change it."""

from __future__ import annotations

from windlass.engine.errors import SignalTimeout
from windlass.kernel.errors import Conflict, Invalid, Kind, WindlassError


class StreamClosed(WindlassError):
    """The stream was closed: it takes no further items."""

    code = "STREAM_CLOSED"


class UpdateTimeout(SignalTimeout):
    """An update did not come in time."""

    code = "UPDATE_TIMEOUT"


class UpdateRefused(WindlassError):
    """The run's validator refused the update; nothing of it is in the journal. ``data``: ``update_id``."""

    code = "UPDATE_REFUSED"
    kind = Kind.VALIDATION


class UpdateFailed(Conflict):
    """The run took the update and answered that it failed. ``data``: ``update_id``."""

    code = "UPDATE_FAILED"


class QueryRefused(Invalid):
    """The run has no query of this name, or its handler wanted to do more than look."""

    code = "QUERY_REFUSED"


class QueryFailed(Conflict):
    """The handler of the query raised an error."""

    code = "QUERY_FAILED"


class NoAnswer(WindlassError):
    """The run did not answer in time; an update that was sent stays sent. ``data``: its ``update_id``."""

    code = "NO_ANSWER"
    kind = Kind.TIMED_OUT


class LooksOnly(Exception):
    """A validator or the handler of a query called something that a replay would have to know of."""
