"""Steps that speak to other hosts: ``webhook`` and ``notify``. What fails there fails the step."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from windlass.contexts.outbound.api import (
    MOST_BYTES,
    Answer,
    Call,
    HostUnknown,
    Narrower,
    OutboundError,
    OutboundTimeout,
    Purpose,
    Refused,
    host_of,
)
from windlass.contexts.webhooks.api import SIGNING_HEADERS, category, confusable
from windlass.contexts.webhooks.api import headers as signature_headers
from windlass.contexts.workflows.redaction import MASK, SHORTEST, redact
from windlass.contexts.workflows.steptypes.base import Capabilities, StepContext, StepFailure, StepType, save
from windlass.contexts.workflows.steptypes.inserts import inserted
from windlass.contexts.workflows.steptypes.outside import Outside
from windlass.kernel.clock import SECOND
from windlass.kernel.spans import TRACEPARENT, plain_url

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
LARGEST_BYTES = 8 * 1024 * 1024
TOLD_CHARACTERS = 500
MOST_REDIRECTS = 20
UNKEPT = frozenset({"set-cookie", "set-cookie2"})
"""Headers of an answer that no artifact keeps."""
MIME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,99}/[a-z0-9][a-z0-9.+-]{0,99}")
SIGNING_TYPE = "hmac-sha256"
HARMLESS = frozenset({"accept", "content-type", "user-agent"})
"""The headers of a step that also go to a host that a redirect leads to."""
PROVIDERS = {
    "hooks.slack.com": "slack", "discord.com": "discord", "discordapp.com": "discord", "webhook.office.com": "teams",
    "chat.googleapis.com": "google_chat",
}  # fmt: skip

_HEADERS: dict[str, Any] = {
    "type": "object", "maxProperties": 50, "propertyNames": {"minLength": 1, "maxLength": 100},
    "additionalProperties": {"type": "string", "maxLength": 8192},
}  # fmt: skip
_HOSTS: dict[str, Any] = {
    "type": "array",
    "maxItems": 100,
    "items": {"type": "string", "minLength": 1, "maxLength": 253},
}
_EGRESS: dict[str, Any] = {
    "type": "object", "additionalProperties": False,
    "properties": {"allowlist": _HOSTS, "denylist": _HOSTS, "block_private": {"const": True}},
    "description": "Rules beside those of the server; they can only forbid",
}  # fmt: skip
_SIGNING: dict[str, Any] = {
    "description": "false, none or off: not signed; otherwise with the secret of the run that secret_ref names, or the"
    " server's own",
    "anyOf": [
        {"const": False},
        {"enum": ["none", "off"]},
        {
            "type": "object", "additionalProperties": False,
            "properties": {
                "type": {"const": SIGNING_TYPE},
                "secret_ref": {"type": "string", "minLength": 1, "maxLength": 200},
                "version": {"enum": ["v1", "v0", "standard"]},
            },
        },
    ],
}  # fmt: skip
WEBHOOK_SCHEMA: dict[str, Any] = {
    "type": "object", "additionalProperties": False, "required": ["url"],
    "properties": {
        "url": {"type": "string", "minLength": 1, "maxLength": 8192},
        "method": {"enum": list(METHODS), "default": "POST"},
        "headers": _HEADERS,
        "body": {"description": "JSON, or text that is sent as it is; JSON:<path> inserts a value"},
        "data": {"description": "Another name of body"},
        "signing": _SIGNING,
        "timeout_seconds": {"type": "number", "exclusiveMinimum": 0, "maximum": 300},
        "follow_redirects": {"type": "boolean", "description": "Not followed when it is left out"},
        "allow_redirects": {"type": "boolean", "description": "Another name of follow_redirects"},
        "max_redirects": {"type": "integer", "minimum": 1, "maximum": MOST_REDIRECTS},
        "max_bytes": {"type": "integer", "minimum": 1, "maximum": LARGEST_BYTES, "default": MOST_BYTES},
        "egress": _EGRESS,
        "egress_policy": _EGRESS,
        "save_response_body": {
            "type": "boolean", "default": False,
            "description": "Whether the answer becomes artifacts: webhook_response (status and headers) and its body",
        },
        "save_response_json": {
            "type": "boolean", "default": False,
            "description": "The same for an answer that is JSON; one that is none leaves webhook_response alone",
        },
    },
    "not": {"anyOf": [{"required": ["body", "data"]}, {"required": ["follow_redirects", "allow_redirects"]},
                      {"required": ["egress", "egress_policy"]}]},
}  # fmt: skip
NOTIFY_SCHEMA: dict[str, Any] = {
    "type": "object", "additionalProperties": False, "required": ["url", "message"],
    "properties": {
        "url": {"type": "string", "minLength": 1, "maxLength": 8192},
        "message": {"type": "string"},
        "subject": {"type": "string"},
        "headers": _HEADERS,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Content:
    """A body and its type; None for none."""

    body: bytes
    type: str | None


async def webhook(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    """Send a request, signed unless that is switched off, and return its answer.

    Raises:
        StepFailure: it was not sent, or not answered with one of 200 to 299.
    """
    outside = _outside(context)
    content = _content(config, context)
    own = {str(name): str(value) for name, value in (config.get("headers") or {}).items()}
    headers = {"Idempotency-Key": header_safe(context.idempotency_key), "X-Run-Id": header_safe(context.run_id)}
    headers |= _traced(context)
    if content.type is not None:
        headers["Content-Type"] = content.type
    headers |= _credentials(own, context, outside) | _signature(config.get("signing"), content.body, context, outside)
    follow = config.get("follow_redirects") or config.get("allow_redirects")
    answer = await _send(
        outside,
        Call(
            config.get("method", "POST"),
            config["url"],
            _merged(headers, own),
            content.body,
            config.get("timeout_seconds") or outside.timeout,
            config.get("max_bytes", MOST_BYTES),
            redirects=config.get("max_redirects", outside.redirects) if follow else 0,
            tenant=context.tenant_id,
            purpose=Purpose.WEBHOOK,
            narrower=_narrower(config.get("egress") or config.get("egress_policy")),
            private_headers=frozenset(name.lower() for name in own if name.lower() not in HARMLESS) | SIGNING_HEADERS,
            body_headers=SIGNING_HEADERS,
        ),
    )
    response = _response(answer)
    said = {"dispatched": True, "status_code": answer.status, **response}
    saved = await _saved(config, context, answer, response)
    return said | ({"artifact_ids": saved} if saved else {})


async def notify(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    """Post a message to a chat's hook.

    Raises:
        StepFailure: it was not sent, or not answered with one of 200 to 299.
    """
    outside = _outside(context)
    told = {"text": config["message"]}
    if config.get("subject"):
        told["subject"] = config["subject"]
    own = {str(name): str(value) for name, value in (config.get("headers") or {}).items()}
    headers = {"Content-Type": "application/json", "Idempotency-Key": header_safe(context.idempotency_key)}
    headers |= _traced(context)
    call = Call(
        "POST", config["url"], _merged(headers, own), json.dumps(told).encode(), outside.notify_timeout,
        64 * 1024, cut=True, tenant=context.tenant_id,
    )  # fmt: skip
    answer = await _send(outside, call)
    return {"dispatched": True, "provider": provider(config["url"]), "status_code": answer.status}


def provider(url: str) -> str:
    """Return whose hook an address is; ``generic`` for anybody's."""
    host = host_of(url)
    found = (name for known, name in PROVIDERS.items() if host == known or host.endswith(f".{known}"))
    return next(found, "generic")


def _outside(context: StepContext) -> Outside:
    if context.tools.outbound is None:
        raise StepFailure("outbound_missing", "this process speaks to no other host", retryable=False)
    return context.tools.outbound


def _traced(context: StepContext) -> dict[str, str]:
    return {} if context.traceparent is None else {TRACEPARENT: context.traceparent}


async def _send(outside: Outside, call: Call) -> Answer:
    spans = outside.spans
    if not spans.enabled:
        return await _sent(outside, call)
    with spans.span("workflows.webhook", {"workflows.webhook.url": plain_url(call.url), "http.method": call.method}):
        headers = {name: value for name, value in call.headers.items() if name.lower() != TRACEPARENT}
        above = spans.traceparent()
        return await _sent(outside, replace(call, headers=headers | ({} if above is None else {TRACEPARENT: above})))


async def _sent(outside: Outside, call: Call) -> Answer:
    try:
        answer = await outside.client.request(call)
    except Refused as refused:
        raise StepFailure("egress_denied", refused.message, retryable=False, reason=refused.reason) from None
    except OutboundError as error:
        again = isinstance(error, OutboundTimeout | HostUnknown) or error.reason == "network_error"
        raise StepFailure(error.reason, error.message, retryable=again) from None
    if answer.ok:
        return answer
    message = f"{host_of(answer.url)} answered {answer.status}"
    again = category(answer.status, None) == "transient_error"
    told = text_of(answer.body[: 4 * TOLD_CHARACTERS])[:TOLD_CHARACTERS]
    raise StepFailure("http_error", message, retryable=again, status_code=answer.status, response_text=told)


def _content(config: Mapping[str, Any], context: StepContext) -> Content:
    if "body" not in config and "data" not in config:
        return Content(b"", None)
    value = inserted(config.get("body", config.get("data")), context.names)
    if isinstance(value, str):
        content = Content(value.encode("utf-8", "replace"), "text/plain; charset=utf-8")
    else:
        try:
            content = Content(json.dumps(value, allow_nan=False).encode(), "application/json")
        except (TypeError, ValueError) as error:
            raise StepFailure("validation_error", f"the body is no JSON: {error}", retryable=False) from None
    if len(content.body) > LARGEST_BYTES:
        raise StepFailure("request_too_large", f"the body is larger than {LARGEST_BYTES} bytes", retryable=False)
    return content


def _credentials(own: Mapping[str, str], context: StepContext, outside: Outside) -> dict[str, str]:
    """Return what says who is asking, where the step does not: the run's secrets, then the operator's."""
    if {"authorization", "x-api-key"} & {name.lower() for name in own}:
        return {}
    secrets = context.secrets
    if token := secrets.get("jwt") or secrets.get("bearer"):
        return {"Authorization": f"Bearer {token}"}
    if key := secrets.get("api_key") or secrets.get("x_api_key"):
        return {"X-API-KEY": key}
    if outside.bearer_token:
        return {"Authorization": f"Bearer {outside.bearer_token}"}
    return {"X-API-KEY": outside.api_key} if outside.api_key else {}


def _signature(signing: Any, body: bytes, context: StepContext, outside: Outside) -> dict[str, str]:
    if signing is False or (isinstance(signing, str) and signing.lower() in {"none", "off"}):
        return {}
    wanted = signing if isinstance(signing, Mapping) else {}
    kind = wanted.get("type", SIGNING_TYPE)
    if kind != SIGNING_TYPE:
        raise StepFailure("unsupported_signing_type", f"{kind!r} is none, there is {SIGNING_TYPE}", retryable=False)
    name, version = wanted.get("secret_ref"), wanted.get("version", "v1")
    if name is not None:
        found = context.secrets.get(name)
        secrets: tuple[str, ...] = () if found is None else (found,)
    else:
        secrets = outside.secrets.of(context.tenant_id)
        if version == "v0" and secrets and confusable(body):
            message = "a body that begins with digits and a dot is not signed v0 with the server's own secret"
            raise StepFailure("ambiguous_signature", message, retryable=False)
    if not secrets and isinstance(signing, Mapping):
        whose = "the server has none" if name is None else f"the run has no secret {name!r}"
        raise StepFailure("missing_signing_secret", whose, retryable=False)
    return signature_headers(
        version, secrets, webhook_id=header_safe(context.idempotency_key), timestamp=outside.clock.now() // SECOND,
        body=body,
    )  # fmt: skip


def header_safe(text: str) -> str:
    """Return an id as a header can carry it: another text for one that it cannot, the same each time."""
    if text.isascii() and text.isprintable() and 0 < len(text) <= 255:
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _merged(headers: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return headers with the step's own instead of ours of the same name, but for those of the signature."""
    signed = {name: value for name, value in headers.items() if name.lower() in SIGNING_HEADERS}
    taken = {name.lower() for name in own}
    usual = {name: value for name, value in headers.items() if name not in signed and name.lower() not in taken}
    ours = {name.lower() for name in signed}
    return {**usual, **{name: value for name, value in own.items() if name.lower() not in ours}, **signed}


def _narrower(rules: Any) -> Narrower | None:
    if not rules:
        return None
    allow, deny = tuple(rules.get("allowlist") or ()), tuple(rules.get("denylist") or ())
    return Narrower(allow, deny, bool(rules.get("block_private")))


def _response(answer: Answer) -> dict[str, Any]:
    try:
        value = orjson.loads(answer.body)
        orjson.dumps(value)
    except (orjson.JSONDecodeError, TypeError, ValueError, RecursionError):
        return {"response_text": text_of(answer.body)}
    if b"\\u0000" in answer.body:
        return {"response_text": text_of(answer.body)}
    return {"response_json": value}


async def _saved(
    config: Mapping[str, Any], context: StepContext, answer: Answer, response: Mapping[str, Any]
) -> list[str]:
    """Keep an answer as artifacts, as far as that is asked for, without the run's secrets; returns their ids."""
    whole, parsed = config.get("save_response_body"), config.get("save_response_json")
    if not (whole or parsed):
        return []
    tools, secrets, step = context.tools, context.secrets, context.step_id
    headers = {name: value for name, value in answer.headers.items() if name not in UNKEPT}
    about = json.dumps(redact({"status": answer.status, "headers": headers}, secrets)).encode()
    saved = [await save(tools, f"{step}.response.json", about, mime="application/json", kind="webhook_response")]
    if whole:
        given = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        mime = given if MIME.fullmatch(given) else "application/octet-stream"
        body = _without(answer.body, secrets)
        saved.append(await save(tools, f"{step}.body", body, mime=mime, kind="webhook_response_body"))
    if parsed and "response_json" in response:
        body = json.dumps(redact(response["response_json"], secrets)).encode()
        saved.append(
            await save(tools, f"{step}.body.json", body, mime="application/json", kind="webhook_response_body")
        )
    return saved


def _without(body: bytes, secrets: Mapping[str, str]) -> bytes:
    for secret in sorted(secrets.values(), key=len, reverse=True):
        if len(secret) >= SHORTEST:
            body = body.replace(secret.encode(), MASK.encode())
    return body


def text_of(body: bytes) -> str:
    """Return bytes as text that every database keeps."""
    return body.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


OUTWARD = Capabilities(
    replay_safe=False, idempotency_strategy="external", requires_human_review_for_rerun=True, evidence_level="detailed"
)
CALLS = (
    StepType(
        "webhook",
        "Send an HTTP request, signed, to a host that the egress policy allows",
        WEBHOOK_SCHEMA,
        {"url": "https://example.com/hook", "body": {"text": "{{ last.text }}"}},
        webhook,
        OUTWARD,
        mapable=True,
        default_retry=1,
    ),
    StepType(
        "notify",
        "Post a message to a chat's hook",
        NOTIFY_SCHEMA,
        {"url": "https://hooks.example.com/T1", "message": "Done: {{ last.text }}"},
        notify,
        OUTWARD,
        mapable=True,
    ),
)
"""The types of this module."""
