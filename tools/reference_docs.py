"""Write the pages of `docs/reference` on events, errors and HTTP from the code.

`python -m tools.reference_docs` writes them; a test fails when one is out of date, or when the code has an event that
nothing here explains.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import windlass
from windlass.cli.exits import MEANINGS, explain
from windlass.contexts.records.api import REPORTS
from windlass.contexts.records.api import Status as RecordStatus
from windlass.contexts.workflows.api import REFERENCE
from windlass.engine.types import WITH_PEOPLE
from windlass.engine.types import Status as RunStatus
from windlass.http import (
    artifacts,
    audit,
    auth,
    candidates,
    definitions,
    health,
    operations,
    people,
    queues,
    records,
    reports,
    run_live,
    runs,
    schedules,
    system,
    webhooks,
    workflow_bulk,
    workflow_history,
    workflow_runs,
)
from windlass.http.errors import TABLE
from windlass.http.routing import IDEMPOTENCY_KEY, DirectRoute
from windlass.kernel.errors import Kind, ValidationFailed, WindlassError

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "windlass"
_GENERATED = "\n\nGenerated from the code: `python -m tools.reference_docs`.\n"

EVENTS = {
    "run_started": "the workflow's code was called for the first time",
    "run_continued": "the workflow has begun anew with the arguments in `inputs`: what is before is replayed no more",
    "run_requeued": "the run went back to its queue because its holder died, or because nothing would have woken it",
    "run_paused": "the run does nothing until it is resumed; `by` says who paused it",
    "run_resumed": "a paused run may go on",
    "run_migrated": "the run was bound to another version of its workflow: `from`, `to`, and `by` whom",
    "run_forked": "the run takes over what `from_run_id` had come to before `from_step`: the events that follow",
    "run_retried": "a failed run was opened again at the steps that failed it",
    "run_completed": "the run succeeded; its output is in the run",
    "run_failed": "the run failed; `failed_steps` are those that `retry` opens again",
    "cancel_acknowledged": "a cancellation has reached the run",
    "run_cancelled": "the run ended because someone asked",
    "step_started": "an attempt of a step began; written with its outcome unless the step runs long",
    "step_completed": "a step succeeded: its `output`, and the number of the `attempt`",
    "step_failed": "an attempt failed; with `retry_at` another one follows, without the step has failed for good",
    "step_timeout": "the attempt took longer than the step's `timeout`",
    "step_retry_suppressed": "no further attempt is made although some were left: none could succeed",
    "timer_started": "a sleep began; `due_at` is in microseconds",
    "timer_fired": "a sleep is over",
    "signal_awaited": "the run waits for a signal and will give up at `due_at`",
    "signal_received": "a signal was handed to the code",
    "signal_timed_out": "the signal did not come in time",
    "update_awaited": "the run waits for an update and will give up at `due_at`",
    "update_accepted": "an update passed the validator and was handed to the code: its `name`, `id` and `payload`",
    "update_answered": "the code answered the update of this `id`: `result`, or `error` where it failed",
    "update_timed_out": "no update came in time",
    "stream_written": "the code wrote `items` items to a `stream`, from `offset` on; `closed`: it was refused",
    "stream_closed": "the code closed a `stream`",
    "step_streamed": "an attempt of a step wrote `items` items to a `stream`, from `offset` on",
    "value_published": "the code published a `value` under a `key`",
    "step_published": "an attempt of a step did",
    "waiting_human": "a person was asked: `assigned_to` says whom, `due_at` until when (microseconds)",
    "waiting_approval": "a person was asked for consent; as `waiting_human`",
    "human_reminded": "whoever was asked and has not answered was reminded",
    "checkpoint": "a step of a definition kept `data` under `checkpoint_id`; it is an artifact of the run, too",
    "human_rejected": "a person has said no",
    "human_timeout": "nobody has answered in the time that was given",
    "child_started": "a child run was started; `run_id` is its id",
    "child_completed": "a child ended, however: `status` and `result`",
    "value_recorded": "`now`, `uuid` or `random` gave the code this `value`; `patched` marks a run so",
    "webhook_delivery": "an attempt to deliver a webhook that tells of the run: `host`, `status` (delivered, failed,"
    " blocked), `code`, `reason`, `source`, `attempt`, `webhook_id`; the end of the run may come before it",
}

WAITS = {
    "timer": "a sleep, or the pause before a retry",
    "signal:<name>": "a signal",
    "update:<name>": "an update",
    "child:<run>": "a child run",
    "<n> things": "several of these at once",
    "delayed": "its own start, which was put off",
    "paused": "`resume`",
    "poisoned": "`resume`; its holders died too often without any progress between",
    "write_failed": "another attempt to write, in a few seconds: the database refused its events (a full disk, say)",
    "idle": "something that the code waits for outside of Windlass",
}

RUN_STATUSES = {
    RunStatus.QUEUED: "waits to be begun",
    RunStatus.RUNNING: "begun; when it waits for something, `wait_reason` says for what",
    RunStatus.PAUSED: "does nothing until it is resumed; `status_reason` says why",
    RunStatus.WAITING_HUMAN: "waits for a person, and for nothing else",
    RunStatus.WAITING_APPROVAL: "waits for a person's consent, and for nothing else",
    RunStatus.SUCCEEDED: "ended with an output; never changes",
    RunStatus.FAILED: "ended with an error; changed by `retry` alone",
    RunStatus.CANCELLED: "ended because someone asked; never changes",
}

RECORD_STATUSES = {
    RecordStatus.PENDING: "stored, not processed yet, or being processed",
    RecordStatus.PROCESSED: "processed; `classification`, `score` and `result` say how",
    RecordStatus.FAILED: "`error` says why; `retry` processes it again",
}

CODES = {
    Kind.INVALID: "the request cannot be understood or breaks a rule",
    Kind.VALIDATION: "fields are missing, unknown, of the wrong type or out of range; `details` names each",
    Kind.UNAUTHORIZED: "the API key or another credential is missing or wrong",
    Kind.FORBIDDEN: "the caller may not do this",
    Kind.NOT_FOUND: "nothing is there under that name or path",
    Kind.CONFLICT: "the object is not in a state that allows this, or an idempotency key was used for something else",
    Kind.STALE: "the object was changed since the caller read it (`If-Match`); nothing was done",
    Kind.TOO_LARGE: "the request is larger than the settings allow",
    Kind.RATE_LIMITED: "too many requests",
    Kind.BAD_GATEWAY: "another service that is needed for this refuses, or does not answer",
    Kind.UNAVAILABLE: "the database is away or writers have fallen behind: try again after `Retry-After` seconds",
    Kind.TIMED_OUT: "what was waited for has not come in time; it goes on",
    Kind.INTERNAL: "a fault of the product; nothing of the inside is told, the log has the traceback",
}


def event_types() -> set[str]:
    """Return the type of every event that the code writes."""
    found: set[str] = {status.value for status in WITH_PEOPLE}
    folders = ("engine", "contexts", "deploy", "live")
    for path in (path for folder in folders for path in (SOURCE / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = {"NewEvent": 0, "Event": 2, "note": 0, "note_in": 2}.get(node.func.id)
                if place is not None and len(node.args) > place:
                    kind = node.args[place]
                    value = kind.value if isinstance(kind, ast.Constant) else None
                    found |= {value} if isinstance(value, str) and value.isidentifier() else set()
    return found


def errors() -> list[type[WindlassError]]:
    """Return every public error that the engine raises to its callers, and what answers for open runs."""
    homes = [importlib.import_module(f"windlass.{package}.errors") for package in ("engine", "live")]
    found = [
        value
        for home in homes
        for value in vars(home).values()
        if inspect.isclass(value) and value.__module__ == home.__name__
    ]
    return [error for error in found if issubclass(error, WindlassError)]


def _table(head: str, rows: Iterator[tuple[str, ...]]) -> str:
    names = head.split("|")
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def events_page() -> str:
    """Return `docs/reference/events.md`."""
    return (
        "# Events and statuses" + _GENERATED + "\n## Events\n\n"
        "The journal of a run: `event_seq` counts 1, 2, 3 … within the run, `step_id` is the\n"
        "[path](../concepts/paths.md) of the call, `payload` holds the rest. `windlass runs events` and\n"
        "`GET /runs/{run_id}/events` show it.\n\n"
        + _table("event|means", ((f"`{name}`", meaning) for name, meaning in EVENTS.items()))
        + "\n## Statuses of a run\n\n"
        + _table("status|means", ((f"`{status.value}`", meaning) for status, meaning in RUN_STATUSES.items()))
        + "\n## What a run waits for (`wait_reason`)\n\n"
        + _table("reason|wakes it", ((f"`{name}`", meaning) for name, meaning in WAITS.items()))
        + "\n## Statuses of a record\n\n"
        + _table("status|means", ((f"`{status.value}`", meaning) for status, meaning in RECORD_STATUSES.items()))
    )


def _codes() -> Iterator[tuple[str, ...]]:
    for kind, meaning in CODES.items():
        shown = TABLE[kind]
        error: WindlassError = ValidationFailed([]) if kind is Kind.VALIDATION else _of(kind)
        yield str(shown.status), f"`{shown.code}`", str(explain(error).code.value), meaning


def _of(kind: Kind) -> WindlassError:
    error = WindlassError("")
    error.kind = kind
    return error


def _summary(error: type[WindlassError]) -> str:
    return inspect.getdoc(error).partition("\n\n")[0].replace("\n", " ").replace("``", "`")  # type: ignore[union-attr]  # lint asks for one


def errors_page() -> str:
    """Return `docs/reference/errors.md`."""
    exported = set(windlass.__all__)
    return (
        "# Errors" + _GENERATED + "\n## Over HTTP and on the command line\n\n"
        'An error is `{"error": {"code", "message", "details"}, "request_id"}`; below `/api/v1/`, `/auth/` and\n'
        '`/candidates` it is `{"detail", "code", "request_id"}`. A command that meets one ends with its exit code.\n\n'
        + _table("status|code|exit code|means", _codes())
        + "\nOf HTTP alone: 405 `METHOD_NOT_ALLOWED`; for artifacts 415 `UNSUPPORTED_MEDIA_TYPE` and 416\n"
        "`RANGE_NOT_SATISFIABLE`.\n\n## Exit codes\n\n"
        + _table("code|means", ((str(code.value), meaning) for code, meaning in MEANINGS.items()))
        + "\n## In Python\n\nAll are `windlass.kernel.errors.WindlassError`, with `code`, `kind`, `message` and `data`."
        " Those with a star can be\nimported from `windlass`.\n\n"
        + _table(
            "error|code|means",
            (
                (f"`{error.__name__}`{'*' if error.__name__ in exported else ''}", f"`{error.code}`", _summary(error))
                for error in errors()
            ),
        )
    )


HTTP_OPENING = """
Every call with its parameters, bodies and answers is described by the service itself: for people at `/docs`, which also
lets you try them and needs no network, for machines at `/openapi.json`.

```bash
curl -s http://localhost:8000/openapi.json | jq -c '.info'
```

```json
{"title": "workflow_service", "version": "0.1.0", "…": "…"}
```

* Errors are [one envelope](errors.md). Every answer carries `X-Request-ID`: yours when you sent one, else a new one.
* With `API_KEY` set, calls that change something need it in `X-API-Key`. Below `/api/v1/` every caller is
  [known](../howto/users-and-keys.md).
* `Idempotency-Key` makes a repeated request harmless where the table has a star: it gets the first one's answer.
* Dates: `2026-01-31` is a whole UTC day; a date-time needs its zone. One that cannot be read is a 400 wherever lists
  are filtered; any other parameter that cannot be read, or that there is none of, is a 422. Both name it.
* Unknown fields are refused.
* `POST /records` takes JSON: a `Content-Type` that says something else, as `curl -d` alone does, is refused with a 400.
* `HEAD` answers like `GET`, without the body.
* What is no HTTP (a broken request line or header, say) never reaches the service: uvicorn answers it with a 400 in
  plain text, without the envelope and `X-Request-ID`, and closes the connection.
"""


PARTS = (
    records, reports, runs, run_live, queues, system, health, operations, auth, audit, definitions, workflow_runs,
    workflow_history, workflow_bulk, people, artifacts, webhooks, schedules, candidates,
)  # fmt: skip
"""Whose routes are listed."""


def http_page() -> str:
    """Return `docs/reference/http.md`."""
    parts = [route for part in PARTS for route in part.routes() if route.include_in_schema]
    calls = ((f"{_call(route)}{'*' if _keyed(route) else ''}", str(route.summary)) for route in parts)
    names = ", ".join(f"`{name}`" for name in REPORTS)
    return "# HTTP" + _GENERATED + HTTP_OPENING + "\n" + _table("call|does", calls) + f"\nThe reports are {names}.\n"


def _call(route: DirectRoute) -> str:
    [method] = route.methods or ("GET",)
    return f"`{method} {route.path}`"


def _keyed(route: DirectRoute) -> bool:
    return IDEMPOTENCY_KEY in (route.openapi_extra or {}).get("parameters", ())


DEFINITIONS_OPENING = """
A definition is a JSON object, or the same in YAML. [How to write one](../howto/definitions.md) shows it at work;
`GET /api/v1/workflows/schema` and `windlass workflows schema` give this format as a JSON Schema with the config of
every step type, which editors complete from.

Fields that are not listed are refused by name. All that is wrong is told at once.

* **Inputs and outputs** are an object schema, or the short form: a mapping from names to JSON Schemas or type names.
  In the short form a name is required unless its schema has a `default` or says `required: false`, and no others are
  taken. References stay within the schema (`#/$defs/…`) and lead nowhere back; patterns have no look-around.
* **Order**: steps follow one another, unless `on_success`, `on_failure`, `on_timeout` or a branch leads elsewhere;
  `_end` ends the run. These targets lead in no circle. As soon as a step says `depends_on` the definition is a graph:
  a step starts when what it depends on has ended, those without dependencies at once, and there is no `_end`. One that
  a branch chooses does not name the branch in `depends_on`: it waits for it as it is, and runs when it is chosen.
  `on_timeout` is for steps that wait for people; the time-out of any other step is a failure.
* **Conditions** of `when` and `repeat`, and all templates, are read when a definition is checked; what is none is
  refused.
* **Secrets**: no key is called `api_key`, and no `signing` has a `secret`. Give them to the run.
* **YAML** is that of version 1.2: dates, `yes` and `on` are strings. Anchors are followed; tags, `<<` and duplicate
  fields are refused.
* **Versions** never change. The current one, which the name stands for, is the newest until you activate another.
  A deleted version leaves lists and its name; it can still be read, and run by its id.
"""


def definitions_page() -> str:
    """Return `docs/reference/definitions.md`."""
    parts = (f"\n## {title}\n\n" + _fields(schema) for title, schema in REFERENCE)
    return "# Definitions" + _GENERATED + DEFINITIONS_OPENING + "".join(parts)


def _fields(schema: dict[str, Any]) -> str:
    rows = (
        (f"`{name}`{'*' if name in schema['required'] else ''}", _type(field), field.get("description", ""))
        for name, field in schema["properties"].items()
    )
    return f"{schema['description']}. A star marks what must be there.\n\n" + _table("field|type|means", rows)


def _type(field: dict[str, Any]) -> str:
    kinds = field.get("type", "string")
    text = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    if "enum" in field:
        text = " or ".join(f"`{value}`" for value in field["enum"])
    least = field.get("minimum", field.get("exclusiveMinimum"))
    if least is not None:
        text += f", {'from' if 'minimum' in field else 'above'} {least} to {field['maximum']}"
    return text + (f", at most {field['maxItems']}" if "maxItems" in field else "")


GENERATED = {
    "docs/reference/events.md": events_page,
    "docs/reference/errors.md": errors_page,
    "docs/reference/http.md": http_page,
    "docs/reference/definitions.md": definitions_page,
}


def main() -> int:
    """Write the pages that are out of date and name them."""
    for name, text in GENERATED.items():
        path = ROOT / name
        if not path.exists() or path.read_text() != text():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text())
            print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
