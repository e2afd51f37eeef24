"""Settings of looking after workflows."""

from __future__ import annotations

from pydantic import BaseModel, Field


class OperatingSettings(BaseModel):
    """What is logged beside what always is, for as long as somebody looks for a fault."""

    workflows_debug: bool = Field(
        False, description="Log every run and step of definitions as it begins and ends, whatever LOG_LEVEL says"
    )
    workflows_artifacts_debug: bool = Field(
        False, description="Log every request about artifacts: its path, Range header and answer"
    )
    workflows_dlq_debug: bool = Field(
        False, description="Log every request about undelivered webhooks, and every attempt to deliver one"
    )
