"""From settings to what each context wants to know of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

import orjson

from windlass.contexts.artifacts.api import Artifacts, LocalFolder, Sealer
from windlass.contexts.artifacts.api import Limits as ArtifactLimits
from windlass.contexts.identity.api import Identity, Provider, Rules, VirtualKey
from windlass.contexts.limits.api import Limit, Limits
from windlass.contexts.limits.api import Options as LimitOptions
from windlass.contexts.outbound.api import Outbound, Policy
from windlass.contexts.people.api import Remind, Task, reminder, reminder_id
from windlass.contexts.providers.api import (
    ApprovalRules,
    BillingClient,
    BillingOptions,
    Candidate,
    Candidates,
    Providers,
    Sagas,
)
from windlass.contexts.providers.api import Parts as ApprovalParts
from windlass.contexts.providers.api import Rules as CandidateRules
from windlass.contexts.schedules.api import Options as ScheduleOptions
from windlass.contexts.schedules.api import PythonTarget, Schedules, Targets
from windlass.contexts.webhooks.api import Delivery, Options, Secrets, Webhooks
from windlass.contexts.workflows.api import Audit, Minted, Minter, RunRules, Workflows
from windlass.contexts.workflows.api import Rules as AttemptRules
from windlass.contexts.workflows.definitions.catalogue import Registered
from windlass.contexts.workflows.results.cache import ResultCache
from windlass.contexts.workflows.runs.vault import Vault
from windlass.contexts.workflows.saved import ScheduledRuns
from windlass.contexts.workflows.steptypes.base import SaveArtifact, Tools
from windlass.contexts.workflows.steptypes.calls import CALLS
from windlass.contexts.workflows.steptypes.functions import declared
from windlass.contexts.workflows.steptypes.outside import Outside
from windlass.contexts.workflows.steptypes.registry import StepTypes
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.engine.registry import default_registry
from windlass.kernel.errors import ConfigError, Invalid
from windlass.kernel.spans import Spans
from windlass.settings import Settings
from windlass.storage.sqlite.upkeep import maintain as maintain_file
from windlass.storage.upkeep import Upkeep


def identity_rules(settings: Settings) -> Rules:
    """Return who may come in, and how."""
    api_key, jwt_key, previous = settings.api_key, settings.jwt_secret_key, settings.jwt_secret_key_previous
    return Rules(
        api_key=None if api_key is None else api_key.get_secret_value().encode(),
        development=settings.app_env == "dev",
        single_user=settings.auth_mode == "single_user",
        jwt_key=None if jwt_key is None else jwt_key.get_secret_value().encode(),
        jwt_previous_key=None if previous is None else previous.get_secret_value().encode(),
        token_seconds=settings.access_token_minutes * 60,
        session_seconds=settings.refresh_token_days * 86400,
        cache_seconds=settings.auth_cache_seconds,
        hashes_at_once=settings.password_hashes_at_once,
    )


def identity_provider(settings: Settings) -> Provider | None:
    """Return who else vouches for users.

    Raises:
        ConfigError: it is not said how, or the package for it is missing.
    """
    issuer, client, secret = settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret
    if issuer is None:
        return None
    if settings.auth_mode == "single_user":
        raise ConfigError("OIDC_ISSUER is set, and with AUTH_MODE=single_user nobody logs in: choose one")
    if client is None:
        raise ConfigError("OIDC_CLIENT_ID is missing with OIDC_ISSUER")
    if settings.app_env != "dev" and not issuer.startswith("https://"):
        raise ConfigError(f"OIDC_ISSUER: it is not https, which it has to be with APP_ENV={settings.app_env}")
    if find_spec("cryptography") is None:
        raise ConfigError("OIDC_ISSUER needs the extra oidc: pip install 'windlass[oidc]'")
    return Provider(
        issuer,
        client,
        None if secret is None else secret.get_secret_value(),
        settings.oidc_scopes,
        settings.oidc_username_claim,
        settings.oidc_role_claim,
        settings.oidc_admin_values,
        settings.oidc_add_users,
        settings.oidc_tenant,
    )


def open_sealer(settings: Settings) -> Sealer:
    """Return what encrypts the metadata of artifacts, or leaves it as it is.

    Raises:
        ConfigError: it is to be encrypted, and the key or the package for it is missing.
    """
    key, former = settings.workflows_artifact_enc_key, settings.jobs_crypto_secondary_key
    texts = [secret.get_secret_value() for secret in (key, former) if secret is not None]
    if not settings.workflows_artifact_encryption:
        return Sealer(None, texts)
    if key is None:
        raise ConfigError("WORKFLOWS_ARTIFACT_ENC_KEY is missing with WORKFLOWS_ARTIFACT_ENCRYPTION=true")
    return Sealer(texts[0], texts[1:])


def open_artifacts(settings: Settings, engine: Engine, sealer: Sealer) -> Artifacts:
    """Return the artifacts in the folder of the settings."""
    limits = ArtifactLimits(
        settings.workflows_artifact_max_upload_bytes,
        settings.workflows_artifact_max_download_bytes,
        settings.workflows_artifact_bulk_max_bytes,
        settings.workflows_artifact_allowed_mime,
        settings.workflows_artifact_validate_strict,
        settings.workflows_artifact_retention_days * 86400,
        settings.workflows_artifact_gc_interval_sec if settings.workflows_artifact_gc_enabled else None,
    )
    return Artifacts(engine, LocalFolder(settings.workflows_artifacts_dir), limits, sealer)


def egress_policy(settings: Settings) -> Policy:
    """Return the rules for requests to other hosts.

    Raises:
        ConfigError: a list holds what is no host; names it.
    """
    profile = settings.workflows_egress_profile
    return Policy(
        strict=profile == "strict" or (profile == "auto" and settings.is_production),
        ports=settings.workflows_egress_allowed_ports,
        allow=(*settings.egress_allowlist, *settings.workflows_egress_allowlist),
        deny=(*settings.egress_denylist, *settings.workflows_egress_denylist),
        webhook_allow=settings.workflows_webhook_allowlist,
        webhook_deny=settings.workflows_webhook_denylist,
        tenant_lists=settings.workflows_tenant_lists,
        block_private=settings.workflows_egress_block_private,
    )


def webhook_options(settings: Settings) -> Options:
    """Return how webhooks are signed and delivered."""
    return Options(
        secrets=Secrets(settings.webhook_secrets(), settings.webhook_tenant_secrets()),
        scheme=settings.workflows_webhook_scheme,
        timeout=settings.workflows_webhook_timeout,
        completions=not settings.workflows_disable_completion_webhooks,
        base=settings.workflows_webhook_dlq_base_sec,
        most_backoff=settings.workflows_webhook_dlq_max_backoff_sec,
        attempts=settings.workflows_webhook_dlq_max_attempts,
        worker=settings.workflows_webhook_dlq_enabled,
        worker_interval=settings.workflows_webhook_dlq_interval_sec,
        worker_batch=settings.workflows_webhook_dlq_batch,
        worker_timeout=settings.workflows_webhook_dlq_timeout_sec,
    )


def reminders(settings: Settings, webhooks: Webhooks) -> Remind:
    """Return who reminds people: a webhook queued in the transaction that writes a reminder down, or nobody."""
    url = settings.workflows_reminder_url

    def remind(tx: Transaction, task: Task) -> None:
        if url is not None:
            headers = {"X-Run-Id": task.run_id}
            webhooks.queue_in(
                tx,
                Delivery(
                    reminder_id(task), url, orjson.dumps(reminder(task)).decode(), task.tenant_id, task.run_id, headers,
                    webhooks.options.scheme,
                ),
            )  # fmt: skip

    return remind


def catalogue() -> Registered:
    """Return the step types that definitions may use; functions of the user's own are not looked for."""
    return Registered(StepTypes(CALLS))


def limit_options(settings: Settings) -> LimitOptions:
    """Return how much may be started."""
    values: dict[Limit, int | None] = {
        Limit.DAILY: settings.workflows_quota_daily_per_user,
        Limit.BURST: settings.workflows_quota_burst_per_min,
        Limit.ADHOC: settings.workflows_rate_run_adhoc_per_min,
        Limit.SAVED: settings.workflows_rate_run_saved_per_min,
        Limit.DEPTH: settings.workflows_queue_depth_per_tenant,
        Limit.DEPTH_ALL: settings.workflows_queue_depth,
    }
    return LimitOptions(values, not settings.workflows_disable_quotas, not settings.workflows_disable_rate_limits)


def minter(settings: Settings, identity: Identity) -> Minter | None:
    """Return what gives scheduled runs a key of their owner's, or None where they get none."""
    if not settings.workflows_mint_virtual_keys:
        return None
    minutes = settings.workflows_virtual_key_ttl_min

    async def mint(user_id: str, schedule_id: str) -> Minted | None:
        try:
            made = await identity.mint_for(user_id, VirtualKey(ttl_minutes=minutes, schedule_id=schedule_id))
        except Invalid:
            return None
        return Minted(made.token, minutes * 60.0)

    return mint


def open_workflows(
    settings: Settings,
    engine: Engine,
    outbound: Outbound,
    artifacts: Artifacts,
    spans: Spans,
    *,
    audit: Audit,
    limits: Limits,
    mint: Minter | None = None,
) -> Workflows:
    """Return the workflows written as documents.

    Raises:
        ConfigError: secrets are to be sealed, and the package for it is missing.
    """
    key = settings.workflows_secrets_key
    most = {"prompt": settings.workflows_max_retries_prompt, "webhook": settings.workflows_max_retries_webhook}
    rules = RunRules(
        wait_seconds=settings.workflows_run_timeout_sec,
        key_seconds=settings.workflows_idempotency_ttl_hours * 3600,
        adhoc=not settings.workflows_disable_adhoc,
        attempts=AttemptRules(
            settings.workflows_backoff_cap_seconds, {kind: limit for kind, limit in most.items() if limit is not None}
        ),
    )
    tools = Tools(
        functions=declared,
        redact_logs=settings.workflows_redact_logs,
        files_root=settings.workflows_file_base_dir,
        cache=ResultCache(engine),
        save_artifact=saving(artifacts),
        outbound=way_outside(settings, outbound, engine, spans),
    )
    vault = Vault(engine, None if key is None else key.get_secret_value(), settings.workflows_secrets_ttl_seconds)
    types = StepTypes(CALLS, functions=declared)
    return Workflows(engine, types, tools, vault, rules, audit, spans=spans, starting=limits, mint=mint)


def saving(artifacts: Artifacts) -> SaveArtifact:
    """Return how steps keep files."""

    async def save(
        name: str, content: bytes, *, mime: str, kind: str, metadata: Mapping[str, Any] | None = None
    ) -> str:
        return (await artifacts.save(name, content, mime=mime, type=kind, metadata=metadata)).artifact_id

    return save


def way_outside(settings: Settings, outbound: Outbound, engine: Engine, spans: Spans) -> Outside:
    """Return what steps that speak to other hosts are lent."""
    token, key = settings.workflows_default_bearer_token, settings.workflows_default_api_key
    return Outside(
        outbound,
        engine.clock,
        secrets=webhook_options(settings).secrets,
        timeout=settings.workflows_webhook_timeout,
        notify_timeout=settings.workflows_notify_timeout,
        redirects=settings.http_max_redirects,
        bearer_token=None if token is None else token.get_secret_value(),
        api_key=None if key is None else key.get_secret_value(),
        spans=spans,
    )


def open_schedules(settings: Settings, engine: Engine, saved: ScheduledRuns) -> Schedules:
    """Return the schedules, with what they can start."""
    options = ScheduleOptions(
        settings.workflows_scheduler_enabled, settings.workflows_scheduler_tz, settings.workflows_scheduler_rescan_sec
    )
    return Schedules(engine, Targets(PythonTarget(engine, default_registry), saved), options)


def open_upkeep(settings: Settings, engine: Engine) -> Upkeep:
    """Return who looks after the database."""
    interval = settings.workflows_db_maintenance_interval_sec if settings.workflows_db_maintenance_enabled else None
    return Upkeep(engine, _maintenance(settings), interval)


def _maintenance(settings: Settings) -> Callable[[], dict[str, Any]] | None:
    url = settings.database
    if url.path is not None:
        mode, vacuum = settings.workflows_sqlite_checkpoint, settings.workflows_sqlite_vacuum
        return partial(maintain_file, url.path.absolute(), mode, vacuum=vacuum)
    if not settings.workflows_postgres_vacuum:
        return None
    from windlass.storage.postgres.upkeep import maintain  # noqa: PLC0415  its driver is an extra

    return partial(maintain, url)


def open_providers(settings: Settings, engine: Engine, identity: Identity, webhooks: Webhooks) -> Providers:
    """Return the provider registration."""
    rules = CandidateRules(settings.providers_products, settings.idempotency_seconds)
    address = BillingOptions(
        settings.billing_service_url, settings.billing_connect_seconds, settings.billing_timeout_seconds
    )
    telemetry, url = engine.worker.telemetry, settings.providers_webhook_url
    billing = BillingClient(address, telemetry)

    def tell(tx: Transaction, candidate: Candidate) -> None:
        if url is not None:
            body = orjson.dumps({"event": "candidate.approved", "candidate": candidate.view()}).decode()
            webhook_id = f"candidate:{candidate.candidate_id}"
            webhooks.queue_in(tx, Delivery(webhook_id, url, body, tenant_id=candidate.tenant_id))

    parts = ApprovalParts(billing, engine.clock, telemetry, identity.record, tell)
    approval = ApprovalRules(
        settings.providers_approval_wait_seconds,
        settings.providers_second_approver,
        settings.providers_approval_expires_hours,
    )
    return Providers(Candidates(engine, rules, identity.record), Sagas(engine, parts, approval), billing)
