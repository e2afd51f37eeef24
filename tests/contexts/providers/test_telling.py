"""An approval with all around it: a billing service over HTTP, and a receiver who is told by a signed webhook."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from tests.support.demo_billing import billing
from tests.support.receiver import Reply, receiving
from tests.support.waiting import wait_until_async
from windlass.bootstrap import run_application
from windlass.contexts.webhooks import model
from windlass.kernel.actors import Actor
from windlass.settings import Settings

SECRET = "s3cret"


async def test_who_is_to_hear_of_an_approved_candidate_does(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "LEAST_PAUSE", 0.0)
    with billing() as peer, receiving() as receiver:
        receiver.replies = [Reply(503)]
        settings = Settings(
            database_url=database_url, lease_seconds=5.0, billing_service_url=peer.url,
            providers_webhook_url=f"{receiver.url}/approved", workflows_webhook_secret=SECRET,
            workflows_webhook_dlq_base_sec=0.001, workflows_egress_allowed_ports=("*",),
            workflows_egress_block_private=False,
        )  # fmt: skip
        async with run_application(settings) as application:
            providers = application.providers
            fields = {
                "company_name": "Fresh Fruit", "contact_email": "info@fresh.example", "products": ["apples"],
                "truck_count": 2, "capacity_tons_per_day": 3,
            }  # fmt: skip
            candidate_id = (await providers.candidates.create("default", fields)).candidate_id
            done = await providers.approvals.approve(
                Actor("1", "ann", role="admin"), candidate_id, version=None, wait=True
            )
            await wait_until_async(lambda: len(receiver.received) == 2)
        provider = peer.store.find("Fresh Fruit")

    assert provider is not None
    assert done == (candidate_id, provider.id)
    first, again = receiver.received
    assert (again.path, again.body) == ("/approved", first.body)
    told = again.json
    assert (told["event"], told["candidate"]["candidate_id"]) == ("candidate.approved", candidate_id)
    assert (told["candidate"]["status"], told["candidate"]["provider_id"]) == ("approved", provider.id)
    signed = again.headers["x-signature-timestamp"].encode() + b"." + again.body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert again.headers["x-workflows-signature"] == expected
