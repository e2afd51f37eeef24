"""Settings of limits: quotas of runs, rates of requests, the depth of the queue."""

from __future__ import annotations

from pydantic import BaseModel, Field

MOST = 10**12


class LimitSettings(BaseModel):
    """How much may be started; ``windlass quotas`` changes each limit for a user, a tenant or all while it runs."""

    workflows_disable_quotas: bool = Field(
        False, description="Count no runs of definitions against the burst and daily quotas of their owners"
    )
    workflows_quota_burst_per_min: int = Field(
        60, ge=0, le=MOST, description="How many runs of definitions a user may start in a minute of the clock"
    )
    workflows_quota_daily_per_user: int = Field(
        1000, ge=0, le=MOST, description="How many runs of definitions a user may start in a UTC day"
    )
    workflows_disable_rate_limits: bool = Field(
        False, description="Count no requests against the rates of the two routes that start runs"
    )
    workflows_rate_run_adhoc_per_min: int = Field(
        5,
        ge=0,
        le=MOST,
        description="How many requests a user or key may send to POST /api/v1/workflows/run in a minute of the clock",
    )
    workflows_rate_run_saved_per_min: int = Field(
        15,
        ge=0,
        le=MOST,
        description="How many requests a user or key may send to POST /api/v1/workflows/{id}/run in a minute of the"
        " clock",
    )
    workflows_queue_depth_per_tenant: int = Field(
        100_000,
        ge=1,
        le=MOST,
        description="How many runs of definitions of a tenant may wait before starts are refused",
    )
    workflows_queue_depth: int = Field(
        1_000_000,
        ge=1,
        le=MOST,
        description="How many runs of definitions of all tenants may wait before starts are refused",
    )
