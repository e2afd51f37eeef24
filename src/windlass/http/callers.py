"""Who is calling under ``/api/v1``, and whether its token reaches as far as this call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from starlette.requests import Request

from windlass.contexts.identity.api import KEEPER, MISSING, SCOPE, Caller, Grant, NotAuthenticated
from windlass.contexts.limits.api import Limit
from windlass.http.access import ANYBODY, Access
from windlass.http.logs import REQUEST_ID
from windlass.http.routing import application
from windlass.kernel.actors import Actor, Forbidden
from windlass.kernel.errors import Unavailable, WindlassError

__all__ = ["KEEPER", "admit", "caller"]

SCHEDULE_HEADER = "x-workflow-schedule-id"
_KNOWN = "windlass.caller"
_RECOGNISED = "windlass.recognised"
_BEARER = re.compile(r"bearer +\S", re.IGNORECASE)
RATES: Mapping[str | None, Limit] = {"workflows.run_adhoc": Limit.ADHOC, "workflows.run_saved": Limit.SAVED}
"""Which rate counts the requests of an endpoint."""


async def caller(request: Request) -> Actor:
    """Return who is calling; below ``/api/v1/`` that is known before the handler runs, and this costs nothing.

    Raises:
        NotAuthenticated: no credential, or one that is not known.
        Forbidden: the token does not reach as far as this call.
    """
    known: Actor | None = request.scope.get(_KNOWN)
    return known or await admit(request, ANYBODY)


async def recognised(request: Request) -> Caller:
    """Return who sent a request; it is found out once, for the middleware that counts and for the route.

    Raises:
        NotAuthenticated: no credential, or one that is not known.
        Unavailable: the database is away.
    """
    found: Caller | WindlassError | None = request.scope.get(_RECOGNISED)
    if found is None:
        try:
            found = await application(request).identity.recognise(request.headers)
        except (NotAuthenticated, Unavailable) as error:
            found = error
        request.scope[_RECOGNISED] = found
    if isinstance(found, WindlassError):
        raise found
    return found


async def visitor(request: Request) -> Actor | None:
    """Return who is calling where nobody has to say so; None is who does not, or whose token is for something else."""
    try:
        found = await recognised(request)
    except NotAuthenticated:
        return None
    return replace(found.actor, request_id=REQUEST_ID.get()) if found.grant is None else None


async def admit(request: Request, access: Access) -> Actor:
    """Make sure that a request may have what it asks for, and return who is calling.

    Raises:
        NotAuthenticated: no credential, or one that is not known.
        Forbidden: a permission is missing, or the token does not reach as far as this call.
        LimitExceeded: it has been asked for too often in this minute.
        Unavailable: the database is away.
    """
    identity = application(request).identity
    if access.bearer and not _BEARER.match(request.headers.get("authorization", "")):
        raise NotAuthenticated(MISSING)
    actor, grant = await recognised(request)
    if grant is not None:
        check_grant(request, grant, access)
    access.admit(actor)
    rate = RATES.get(access.endpoint)
    if rate is not None:
        await application(request).limits.request(actor, rate)
    if grant is not None:
        await identity.spend(grant, runs=int(access.runs))
    actor = replace(actor, request_id=REQUEST_ID.get())
    request.scope[_KNOWN] = actor
    return actor


def check_grant(request: Request, grant: Grant, access: Access) -> None:
    """Make sure that a token that is narrowed down reaches as far as a call.

    What needs a token even in development is for people who have logged in.

    Raises:
        Forbidden: it does not; says in what.
    """
    if access.bearer:
        raise Forbidden("Forbidden: no virtual key reaches this")
    if grant.scope is not None and grant.scope != SCOPE:
        raise Forbidden("Forbidden: invalid token scope")
    if grant.endpoints is not None and access.endpoint not in grant.endpoints:
        raise Forbidden("Forbidden: endpoint not permitted")
    if grant.methods is not None and request.method not in {method.upper() for method in grant.methods}:
        raise Forbidden("Forbidden: method not permitted")
    if grant.paths is not None and not any(_below(request.scope["path"], path) for path in grant.paths):
        raise Forbidden("Forbidden: path not permitted")
    if grant.schedule_id is not None and access.endpoint is not None:
        named = request.path_params.get("schedule_id") or request.headers.get(SCHEDULE_HEADER)
        if named != grant.schedule_id:
            raise Forbidden("Forbidden: schedule scope mismatch")


def _below(path: str, prefix: str) -> bool:
    """Say whether a path is a prefix or below it: ``/workflows/1`` is not above ``/workflows/12``."""
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
