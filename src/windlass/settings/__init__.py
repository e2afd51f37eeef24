"""Every setting of the product: names, defaults, limits and meanings, read from the environment and ``.env``.

The environment wins over ``.env``; an empty value means the default. The table in ``docs/settings.md`` and
``.env.example`` are generated from this package by ``tools/settings_docs.py``. Each group beside this file holds
the settings of one context.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from annotated_types import Ge, Le
from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from windlass.kernel.errors import ConfigError
from windlass.settings import (
    artifacts,
    billing,
    executors,
    identity,
    limits,
    operating,
    outbound,
    people,
    providers,
    rates,
    schedules,
    serving,
    webhooks,
    workflows,
)
from windlass.settings.fields import HeaderKey, Names
from windlass.storage import urls

MIB = 1024 * 1024
KEY_BYTES = 32
"""The shortest JWT_SECRET_KEY outside development."""
RESERVED = "WINDLASS_"
OWN = (RESERVED, "WORKFLOWS_")
"""How names begin that are ours: one that is no setting is a mistake."""
OF_TENANTS = (*outbound.TENANT_LISTS, webhooks.SECRET_OF_TENANT)
NEAR = 3
"""How many settings a refusal names that may have been meant."""


def _database_url(text: str) -> str:
    try:
        urls.parse(text)
    except ConfigError as error:
        raise ValueError(error.message) from None
    return text


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


DatabaseAddress = Annotated[str, AfterValidator(_database_url)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]


class Settings(
    operating.OperatingSettings,
    workflows.WorkflowSettings,
    schedules.SchedulesSettings,
    artifacts.ArtifactsSettings,
    webhooks.WebhookSettings,
    outbound.OutboundSettings,
    people.PeopleSettings,
    identity.IdentitySettings,
    limits.LimitSettings,
    serving.ServingSettings,
    billing.BillingSettings,
    providers.ProviderSettings,
    rates.RateSettings,
    executors.ExecutorSettings,
    BaseSettings,
):
    """The settings of a process; it never changes while the process lives."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True, validate_default=False
    )

    database_url: DatabaseAddress = Field(
        "sqlite:///./workflow.db",
        repr=False,
        description="Where everything is kept: a SQLite file, or a PostgreSQL database with its pool's size",
        json_schema_extra={"allowed": urls.SPELLINGS},
    )
    database_url_workflows: DatabaseAddress | None = Field(
        None,
        repr=False,
        description="Another name of DATABASE_URL, taken when it stands alone, refused beside another one",
        json_schema_extra={"allowed": "what DATABASE_URL allows"},
    )
    database_direct_url: DatabaseAddress | None = Field(
        None,
        repr=False,
        description="Another way to the PostgreSQL database of DATABASE_URL, past its pooler: for doorbells, copies"
        " and maintenance, which need a process of the server for themselves",
        json_schema_extra={"allowed": "postgresql://…, as DATABASE_URL"},
    )
    auto_migrate: bool | None = Field(
        None,
        description="Whether a server brings an older database to its own version at start; by default it"
        " does so on SQLite and refuses to start on PostgreSQL",
    )
    app_env: Literal["dev", "staging", "prod"] = Field(
        "dev",
        description="The environment; prod does not start without API_KEY unless ALLOW_OPEN_WRITES=true",
    )
    api_key: HeaderKey | None = Field(
        None,
        description="The key that writes must carry in X-API-Key; empty leaves writes open",
        json_schema_extra={"allowed": "printable ASCII characters without spaces"},
    )
    allow_open_writes: bool = Field(
        False, description="Said with an empty API_KEY in prod: writes are meant to be open"
    )
    host: str = Field("127.0.0.1", description="The address to listen on; 0.0.0.0 is every IPv4 address")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one")
    log_level: LogLevel = Field("INFO", description="The least important log lines that are written")
    log_file: Path | None = Field(
        None,
        description="Log lines also go to this file, which is rotated; empty means standard output alone",
        json_schema_extra={"example": "logs/app.log"},
    )
    log_file_bytes: int = Field(
        50 * MIB, ge=4096, description="The size in bytes at which the log file is put aside as .1, .2, …"
    )
    log_file_backups: int = Field(5, ge=0, le=1000, description="How many log files put aside are kept")
    project_name: str = Field("workflow_service", description="The name the service gives itself")
    app_version: str = Field(
        default_factory=lambda: version("windlass"),
        description="The version /version answers; empty means the package's own",
    )
    git_commit: str = Field("unknown", description="The commit /version answers")
    app_modules: Names = Field(
        (),
        description="Python modules to import at start: they register processors and workflows",
        json_schema_extra={"allowed": "dotted module names separated by commas"},
    )
    max_body_bytes: int = Field(
        MIB, ge=1024, description="The largest request body in bytes; beyond it the answer is 413"
    )
    max_bulk_bytes: int = Field(
        256 * MIB, ge=1024, description="The largest body in bytes of POST /records/bulk, which is streamed"
    )
    max_payload_bytes: int = Field(
        256 * 1024, ge=2, description="The largest payload of a record in bytes of compact JSON"
    )
    process_wait_seconds: float = Field(
        10.0,
        ge=0,
        le=3600,
        description="Seconds POST /records/{id}/process, an update or a query of a run waits before it answers without",
    )
    idempotency_seconds: int = Field(7 * 86400, ge=60, description="Seconds for which an Idempotency-Key is remembered")
    embed_worker: bool = Field(True, description="Whether a server process also runs workflows")
    worker_concurrency: int = Field(
        200, ge=1, le=100_000, description="How many runs a process works on at the same time"
    )
    tune_process: bool = Field(
        True,
        description="Whether a process collects garbage more rarely, never from what it has loaded, and lets its"
        " threads take turns more often",
    )
    lease_seconds: float = Field(
        10.0,
        ge=1,
        le=3600,
        description="Seconds after which the runs of a silent process are taken over (PostgreSQL)",
    )
    commit_queue_limit: int = Field(
        10_000, ge=1, description="How many writes may wait for the disk before new ones get a 503"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_database(cls, data: dict[str, Any]) -> dict[str, Any]:
        alone = data.get("database_url_workflows")
        if alone is not None and data.setdefault("database_url", alone) != alone:
            raise ValueError("DATABASE_URL_WORKFLOWS differs from DATABASE_URL: there is one database, name it once")
        return data

    @model_validator(mode="before")
    @classmethod
    def _one_artifact_folder(cls, data: dict[str, Any]) -> dict[str, Any]:
        alone = data.get("workflows_artifact_dir")
        if alone is not None and str(data.setdefault("workflows_artifacts_dir", alone)) != str(alone):
            raise ValueError("WORKFLOWS_ARTIFACT_DIR differs from WORKFLOWS_ARTIFACTS_DIR: name the folder once")
        return data

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, data: dict[str, Any]) -> dict[str, Any]:
        # The last of these validators runs first, so that the others see no empty value.
        return {name: value for name, value in data.items() if value != ""}

    @model_validator(mode="after")
    def _direct_is_the_same_database(self) -> Self:
        if self.database_direct_url is not None:
            here, direct = urls.parse(self.database_url), urls.parse(self.database_direct_url)
            if here.path is not None or direct.path is not None:
                raise ValueError("DATABASE_DIRECT_URL is for PostgreSQL: SQLite has no pooler to go past")
        return self

    @model_validator(mode="after")
    def _open_writes_are_meant(self) -> Self:
        guarded = self.serve_only is None  # what is served alone asks for tokens
        if guarded and self.app_env == "prod" and self.api_key is None and not self.allow_open_writes:
            raise ValueError("API_KEY is missing with APP_ENV=prod: set it, or say ALLOW_OPEN_WRITES=true")
        return self

    @model_validator(mode="after")
    def _tokens_are_signed_well(self) -> Self:
        key = self.jwt_secret_key
        if self.app_env != "dev" and self.auth_mode == "multi_user":
            if key is None:
                raise ValueError(f"JWT_SECRET_KEY is missing with APP_ENV={self.app_env}: set it to 32 bytes or more")
            for name, given in (("JWT_SECRET_KEY", key), ("JWT_SECRET_KEY_PREVIOUS", self.jwt_secret_key_previous)):
                if given is not None and len(given.get_secret_value().encode()) < KEY_BYTES:
                    raise ValueError(f"{name} is too short with APP_ENV={self.app_env}: it takes 32 bytes or more")
        return self

    @property
    def database(self) -> urls.DatabaseUrl:
        """The address of the database, taken apart."""
        direct = None if self.database_direct_url is None else urls.parse(self.database_direct_url)
        return replace(urls.parse(self.database_url), direct=direct)

    def public(self) -> dict[str, object]:
        """Return every setting by its name in the environment, secrets masked."""
        shown = {name: getattr(self, name) for name in type(self).model_fields}
        for name in (
            "database_url", "database_direct_url", "database_url_workflows", "workflows_scheduler_database_url",
        ):  # fmt: skip
            shown[name] = str(urls.parse(shown[name])) if shown[name] else None
        return {name.upper(): _plain(value) for name, value in shown.items()}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return ",".join(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def load(environ: Mapping[str, str] | None = None, **given: object) -> Settings:
    """Read the settings.

    Args:
        environ: looked at for names that are no setting; the process's environment by default.
        given: settings said elsewhere, for example on the command line; they win.

    Raises:
        ConfigError: a value is wrong or a name unknown; says which and what is allowed, never the value.
    """
    _refuse_unknown([*(os.environ if environ is None else environ), *dotenv_values(".env")])
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        raise ConfigError("\n".join(_complaints(error))) from None


def _refuse_unknown(names: list[str]) -> None:
    known = [name.upper() for name in Settings.model_fields]
    for name in names:
        wanted = name.upper()
        of_tenant = wanted.startswith(OF_TENANTS) and wanted not in OF_TENANTS
        if wanted.startswith(OWN) and wanted not in known and not of_tenant:
            near = difflib.get_close_matches(wanted.removeprefix(RESERVED), known, NEAR, 0.5)
            hint = (
                f"did you mean {' or '.join(near)}?" if near else "docs/settings.md lists them, `windlass config` too"
            )
            raise ConfigError(f"{name} is no setting; {hint}")


def _complaints(error: ValidationError) -> Iterator[str]:
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        reason = one["msg"].removeprefix("Value error, ")
        if not one["loc"]:
            yield reason
            continue
        name = str(one["loc"][0])
        yield f"{name.upper()}: {reason}; allowed: {allowed(Settings.model_fields[name.lower()])}"


def allowed(field: FieldInfo) -> str:
    """Return in words which values a setting takes."""
    said = field.json_schema_extra.get("allowed") if isinstance(field.json_schema_extra, dict) else None
    if isinstance(said, str):
        return said
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)] or [field.annotation]
    if get_origin(field.annotation) is Literal:
        return ", ".join(str(value) for value in get_args(field.annotation))
    if bool in kinds:
        return "true or false"
    if int in kinds or float in kinds:
        low = next((str(mark.ge) for mark in field.metadata if isinstance(mark, Ge)), "0")
        high = next((str(mark.le) for mark in field.metadata if isinstance(mark, Le)), None)
        kind = "an integer" if int in kinds else "a number"
        return f"{kind} from {low} to {high}" if high else f"{kind}, {low} or more"
    return "a path" if Path in kinds else "any text"
