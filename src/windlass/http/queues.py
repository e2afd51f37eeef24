"""Routes of queues."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from windlass.http.bodies import read_known
from windlass.http.query import read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, route, whole
from windlass.http.schemas import DrainAnswer, QueueAnswer, QueuesAnswer
from windlass.kernel.checks import MOST_PLACES
from windlass.kernel.errors import Issue
from windlass.storage.queues import change_queue, drain_queue, queues

QUEUE_NAME = r"^(\*|[A-Za-z_][A-Za-z0-9_.<>:-]{0,199})$"
CHANGE_BODY: dict[str, Any] = {
    "type": "object",
    "title": "Changes of a queue",
    "additionalProperties": False,
    "properties": {
        "limit": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_PLACES}, {"type": "null"}]},
        "paused": {"type": "boolean"},
    },
}


async def listing(request: Request) -> Response:
    """List the queues that have a limit, are paused or have open runs; `*` is all of them together."""
    read_query(request, ())
    found = await application(request).engine.read(queues)
    return Json({"items": [queue._asdict() for queue in found], "count": len(found)})


async def change(request: Request) -> Response:
    """Limit or pause a queue, over all processes; what is left out stays as it is."""
    read_query(request, ())
    changes = read_changes(await request.body())
    engine, queue = application(request).engine, request.path_params["queue"]
    return Json((await change_queue(engine, queue, changes))._asdict())


async def drain(request: Request) -> Response:
    """Pause a queue, and say how many of its runs are still worked on; ask again until it is `drained`.

    It stays paused until it is let go on with `PATCH`.
    """
    read_query(request, ())
    engine, queue = application(request).engine, request.path_params["queue"]
    return Json((await drain_queue(engine, queue))._asdict())


def read_changes(raw: bytes) -> dict[str, Any]:
    """Return the changes of a queue.

    Raises:
        ValidationFailed: a field is unknown or wrong; names each.
    """
    value = read_known(raw, CHANGE_BODY["properties"], _complaints)
    return value if value.get("limit") is None else value | {"limit": whole(value["limit"])}


def _complaints(name: str, given: Any) -> list[Issue]:
    if name == "paused" and type(given) is not bool:
        return [Issue(("body", name), "Input should be true or false", "bool_type")]
    if name == "limit" and given is not None and not 1 <= (whole(given) or 0) <= MOST_PLACES:
        return [Issue(("body", name), f"Input should be an integer from 1 to {MOST_PLACES}, or null", "int_type")]
    return []


def routes() -> list[DirectRoute]:
    """Return the routes of queues."""
    tag = "queues"
    body = {"application/json": {"schema": CHANGE_BODY}}
    return [
        route("GET", "/queues", listing, tag=tag, answers={200: QueuesAnswer}, errors=(422,)),
        route("PATCH", "/queues/{queue}", change, tag=tag, answers={200: QueueAnswer},
              errors=(400, 401, 413, 422), body=body, path_pattern=QUEUE_NAME),
        route("POST", "/queues/{queue}/drain", drain, tag=tag, answers={200: DrainAnswer}, errors=(400, 401, 422),
              path_pattern=QUEUE_NAME),
    ]  # fmt: skip
