"""Settings of questions to people."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from windlass.settings.fields import check_http_url


class PeopleSettings(BaseModel):
    """How people are reminded."""

    workflows_reminder_url: Annotated[str, AfterValidator(check_http_url)] | None = Field(
        None,
        description="Where reminders of questions that wait for people are sent, signed, as the egress policy allows;"
        " empty leaves them to the run's events",
        json_schema_extra={"allowed": "an http or https address"},
    )
