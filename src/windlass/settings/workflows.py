"""Settings of runs of definitions."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from windlass.kernel.checks import MOST_PLACES
from windlass.settings.fields import HeaderKey


class WorkflowSettings(BaseModel):
    """How runs of definitions are started and carried out."""

    workflows_run_timeout_sec: float = Field(
        3300.0, gt=0, le=86_400, description="Seconds a synchronous start waits for the end of its run"
    )
    workflows_idempotency_ttl_hours: float = Field(
        24.0, ge=1, le=87_600, description="Hours for which an idempotency key of a run is remembered"
    )
    workflows_disable_adhoc: bool = Field(False, description="Refuse runs of definitions that are not saved")
    workflows_backoff_cap_seconds: float = Field(
        8.0, ge=0, le=3600, description="The longest pause between two attempts of a step, before jitter, in seconds"
    )
    workflows_max_retries_prompt: int | None = Field(
        None, ge=0, le=1000, description="How often a step of the type prompt is tried again at most"
    )
    workflows_max_retries_webhook: int | None = Field(
        None, ge=0, le=1000, description="How often a step of the type webhook is tried again at most"
    )
    workflows_tenant_concurrency: int = Field(
        2, ge=1, le=MOST_PLACES, description="How many runs of definitions of a tenant run at once, over all processes"
    )
    workflows_workflow_concurrency: int = Field(
        1, ge=1, le=MOST_PLACES, description="How many runs of a saved definition run at once, over all processes"
    )
    workflows_priority_ageing_seconds: float = Field(
        60.0,
        ge=0,
        le=31_536_000,
        description="Seconds of waiting that make up for one step of priority, among runs that share their limits; 0"
        " never makes up for it",
    )
    workflows_secrets_ttl_seconds: float = Field(
        3600.0, ge=1, le=31_536_000, description="Seconds for which the secrets of a run are kept"
    )
    workflows_secrets_key: HeaderKey | None = Field(
        None,
        description="Seals the secrets of runs in the database, so that they outlive a process; empty keeps them in"
        " memory alone",
        json_schema_extra={"allowed": "printable ASCII characters without spaces; the same on every process"},
    )
    workflows_redact_logs: bool = Field(
        True, description="Black out what looks like personal data in what log steps write"
    )
    workflows_file_base_dir: Path | None = Field(
        None, description="The only folder whose files steps may read; empty lets them read none"
    )
