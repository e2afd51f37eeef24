"""What a reminder says to those who have not answered, or to the hook that passes it on to them."""

from __future__ import annotations

from typing import Any

from windlass.contexts.people.model import Task

TOLD_CHARACTERS = 2000
"""Of the instructions; the whole is in the inbox."""


def reminder_id(task: Task) -> str:
    """Return the id of the next reminder of a question: the same whenever it is asked for."""
    return f"reminder-{task.task_id}-{task.reminders + 1}"


def reminder(task: Task) -> dict[str, Any]:
    """Return the next reminder of a question as JSON data; ``text`` is a line for a chat."""
    waiting = ", ".join(task.assigned_to)
    asked = task.instructions[:TOLD_CHARACTERS]
    what = f"{task.step_id} of run {task.run_id}"
    return {
        "type": "human_reminder",
        "text": f"{waiting}: {asked} ({what})" if asked else f"{waiting}: {what} waits for a decision",
        "reminder": task.reminders + 1,
        "run": {"id": task.run_id, "tenant_id": task.tenant_id, "user_id": task.owner},
        "step": {
            "id": task.step_id, "kind": task.kind, "assigned_to": list(task.assigned_to), "instructions": asked,
            "quorum": task.quorum, "approvals": task.approvals, "opened_at": task.opened_at, "due_at": task.due_at,
        },
    }  # fmt: skip
