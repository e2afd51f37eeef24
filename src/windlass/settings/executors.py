"""Settings of the places where heavy steps run."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ExecutorSettings(BaseModel):
    """How large they are, and where the Ray cluster is."""

    executor_processes: int | None = Field(
        None, ge=1, le=1024, description="How many processes run steps of `processes`; as many as processors by default"
    )
    executor_ray_address: str | None = Field(
        None, max_length=255, description="The Ray cluster of steps of `ray`; one is started on this machine by default"
    )
    executor_ray_at_once: int | None = Field(
        None, ge=1, le=100_000, description="How many steps `ray` gets at once; as many as it has processors by default"
    )
