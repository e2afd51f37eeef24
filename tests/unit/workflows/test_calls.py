"""The steps ``webhook`` and ``notify``, against a real server: what is sent and how, and that failures fail."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest

from tests.support.receiver import Receiver, Reply, receiving
from windlass.contexts.outbound.api import Outbound, Policy
from windlass.contexts.webhooks.api import Secrets, signature
from windlass.contexts.workflows.steptypes.base import StepContext, StepFailure, Tools
from windlass.contexts.workflows.steptypes.calls import CALLS, provider
from windlass.contexts.workflows.steptypes.outside import Outside
from windlass.kernel.clock import SystemClock

TYPES = {kind.name: kind for kind in CALLS}
NAMES = {
    "inputs": {"a": 1}, "fetch": {"items": [{"t": "x", "n": 1}, {"t": "y"}, 5], "text": "JSON:secrets.k"},
    "secrets": {"k": "hidden"},
}  # fmt: skip


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody to call."""
    with receiving() as running:
        yield running


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    """A way out that leads to this machine."""
    client = Outbound(Policy(ports=("*",), block_private=False))
    yield Outside(client, SystemClock(), timeout=5.0)
    await client.close()


async def run(outside: Outside | None, name: str, config: dict[str, Any], **secrets: str) -> dict[str, Any]:
    """Carry out a step whose config is valid."""
    assert list(jsonschema_rs.validator_for(dict(TYPES[name].schema)).iter_errors(config)) == []
    work = TYPES[name].work
    assert work is not None
    context = StepContext(
        run_id="run-1", step_id="call", attempt=1, tenant_id="acme", user_id="u", idempotency_key="run-1:call#1",
        names=NAMES, secrets=secrets, tools=Tools(outbound=outside),
    )  # fmt: skip
    return await work(config, context)


async def failure(
    outside: Outside | None, config: dict[str, Any], name: str = "webhook", **secrets: str
) -> StepFailure:
    """Return what a step fails with."""
    with pytest.raises(StepFailure) as failed:
        await run(outside, name, config, **secrets)
    return failed.value


async def test_a_webhook_is_sent_and_answered(outside: Outside, receiver: Receiver) -> None:
    receiver.usual = Reply(201, body=b'{"id": 5}')

    outputs = await run(
        outside, "webhook", {"url": f"{receiver.url}/h", "body": {"a": [1, None]}, "headers": {"X-A": "b"}}
    )

    assert outputs == {"dispatched": True, "status_code": 201, "response_json": {"id": 5}}
    [got] = receiver.received
    assert (got.method, got.path, got.body) == ("POST", "/h", b'{"a": [1, null]}')
    assert got.headers["content-type"] == "application/json"
    assert (got.headers["idempotency-key"], got.headers["x-run-id"], got.headers["x-a"]) == (
        "run-1:call#1",
        "run-1",
        "b",
    )
    assert "x-workflows-signature" not in got.headers


@pytest.mark.parametrize(
    "body,told",
    [
        (b"plain", {"response_text": "plain"}),
        (b"", {"response_text": ""}),
        (b"\xff\x00", {"response_text": "\ufffd\ufffd"}),
        (b'"a\\u0000"', {"response_text": '"a\\u0000"'}),
        (b"[" * 2000 + b"]" * 2000, None),
        (b"null", {"response_json": None}),
    ],
)
async def test_answers_that_databases_can_keep(
    outside: Outside, receiver: Receiver, body: bytes, told: dict[str, Any] | None
) -> None:
    receiver.usual = Reply(body=body)

    outputs = await run(outside, "webhook", {"url": receiver.url, "method": "GET"})

    assert receiver.received[0].body == b""
    assert outputs == {"dispatched": True, "status_code": 200} | (told or {"response_text": body.decode()})


@pytest.mark.parametrize(
    "config,body,kind",
    [
        ({"body": "text & more"}, b"text & more", "text/plain; charset=utf-8"),
        ({"data": [1]}, b"[1]", "application/json"),
        ({"body": "JSON:fetch.items|pluck:t"}, b'["x", "y", null]', "application/json"),
        ({"body": {"first": "JSON:fetch.items.0", "all": ["JSON:inputs.a"]}},
         b'{"first": {"t": "x", "n": 1}, "all": [1]}', "application/json"),
        ({"body": 1, "headers": {"content-type": "application/vnd.x+json"}}, b"1", "application/vnd.x+json"),
    ],
)  # fmt: skip
async def test_bodies(outside: Outside, receiver: Receiver, config: dict[str, Any], body: bytes, kind: str) -> None:
    await run(outside, "webhook", {"url": receiver.url, **config})

    [got] = receiver.received
    assert (got.body, got.headers["content-type"]) == (body, kind)


@pytest.mark.parametrize(
    "insert,code",
    [
        ("JSON:nobody.x", "unknown_variable"),
        ("JSON:fetch.items.9", "unknown_variable"),
        ("JSON:", "unknown_variable"),
        ("JSON:secrets.k", "validation_error"),
        ("JSON: secrets", "validation_error"),
        ("JSON:inputs|pluck:a", "validation_error"),
        ("JSON:fetch.items|sort", "validation_error"),
    ],
)
async def test_inserts_that_lead_nowhere_fail(outside: Outside, receiver: Receiver, insert: str, code: str) -> None:
    failed = await failure(outside, {"url": receiver.url, "body": {"x": [insert]}})

    assert (failed.code, failed.retryable) == (code, False)
    assert receiver.received == []


async def test_an_inserted_text_is_not_read_again(outside: Outside, receiver: Receiver) -> None:
    await run(outside, "webhook", {"url": receiver.url, "body": {"x": "JSON:fetch.text"}})

    assert receiver.received[0].json == {"x": "JSON:secrets.k"}


async def test_it_is_signed_v1_with_the_tenants_secret(outside: Outside, receiver: Receiver) -> None:
    signing = replace(outside, secrets=Secrets(("shared",), {"ACME": ("own",)}))

    await run(signing, "webhook", {"url": receiver.url, "body": {}})

    [got] = receiver.received
    stamp = int(got.headers["x-signature-timestamp"])
    assert got.headers["x-workflows-signature"] == signature("own", stamp, b"{}")
    assert got.headers["x-workflows-signature-version"] == "v1"
    assert got.headers["x-webhook-id"] == "run-1:call#1"


async def test_the_old_form_signs_the_body_alone(outside: Outside, receiver: Receiver) -> None:
    await run(
        outside,
        "webhook",
        {"url": receiver.url, "body": {"a": 1}, "signing": {"secret_ref": "s", "version": "v0"}},
        s="k",
    )

    [got] = receiver.received
    expected = hmac.new(b"k", got.body, hashlib.sha256).hexdigest()
    assert got.headers["x-workflows-signature"] == expected
    assert got.headers["x-hub-signature-256"] == f"sha256={expected}"
    assert "x-signature-timestamp" not in got.headers
    assert "x-webhook-id" not in got.headers


async def test_standard_webhooks(outside: Outside, receiver: Receiver) -> None:
    await run(
        outside,
        "webhook",
        {"url": receiver.url, "body": {}, "signing": {"secret_ref": "s", "version": "standard"}},
        s="k",
    )

    assert receiver.received[0].headers["webhook-signature"].startswith("v1,")


@pytest.mark.parametrize("signing", [False, "none", "off"])
async def test_signing_is_switched_off(outside: Outside, receiver: Receiver, signing: Any) -> None:
    await run(
        replace(outside, secrets=Secrets(("k",))), "webhook", {"url": receiver.url, "body": {}, "signing": signing}
    )

    assert not any("signature" in name for name in receiver.received[0].headers)


async def test_secrets_come_from_the_run_alone(
    outside: Outside, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_PROCESS", "k")

    for signing in ({"secret_ref": "OF_THE_PROCESS"}, {}):
        failed = await failure(outside, {"url": receiver.url, "body": {}, "signing": signing})
        assert (failed.code, failed.retryable) == ("missing_signing_secret", False)
    assert receiver.received == []


async def test_the_servers_secret_signs_no_body_that_could_pass_for_another_webhook(
    outside: Outside, receiver: Receiver
) -> None:
    signing = replace(outside, secrets=Secrets(("k",)))

    failed = await failure(signing, {"url": receiver.url, "body": "1700000000.{}", "signing": {"version": "v0"}})

    assert failed.code == "ambiguous_signature"


async def test_a_step_cannot_set_the_headers_of_a_signature(outside: Outside, receiver: Receiver) -> None:
    signing = replace(outside, secrets=Secrets(("k",)))

    await run(
        signing,
        "webhook",
        {"url": receiver.url, "body": {}, "headers": {"x-workflows-signature": "forged", "X-WEBHOOK-ID": "f"}},
    )

    [got] = receiver.received
    assert got.headers["x-workflows-signature"] != "forged"
    assert got.headers["x-webhook-id"] == "run-1:call#1"


@pytest.mark.parametrize(
    "headers,secrets,expected",
    [
        ({}, {"jwt": "t", "api_key": "k"}, {"authorization": "Bearer t"}),
        ({}, {"bearer": "t"}, {"authorization": "Bearer t"}),
        ({}, {"x_api_key": "k"}, {"x-api-key": "k"}),
        ({}, {}, {"authorization": "Bearer default"}),
        ({"x-api-key": "own"}, {"jwt": "t"}, {"x-api-key": "own"}),
        ({"AUTHORIZATION": "Basic x"}, {"jwt": "t"}, {"authorization": "Basic x"}),
    ],
)
async def test_who_is_asking(
    outside: Outside, receiver: Receiver, headers: dict[str, str], secrets: dict[str, str], expected: dict[str, str]
) -> None:
    known = replace(outside, bearer_token="default", api_key="default")

    await run(known, "webhook", {"url": receiver.url, "headers": headers}, **secrets)

    got = receiver.received[0].headers
    assert {name: got[name] for name in ("authorization", "x-api-key") if name in got} == expected


async def test_the_default_key_comes_last(outside: Outside, receiver: Receiver) -> None:
    await run(replace(outside, api_key="default"), "webhook", {"url": receiver.url})

    assert receiver.received[0].headers["x-api-key"] == "default"


@pytest.mark.parametrize(
    "status,again", [(500, True), (503, True), (429, True), (408, True), (400, False), (404, False), (302, False)]
)
@pytest.mark.parametrize("name", ["webhook", "notify"])
async def test_an_answer_that_says_no_fails_the_step(
    outside: Outside, receiver: Receiver, status: int, again: bool, name: str
) -> None:
    receiver.usual = Reply(status, body=b"no\0")

    failed = await failure(outside, {"url": receiver.url} | ({"message": "m"} if name == "notify" else {}), name)

    assert (failed.code, failed.retryable) == ("http_error", again)
    assert failed.data == {"status_code": status, "response_text": "no\ufffd"}


@pytest.mark.parametrize(
    "reply,more,code,again",
    [
        (Reply(hang=True), {"timeout_seconds": 0.2}, "timeout", True),
        (Reply(cut=True), {}, "network_error", True),
        (Reply(body=b"x" * 100), {"max_bytes": 99}, "response_too_large", False),
        (Reply(302, {"Location": "/"}), {"follow_redirects": True, "max_redirects": 2}, "too_many_redirects", False),
        (Reply(), {"headers": {"Bad Name": "x"}}, "bad_header", False),
        (Reply(), {"egress": {"denylist": ["127.0.0.1"]}}, "egress_denied", False),
        (Reply(), {"egress_policy": {"allowlist": ["example.com"]}}, "egress_denied", False),
        (Reply(), {"egress": {"block_private": True}}, "egress_denied", False),
        (Reply(302, {"Location": "http://[::1]/"}), {"allow_redirects": True, "egress": {"denylist": ["::1"]}},
         "egress_denied", False),
    ],
)  # fmt: skip
async def test_whatever_goes_wrong_fails_the_step(
    outside: Outside, receiver: Receiver, reply: Reply, more: dict[str, Any], code: str, again: bool
) -> None:
    receiver.usual = reply

    failed = await failure(outside, {"url": receiver.url, **more})

    assert (failed.code, failed.retryable) == (code, again)


async def test_redirects_are_followed_where_that_is_said(outside: Outside, receiver: Receiver) -> None:
    receiver.replies = [Reply(307, {"Location": "/there"})]

    outputs = await run(outside, "webhook", {"url": receiver.url, "body": {}, "follow_redirects": True})

    assert outputs["status_code"] == 200
    assert [got.path for got in receiver.received] == ["/", "/there"]


async def test_the_steps_own_headers_do_not_follow_to_another_host(outside: Outside, receiver: Receiver) -> None:
    with receiving() as other:
        receiver.replies = [Reply(307, {"Location": other.url})]
        signing = replace(outside, secrets=Secrets(("k",)))

        await run(
            signing,
            "webhook",
            {"url": receiver.url, "body": {}, "headers": {"X-Token": "t"}, "follow_redirects": True},
            jwt="j",
        )

        got = other.received[0].headers
        assert not {"x-token", "authorization", "x-workflows-signature", "x-webhook-id"} & got.keys()
        assert receiver.received[0].headers["x-token"] == "t"


async def test_without_a_way_out_the_step_fails() -> None:
    assert (await failure(None, {"url": "http://example.com/"})).code == "outbound_missing"


async def test_a_notice_is_posted(outside: Outside, receiver: Receiver) -> None:
    receiver.usual = Reply(200, body=b"ok")

    outputs = await run(
        outside, "notify", {"url": receiver.url, "message": "done", "subject": "s", "headers": {"X-A": "b"}}
    )

    assert outputs == {"dispatched": True, "provider": "generic", "status_code": 200}
    [got] = receiver.received
    assert (got.method, got.json, got.headers["x-a"]) == ("POST", {"text": "done", "subject": "s"}, "b")
    assert got.headers["idempotency-key"] == "run-1:call#1"


@pytest.mark.parametrize(
    "url,name",
    [
        ("https://hooks.slack.com/x", "slack"),
        ("https://ptb.discord.com/x", "discord"),
        ("https://notslack.com/", "generic"),
    ],
)
def test_whose_hook_it_is(url: str, name: str) -> None:
    assert provider(url) == name


@pytest.mark.parametrize(
    "name,config",
    [
        ("webhook", {}),
        ("webhook", {"url": "http://x", "methd": "GET"}),
        ("webhook", {"url": "http://x", "method": "TRACE"}),
        ("webhook", {"url": "http://x", "signing": {"secret": "s"}}),
        ("webhook", {"url": "http://x", "signing": {"type": "md5"}}),
        ("webhook", {"url": "http://x", "signing": True}),
        ("webhook", {"url": "http://x", "egress": {"block_private": False}}),
        ("webhook", {"url": "http://x", "body": 1, "data": 2}),
        ("webhook", {"url": "http://x", "follow_redirects": True, "allow_redirects": True}),
        ("webhook", {"event": "e", "data": {}}),
        ("notify", {"url": "http://x"}),
        ("notify", {"url": "http://x", "message": "m", "to": "x"}),
    ],
)
def test_what_a_config_may_not_say(name: str, config: dict[str, Any]) -> None:
    assert not jsonschema_rs.is_valid(dict(TYPES[name].schema), config)


@pytest.mark.parametrize("name", ["webhook", "notify"])
def test_the_example_is_valid(name: str) -> None:
    assert jsonschema_rs.is_valid(dict(TYPES[name].schema), dict(TYPES[name].example))
