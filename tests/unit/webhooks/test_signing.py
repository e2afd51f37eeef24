"""Signatures, checked against values made elsewhere."""

import base64
import hashlib
import hmac

import pytest

from windlass.contexts.webhooks.api import SCHEMES, SIGNING_HEADERS, Secrets, confusable, headers, signature

BODY = b'{"workflow": {"id": 7}, "run": {"id": "r"}}'


def test_v1_signs_time_and_body() -> None:
    made = headers("v1", ["key"], webhook_id="wf-r-1", timestamp=1_700_000_000, body=BODY)
    expected = hmac.new(b"key", b"1700000000." + BODY, hashlib.sha256).hexdigest()

    assert made == {
        "X-Signature-Timestamp": "1700000000",
        "X-Webhook-ID": "wf-r-1",
        "X-Workflows-Signature-Version": "v1",
        "X-Workflows-Signature": expected,
        "X-Hub-Signature-256": f"sha256={expected}",
    }


def test_a_published_vector() -> None:
    """RFC 4231, case 2."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"

    assert signature("Jefe", None, b"what do ya want for nothing?") == expected


def test_v0_signs_the_body_alone() -> None:
    made = headers("v0", ["key"], webhook_id="x", timestamp=1, body=BODY)
    expected = hmac.new(b"key", BODY, hashlib.sha256).hexdigest()

    assert made == {"X-Workflows-Signature": expected, "X-Hub-Signature-256": f"sha256={expected}"}


def test_standard_webhooks_vector() -> None:
    """The example of the specification's reference libraries."""
    made = headers(
        "standard",
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )

    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert (made["webhook-id"], made["webhook-timestamp"]) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")


def test_two_live_secrets_sign_both() -> None:
    v1 = headers("v1", ["new", "old"], webhook_id="w", timestamp=5, body=BODY)
    standard = headers("standard", ["new", "old"], webhook_id="w", timestamp=5, body=BODY)

    assert v1["X-Workflows-Signature"] == signature("new", 5, BODY)
    assert v1["X-Workflows-Signature-Previous"] == signature("old", 5, BODY)
    assert len(set(v1["X-Workflows-Key-Id"].split(","))) == 2
    both = standard["webhook-signature"].split(" ")
    signed = b"w.5." + BODY
    assert both == [
        "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in (b"new", b"old")
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_a_secret_nothing_is_signed(scheme: str) -> None:
    made = headers(scheme, [], webhook_id="w", timestamp=5, body=BODY)

    assert not any(
        "signature" in name.lower() for name in made if name != "X-Signature-Timestamp" and "Version" not in name
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_header_is_known_as_one_of_a_signature(scheme: str) -> None:
    made = headers(scheme, ["a", "b"], webhook_id="w", timestamp=5, body=BODY)

    assert {name.lower() for name in made} <= SIGNING_HEADERS


def test_tenants_have_secrets_of_their_own() -> None:
    secrets = Secrets(("shared",), {"BIG_CORP": ("own", "older")})

    assert secrets.of("big-corp") == ("own", "older")
    assert secrets.of("other") == ("shared",)
    assert "own" not in repr(secrets)


def test_an_old_signature_of_a_body_that_begins_like_a_time_is_that_of_another_webhook() -> None:
    assert signature("key", None, b"5.{}") == signature("key", 5, b"{}")
    assert confusable(b"5.{}")
    assert not confusable(BODY)
