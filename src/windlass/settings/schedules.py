"""Settings of schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from windlass.contexts.schedules.api import zones
from windlass.kernel.errors import ConfigError
from windlass.storage import urls


def _zone(name: str) -> str:
    if name not in zones():
        raise ValueError("there is no such time zone")
    return name


Zone = Annotated[str, AfterValidator(_zone)]


class SchedulesSettings(BaseModel):
    """The settings of schedules."""

    workflows_scheduler_enabled: bool = Field(
        False,
        description="Whether this process fires schedules; without a live process that does, they can be made and"
        " changed, and nothing fires",
    )
    workflows_scheduler_tz: Zone = Field(
        "UTC",
        description="The time zone of schedules that say none; kept with each when it is made",
        json_schema_extra={"allowed": "an IANA time zone such as Europe/Berlin"},
    )
    workflows_scheduler_rescan_sec: int = Field(
        600, ge=1, le=86_400, description="Seconds between looks for schedules whose next time nothing waits for"
    )
    workflows_scheduler_database_url: str | None = Field(
        None,
        repr=False,
        description="Another name of DATABASE_URL; schedules are in the one database, so another address is refused",
        json_schema_extra={"allowed": "the same as DATABASE_URL"},
    )
    workflows_scheduler_sqlite_path: Path | None = Field(
        None,
        description="Another name of the file in DATABASE_URL; another file is refused",
        json_schema_extra={"allowed": "the file of DATABASE_URL"},
    )
    workflows_mint_virtual_keys: bool = Field(
        False,
        description="Whether runs of saved workflows that a schedule starts find a virtual key of their owner's as the"
        " secret jwt, which their webhook steps send",
    )
    workflows_virtual_key_ttl_min: int = Field(15, ge=1, le=1440, description="Minutes for which such a key is valid")

    @model_validator(mode="after")
    def _schedules_are_in_the_one_database(self) -> Self:
        here = urls.parse(str(getattr(self, "database_url", "")))
        said, path = self.workflows_scheduler_database_url, self.workflows_scheduler_sqlite_path
        if said is not None and not _same(said, here):
            raise ValueError(
                "WORKFLOWS_SCHEDULER_DATABASE_URL differs from DATABASE_URL: there is one database, name it once"
            )
        if path is not None and (here.path is None or path.absolute() != here.path.absolute()):
            raise ValueError(
                "WORKFLOWS_SCHEDULER_SQLITE_PATH is not the file of DATABASE_URL: there is one database, name it once"
            )
        return self


def _same(address: str, here: urls.DatabaseUrl) -> bool:
    try:
        return urls.parse(address).sqlalchemy == here.sqlalchemy
    except ConfigError:
        return False
