"""Routes of candidates: below ``/candidates`` and, the same, below ``/api/providers/candidates``.

A change names the version that it is made to: ``version`` in the body, where another one is a 409, or the ETag in
``If-Match``, where it is a 412. Nobody has to name one; of two who do not, the second finds what the first has left.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from windlass.contexts.providers.api import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    MODIFIED,
    NAME_LENGTH,
    ApprovalState,
    Approved,
    Candidate,
    ListQuery,
    Modified,
    Status,
)
from windlass.http.access import NOBODY, Access
from windlass.http.bodies import complaint, read_body, read_object, text
from windlass.http.callers import caller
from windlass.http.candidate_shapes import (
    APPROVE,
    APPROVE_BODY,
    CHANGE_BODY,
    NEW_BODY,
    REJECT,
    REJECT_BODY,
    REVIEW,
    REVIEW_BODY,
    VERSION,
    ApprovedAnswer,
    ApprovingAnswer,
    CandidateAnswer,
    CandidatesAnswer,
    RejectedAnswer,
)
from windlass.http.query import NO_NUL, Parameter, Wrong, choice, integer, read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, json_headers, route
from windlass.kernel.errors import Issue, Stale, ValidationFailed

T = TypeVar("T")

BASES = ("/candidates", "/api/providers/candidates")
ADMIN = Access(admin=True, bearer=True, refusal="Admin access required")
"""Administrators, who say who they are by a token in every environment."""
TENANT = "default"
"""Whose candidates somebody registers and reads who does not say who he is."""
UUID = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
_UUID = re.compile(UUID)
_TAG = re.compile(r'"(\d{1,18})"')


def bounded(name: str, most: int, description: str) -> Parameter:
    """Return a parameter that is a text of a bounded length."""
    schema = text(most)

    def read(given: str) -> str:
        wrong = complaint(schema, given)
        if wrong is not None:
            raise Wrong(wrong, "value_error")
        return given

    return Parameter(name, {"type": "string", "minLength": 1, "maxLength": most, "pattern": NO_NUL}, description, read)


LIST: list[Parameter] = [
    choice("status", [status.value for status in Status], "Only candidates in this status"),
    choice("approval", [state.value for state in ApprovalState], "Only candidates whose approval is in this state"),
    bounded("product", NAME_LENGTH, "Only candidates that offer this product"),
    bounded("q", NAME_LENGTH, "Only candidates whose company name or e-mail address has this text, in whatever case"),
    integer("limit", "Candidates on a page", least=1, most=MAX_LIMIT),
    integer("offset", "Candidates to leave out", least=0),
    integer("page", "Which page, from 1; instead of `offset`", least=1, most=10**12),
    integer("page_size", "Candidates on a page; instead of `limit`", least=1, most=MAX_LIMIT),
]
APPROVE_QUERY: list[Parameter] = [
    choice("wait", ("true", "false"), "Whether to wait for billing; `false` is answered 202 and goes on", "true")
]


async def create(request: Request) -> Response:
    """Register a candidate; it is on disk when the answer comes."""
    tenant_id, whole = await _reader(request)
    read_query(request, ())
    key = json_headers(request)
    fields = read_object(await request.body())
    made = await application(request).providers.candidates.create(tenant_id, fields, key)
    return _shown(made, 201, {"Location": f"{_base(request)}/{made.candidate_id}"}, whole=whole)


async def listing(request: Request) -> Response:
    """List candidates, newest first."""
    tenant_id, whole = await _reader(request)
    asked = read_query(request, LIST)
    limit, offset = _page(asked)
    query = ListQuery(tenant_id, asked["status"], asked["product"], asked["q"], limit, offset, asked["approval"])
    page = await application(request).providers.candidates.page(query)
    return Json({
        "candidates": [one.view(whole=whole) for one in page.items],
        "pagination": {"total": page.total, "limit": limit, "offset": offset},
    })  # fmt: skip


async def get(request: Request) -> Response:
    """Get one candidate."""
    tenant_id, whole = await _reader(request)
    read_query(request, ())
    found = await application(request).providers.candidates.get(tenant_id, _candidate_id(request))
    return _shown(found, whole=whole)


async def change(request: Request) -> Response:
    """Change some fields of a candidate that nobody is approving."""
    actor = await caller(request)
    read_query(request, ())
    json_headers(request)
    candidate_id = _candidate_id(request)
    fields = read_object(await request.body())
    version = _version(fields.pop("version", None))
    candidates = application(request).providers.candidates
    expected = await _expected(request, candidate_id, version)
    return _shown(await _if_match(request, candidates.change(actor, candidate_id, fields, version=expected)))


async def approve(request: Request) -> Response:
    """Approve a candidate, which creates its provider at billing: exactly one, whatever happens meanwhile.

    The answer waits until billing has done so, and is a 502 with the candidate pending again when it refuses or stays
    away. With `wait=false`, or when it takes long, it is a 202 and the approval goes on.
    """
    actor = await caller(request)
    wait = read_query(request, APPROVE_QUERY)["wait"] == "true"
    json_headers(request)
    candidate_id = _candidate_id(request)
    asked = read_body(await request.body(), APPROVE, optional=True)
    expected = await _expected(request, candidate_id, asked.get("version"))
    approvals = application(request).providers.approvals
    outcome = await _if_match(request, approvals.approve(actor, candidate_id, version=expected, wait=wait))
    if isinstance(outcome, Approved):
        return Json({"candidate_id": candidate_id, "status": "approved", "provider_id": outcome.provider_id})
    answer = {"candidate_id": candidate_id, "status": "pending", "approval": outcome.approval.view()}
    return Json(answer, 202, {"Location": f"{_base(request)}/{candidate_id}"})


async def reject(request: Request) -> Response:
    """Reject a candidate, with a reason or without."""
    actor = await caller(request)
    read_query(request, ())
    json_headers(request)
    candidate_id = _candidate_id(request)
    asked = read_body(await request.body(), REJECT, optional=True)
    reason = asked.get("reason", asked.get("rejection_reason"))
    if asked.get("rejection_reason", reason) != reason:
        raise ValidationFailed([Issue(("body", "rejection_reason"), "Another one than reason", "contradiction")])
    expected = await _expected(request, candidate_id, asked.get("version"))
    candidates = application(request).providers.candidates
    done = await _if_match(request, candidates.reject(actor, candidate_id, version=expected, reason=reason))
    answer = {"candidate_id": candidate_id, "status": done.status, "rejection_reason": done.rejection_reason}
    return Json(answer, headers={"ETag": _tag(done)})


async def review(request: Request) -> Response:
    """Settle an approval that needs a person: name the provider that billing has for it, or release the candidate.

    `release` also gives up an approval that waits for a second administrator or for billing. One that waits for
    billing is given up when its call has ended, and the answer waits for that; it is a 202 where that takes long. The
    candidate is pending again where billing has certainly made no provider, else it needs a person.
    """
    actor = await caller(request)
    read_query(request, ())
    json_headers(request)
    candidate_id = _candidate_id(request)
    asked = read_body(await request.body(), REVIEW)
    provider_id = asked.get("provider_id")
    if (provider_id is None) == ("release" not in asked):
        raise ValidationFailed([Issue(("body", "provider_id"), "Give provider_id, or release as true", "missing")])
    expected = await _expected(request, candidate_id, asked.get("version"))
    approvals = application(request).providers.approvals
    settled = approvals.review(actor, candidate_id, version=expected, provider_id=provider_id)
    found = await _if_match(request, settled)
    goes_on = found.approval is not None and found.approval.state == ApprovalState.WAITING_FOR_BILLING
    return _shown(found, 202 if goes_on else 200)


async def _reader(request: Request) -> tuple[str, bool]:
    """Return whose candidates a caller sees who may say nothing of himself, and whether he sees all of an approval.

    Raises:
        NotAuthenticated: he does say something, and it is not known.
    """
    said = "authorization" in request.headers or "x-api-key" in request.headers
    if not said:
        return TENANT, False
    actor = await caller(request)
    return actor.tenant_id, actor.is_admin


def _candidate_id(request: Request) -> str:
    given: str = request.path_params["candidate_id"]
    if not _UUID.fullmatch(given):
        raise ValidationFailed([Issue(("path", "candidate_id"), "Input should be a valid UUID", "uuid_parsing")])
    return given.lower()


def _page(asked: dict[str, Any]) -> tuple[int, int]:
    """Return a page's length and how many candidates come before it."""
    paged = asked["page"] is not None or asked["page_size"] is not None
    mixed = [name for name in ("limit", "offset") if paged and asked[name] is not None]
    if mixed:
        message = "Give limit and offset, or page and page_size"
        raise ValidationFailed([Issue(("query", name), message, "excluded") for name in mixed])
    limit = asked["limit"] or asked["page_size"] or DEFAULT_LIMIT
    return limit, (asked["offset"] or 0) if not paged else ((asked["page"] or 1) - 1) * limit


def _version(given: Any) -> int | None:
    wrong = None if given is None else complaint(VERSION.schema, given)
    if wrong is not None:
        raise ValidationFailed([Issue(("body", "version"), wrong, "value_error")])
    found: int | None = given
    return found


async def _expected(request: Request, candidate_id: str, version: int | None) -> int | None:
    """Return the version that a candidate must have; one that ``If-Match`` names is the one it has now.

    Raises:
        Stale: ``If-Match`` names others.
        CandidateNotFound: there is no candidate to have one.
    """
    given = ",".join(request.headers.getlist("if-match"))
    named = [one.strip() for one in given.split(",")]
    if not given or "*" in named:
        return version
    tenant_id = (await caller(request)).tenant_id
    found = await application(request).providers.candidates.get(tenant_id, candidate_id)
    if found.version not in _versions(named):
        raise Stale(MODIFIED, version=found.version)
    return found.version if version is None else version


def _versions(named: Iterable[str]) -> set[int]:
    return {int(found[1]) for one in named if (found := _TAG.fullmatch(one))}


async def _if_match(request: Request, doing: Awaitable[T]) -> T:
    """Do what a candidate of a version is needed for.

    Raises:
        Stale: ``If-Match`` named the version, and it has changed since it was looked at.
    """
    try:
        return await doing
    except Modified as error:
        if "if-match" in request.headers and request.headers["if-match"].strip() != "*":
            raise Stale(MODIFIED, **error.data) from error
        raise


def _base(request: Request) -> str:
    path: str = request.scope["path"]
    return BASES[1] if path.startswith(BASES[1]) else BASES[0]


def _tag(candidate: Candidate) -> str:
    return f'"{candidate.version}"'


def _shown(
    candidate: Candidate, status: int = 200, headers: dict[str, str] | None = None, *, whole: bool = True
) -> Json:
    return Json(candidate.view(whole=whole), status, {"ETag": _tag(candidate), **(headers or {})})


def routes() -> list[DirectRoute]:
    """Return the routes of candidates; those of the second prefix are not described again."""
    found = []
    for base in BASES:
        below = _below(base)
        for one in below:
            one.include_in_schema = base == BASES[0]
        found += below
    return found


def _below(base: str) -> list[DirectRoute]:
    tag, one = "candidates", f"{base}/{{candidate_id}}"
    approved: dict[int, Any] = {200: ApprovedAnswer, 202: ApprovingAnswer}
    asked = (400, 401, 403, 404, 409, 412, 413, 422, 429)
    return [
        route("POST", base, create, tag=tag, answers={201: CandidateAnswer}, errors=(400, 401, 409, 413, 422, 429),
              body=NEW_BODY, keyed=True, tagged=True, access=NOBODY),
        route("GET", base, listing, tag=tag, answers={200: CandidatesAnswer}, errors=(401, 422, 429), parameters=LIST,
              access=NOBODY),
        route("GET", one, get, tag=tag, answers={200: CandidateAnswer}, errors=(401, 404, 422, 429), path_pattern=UUID,
              tagged=True, access=NOBODY),
        route("PATCH", one, change, tag=tag, answers={200: CandidateAnswer}, errors=asked, path_pattern=UUID,
              body=CHANGE_BODY, tagged=True, access=ADMIN),
        route("POST", f"{one}/approve", approve, tag=tag, answers=approved, errors=(*asked, 502), path_pattern=UUID,
              parameters=APPROVE_QUERY, body=APPROVE_BODY, body_required=False, access=ADMIN),
        route("POST", f"{one}/reject", reject, tag=tag, answers={200: RejectedAnswer}, errors=asked, path_pattern=UUID,
              body=REJECT_BODY, body_required=False, access=ADMIN),
        route("POST", f"{one}/review", review, tag=tag, answers={200: CandidateAnswer, 202: CandidateAnswer},
              errors=asked, path_pattern=UUID, body=REVIEW_BODY, tagged=True, access=ADMIN),
    ]  # fmt: skip
