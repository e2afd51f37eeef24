"""The door to people: what the edges, other contexts and users' own modules may use."""

from __future__ import annotations

from windlass.contexts.people.asking import Remind
from windlass.contexts.people.forms import check_form
from windlass.contexts.people.listing import DEFAULT_LIMIT, MAX_LIMIT, Page
from windlass.contexts.people.model import Answer, Decision, Kind, Task, TaskStatus
from windlass.contexts.people.questions import MOST_ASSIGNEES, NAME_LENGTH
from windlass.contexts.people.reminding import reminder, reminder_id
from windlass.contexts.people.service import COMMENT_LENGTH, People, wait_for_decision

__all__ = [
    "COMMENT_LENGTH",
    "DEFAULT_LIMIT",
    "MAX_LIMIT",
    "MOST_ASSIGNEES",
    "NAME_LENGTH",
    "Answer",
    "Decision",
    "Kind",
    "Page",
    "People",
    "Remind",
    "Task",
    "TaskStatus",
    "check_form",
    "reminder",
    "reminder_id",
    "wait_for_decision",
]
