"""The SQL of one candidate. Whoever changes one names the state it must be in; of two, one finds it so.

A trigger raises ``version``. SQLite's RETURNING shows the row of before it, so what a change made is read anew.
"""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from windlass.contexts.providers.model import (
    AlreadyDecided,
    Approval,
    ApprovalState,
    Candidate,
    CandidateNotFound,
    Changes,
    EmailTaken,
    Failure,
    Modified,
    NewCandidate,
    Status,
    as_json,
)
from windlass.contexts.providers.tables import candidates
from windlass.engine.ports import Transaction
from windlass.kernel.clock import to_iso
from windlass.storage.queries import iso, micros, text

_INSERT = """INSERT INTO candidates (id, tenant_id, company_name, contact_email, phone, products, truck_count,
 capacity_tons_per_day, location, created_at, updated_at) VALUES (:id, :tenant, :company_name, :contact_email, :phone,
 :products, :truck_count, :capacity_tons_per_day, :location, :now, :now) ON CONFLICT DO NOTHING"""
_OPEN = "status = 'pending' AND approval_state IS NULL"
_OURS = "id = :id AND status = 'pending' AND approval_run_id = :run_id AND approval_state IS NOT NULL"
_CLAIM = f"""UPDATE candidates SET approval_state = :state, approval_run_id = :run_id, approval_by = :by,
 approval_by_name = :by_name, approval_at = :at, approval_expires_at = :expires_at, approval_note = :note,
 approval_error = NULL, approval_failed_at = NULL,
 billing_name = CASE WHEN :state = 'awaiting_second' THEN billing_name ELSE coalesce(billing_name, company_name) END,
 billing_since = CASE WHEN :state = 'awaiting_second' THEN billing_since ELSE coalesce(billing_since, :now) END,
 updated_at = :now WHERE id = :id AND tenant_id = :tenant AND version = coalesce(:version, version) AND {_OPEN}"""  # noqa: S608
_REJECT = f"""UPDATE candidates SET status = 'rejected', rejection_reason = :reason, updated_at = :now,
 approval_state = CASE WHEN billing_name IS NOT NULL THEN 'needs_review' END,
 approval_note = CASE WHEN billing_name IS NOT NULL THEN 'billing may have a provider of the name '
  || billing_name || ', which an approval before this rejection asked for' END,
 approval_at = CASE WHEN billing_name IS NOT NULL THEN billing_since END
 WHERE id = :id AND tenant_id = :tenant AND version = coalesce(:version, version) AND {_OPEN}"""  # noqa: S608
_MOVE = f"""UPDATE candidates SET approval_state = :state, approval_note = :note, updated_at = :now
 WHERE {_OURS}"""  # noqa: S608
_FAILED = f"""UPDATE candidates SET approval_error = :error, approval_failed_at = :now, updated_at = :now
 WHERE {_OURS}"""  # noqa: S608
_RELEASE = f"""UPDATE candidates SET approval_state = NULL, approval_run_id = NULL, approval_by = NULL,
 approval_by_name = NULL, approval_at = NULL, approval_expires_at = NULL, approval_note = NULL, updated_at = :now
 WHERE {_OURS}"""  # noqa: S608
_APPROVE = f"""UPDATE candidates SET status = 'approved', provider_id = :provider_id, approval_state = NULL,
 approval_note = NULL, billing_name = NULL, billing_since = NULL, updated_at = :now WHERE {_OURS}"""  # noqa: S608
_SECOND = f"""UPDATE candidates SET approval_state = 'approving', approval_expires_at = NULL, updated_at = :now,
 billing_name = coalesce(billing_name, company_name), billing_since = coalesce(billing_since, :now)
 WHERE {_OURS} AND approval_state = 'awaiting_second'"""  # noqa: S608
_UNTRIED = f"""UPDATE candidates SET billing_name = NULL, billing_since = NULL, updated_at = :now
 WHERE {_OURS}"""  # noqa: S608
_TRIED_AS = f"""UPDATE candidates SET billing_name = company_name, updated_at = :now WHERE {_OURS}"""  # noqa: S608
_SEEN = """UPDATE candidates SET approval_state = NULL, approval_note = NULL, approval_at = NULL, billing_name = NULL,
 billing_since = NULL, updated_at = :now WHERE id = :id AND status = 'rejected' AND approval_state = 'needs_review'"""
_OWNER = "SELECT id FROM candidates WHERE provider_id = :provider_id AND id <> :id"
_RIVALS = """SELECT id FROM candidates WHERE (company_name = :name OR billing_name = :name) AND id <> :id
 AND (approval_state IS NOT NULL OR billing_since IS NOT NULL) ORDER BY id LIMIT 1"""
_OF_RUN = "SELECT id FROM candidates WHERE approval_run_id = :run_id AND approval_state IS NOT NULL"
_IS_OF_RUN = f"SELECT 1 FROM candidates WHERE {_OURS}"  # noqa: S608


def candidate(row: Any) -> Candidate:
    """Return a row of the table as a candidate."""
    approval = None
    if row["approval_state"] is not None:
        approval = Approval(
            row["approval_state"], row["approval_run_id"] or "", row["approval_by"] or "",
            row["approval_by_name"] or "",
            iso(row["approval_at"]) or "", iso(row["approval_expires_at"]), row["approval_note"],
        )  # fmt: skip
    return Candidate(
        row["id"], row["tenant_id"], row["company_name"], row["contact_email"], row["phone"],
        products_of(row["products"]), row["truck_count"], row["capacity_tons_per_day"], row["location"], row["status"],
        row["provider_id"], row["version"], row["rejection_reason"], iso(row["created_at"]) or "",
        iso(row["updated_at"]) or "", approval,
        None if row["approval_error"] is None else Failure(row["approval_error"], iso(row["approval_failed_at"]) or ""),
    )  # fmt: skip


def get(connection: sa.Connection, candidate_id: str, tenant_id: str | None = None) -> Candidate | None:
    """Return a candidate, or None; with a tenant only one of its own."""
    wanted = sa.select(candidates).where(candidates.c.id == candidate_id)
    if tenant_id is not None:
        wanted = wanted.where(candidates.c.tenant_id == tenant_id)
    row = connection.execute(wanted).mappings().first()
    return None if row is None else candidate(row)


def have(connection: sa.Connection, candidate_id: str, tenant_id: str | None = None) -> Candidate:
    """Return a candidate.

    Raises:
        CandidateNotFound: there is none.
    """
    found = get(connection, candidate_id, tenant_id)
    if found is None:
        raise CandidateNotFound
    return found


def insert(tx: Transaction, candidate_id: str, tenant_id: str, wanted: NewCandidate, now: int) -> None:
    """Store a new candidate.

    Raises:
        EmailTaken: another one has its e-mail address.
    """
    values = wanted._asdict() | {"products": as_json(wanted.products)}
    done = tx.execute(_INSERT, values | {"id": candidate_id, "tenant": tenant_id, "now": to_iso(now)})
    if done.rowcount != 1:
        raise EmailTaken


def has_email(connection: sa.Connection, email: str, except_id: str) -> bool:
    """Say whether another candidate has an e-mail address."""
    same = sa.func.lower(candidates.c.contact_email) == email.lower()
    found = connection.execute(sa.select(candidates.c.id).where(same, candidates.c.id != except_id)).first()
    return found is not None


def change(
    tx: Transaction, tenant_id: str, candidate_id: str, version: int | None, changes: Changes, now: int
) -> Candidate:
    """Change fields of a candidate, whatever its status, unless an approval is under way.

    Raises:
        CandidateNotFound: there is none.
        Modified: it has another version, or is being approved.
        EmailTaken: another one has the new e-mail address.
    """
    email = changes.get("contact_email")
    if email is not None and has_email(tx.connection, email, candidate_id):
        raise EmailTaken
    values = {field: as_json(value) if field == "products" else value for field, value in changes.items()}
    assigned = ", ".join(f"{field} = :{field}" for field in values)
    done = tx.execute(
        f"UPDATE candidates SET {assigned}, updated_at = :now WHERE id = :id AND tenant_id = :tenant"  # noqa: S608
        " AND version = coalesce(:version, version) AND approval_state IS NULL",
        values | {"id": candidate_id, "tenant": tenant_id, "version": version, "now": to_iso(now)},
    )
    if done.rowcount != 1:
        raise _refusal(tx, tenant_id, candidate_id, decided=False)
    return have(tx.connection, candidate_id)


def claim(
    tx: Transaction, tenant_id: str, candidate_id: str, version: int | None, approval: Approval, now: int
) -> Candidate:
    """Put an approval on a pending candidate that has none.

    Raises:
        CandidateNotFound: there is none.
        AlreadyDecided: it is approved or rejected.
        Modified: it has another version, or another approval is under way.
    """
    done = tx.execute(_CLAIM, {
        "id": candidate_id, "tenant": tenant_id, "version": version, "now": to_iso(now), "state": approval.state,
        "run_id": approval.run_id, "by": approval.requested_by, "by_name": approval.requested_by_name,
        "at": approval.requested_at, "expires_at": approval.expires_at, "note": approval.note,
    })  # fmt: skip
    if done.rowcount != 1:
        raise _refusal(tx, tenant_id, candidate_id)
    return have(tx.connection, candidate_id)


def reject(
    tx: Transaction, tenant_id: str, candidate_id: str, version: int | None, reason: str | None, now: int
) -> Candidate:
    """Reject a pending candidate that nobody is approving.

    Where an earlier approval may have left a provider at billing, the candidate says so and a person must look.

    Raises:
        CandidateNotFound, AlreadyDecided, Modified: as ``claim``.
    """
    done = tx.execute(
        _REJECT,
        {"id": candidate_id, "tenant": tenant_id, "version": version, "reason": reason, "now": to_iso(now)},
    )
    if done.rowcount != 1:
        raise _refusal(tx, tenant_id, candidate_id)
    return have(tx.connection, candidate_id)


def move(tx: Transaction, candidate_id: str, run_id: str, state: ApprovalState, note: str | None, now: int) -> bool:
    """Say how far the approval of a run is; False: the candidate has it no more."""
    values = {"id": candidate_id, "run_id": run_id, "state": state.value, "note": note, "now": to_iso(now)}
    return int(tx.execute(_MOVE, values).rowcount) == 1


def failed(tx: Transaction, candidate_id: str, run_id: str, error: str, now: int) -> None:
    """Note why the approval of a run has failed, until the next approval begins."""
    tx.execute(_FAILED, {"id": candidate_id, "run_id": run_id, "error": error, "now": to_iso(now)})


def release(tx: Transaction, candidate_id: str, run_id: str, now: int) -> bool:
    """Take the approval of a run off its candidate, which is simply pending then; False: it has it no more."""
    return int(tx.execute(_RELEASE, {"id": candidate_id, "run_id": run_id, "now": to_iso(now)}).rowcount) == 1


def approve(tx: Transaction, candidate_id: str, run_id: str, provider_id: int, now: int) -> bool:
    """End the approval of a run with its provider; False: the candidate has this approval no more.

    Raises:
        an IntegrityError of the driver: another candidate has this provider.
    """
    values = {"id": candidate_id, "run_id": run_id, "provider_id": provider_id, "now": to_iso(now)}
    return int(tx.execute(_APPROVE, values).rowcount) == 1


def second(tx: Transaction, candidate_id: str, run_id: str, now: int) -> bool:
    """Let an approval go on that waited for a second administrator; False: it does not wait for one any more."""
    return int(tx.execute(_SECOND, {"id": candidate_id, "run_id": run_id, "now": to_iso(now)}).rowcount) == 1


def seen(tx: Transaction, candidate_id: str, now: int) -> bool:
    """Note that a person has looked what billing has of a rejected candidate; False: nobody was to look."""
    return int(tx.execute(_SEEN, {"id": candidate_id, "now": to_iso(now)}).rowcount) == 1


def untried(tx: Transaction, candidate_id: str, run_id: str, now: int) -> None:
    """Note that billing has certainly made no provider for this candidate."""
    tx.execute(_UNTRIED, {"id": candidate_id, "run_id": run_id, "now": to_iso(now)})


def tried_as(tx: Transaction, candidate_id: str, run_id: str, now: int) -> None:
    """Note that the name under which billing may have a provider for this candidate is the one it has now."""
    tx.execute(_TRIED_AS, {"id": candidate_id, "run_id": run_id, "now": to_iso(now)})


def tried(connection: sa.Connection, candidate_id: str) -> tuple[str | None, int | None]:
    """Return the name under which billing may have a provider for a candidate, and since when (microseconds)."""
    c = candidates.c
    row = connection.execute(sa.select(c.billing_name, c.billing_since).where(c.id == candidate_id)).first()
    return (None, None) if row is None else (row[0], None if row[1] is None else micros(row[1]))


def owner_of(tx: Transaction, provider_id: int, candidate_id: str) -> str | None:
    """Return the other candidate that has a provider."""
    row = tx.execute(_OWNER, {"provider_id": provider_id, "id": candidate_id}).fetchone()
    return None if row is None else str(row[0])


def rival(tx: Transaction, name: str, candidate_id: str) -> str | None:
    """Return another candidate for which billing may have made a provider under a name, its own now or before."""
    row = tx.execute(_RIVALS, {"name": name, "id": candidate_id}).fetchone()
    return None if row is None else str(row[0])


def is_of_run(tx: Transaction, candidate_id: str, run_id: str) -> bool:
    """Say whether a candidate is there and has the approval of a run."""
    return tx.execute(_IS_OF_RUN, {"id": candidate_id, "run_id": run_id}).fetchone() is not None


def of_run(tx: Transaction, run_id: str) -> str | None:
    """Return the candidate whose approval a run still has."""
    row = tx.execute(_OF_RUN, {"run_id": run_id}).fetchone()
    return None if row is None else str(row[0])


def products_of(stored: Any) -> tuple[str, ...]:
    """Return the products of a column, whichever way the driver gave it."""
    return tuple(orjson.loads(text(stored) or "[]"))


def _refusal(tx: Transaction, tenant_id: str, candidate_id: str, *, decided: bool = True) -> Exception:
    """Return why a candidate could not be changed; ``decided``: also because it is approved or rejected."""
    found = get(tx.connection, candidate_id, tenant_id)
    if found is None:
        return CandidateNotFound()
    if decided and found.status != Status.PENDING:
        return AlreadyDecided(found.status)
    return Modified(version=found.version)
