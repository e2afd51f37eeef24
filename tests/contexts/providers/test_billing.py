"""The client of billing against a real server: what it creates and finds, and what it says of what goes wrong."""

import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from tests.support.apps import Lines
from tests.support.demo_billing import DemoBilling, billing
from tests.support.receiver import Reply, receiving
from windlass.contexts.providers.billing import (
    MOST_BYTES,
    BillingClient,
    BillingDown,
    BillingOptions,
    BillingRefused,
    Created,
    Found,
    LookupNotOffered,
    NameTaken,
)
from windlass.http.logs import Log, Told
from windlass.kernel.clock import from_iso
from windlass.kernel.telemetry import NOTHING

COMPANY = "Fresh Fruit Ltd"


class Ear(Told):
    """Writes events as a server does, and keeps what is counted."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.counted: list[tuple[str, str]] = []
        super().__init__(Log(self.lines))

    def count(self, name: str, of: Mapping[str, str] = NOTHING, **labels: str) -> None:
        assert name == "provider_service_billing_calls"
        self.counted.append((labels["action"], labels["outcome"]))

    def heard(self) -> list[dict[str, Any]]:
        """The lines written, without what every line has."""
        lines = self.lines.events()
        for line in lines:
            assert from_iso(line.pop("timestamp")) > 0
            assert line.pop("request_id") is None
        return lines


@pytest.fixture(scope="module")
def _served() -> Iterator[DemoBilling]:
    with billing() as served:
        yield served


@pytest.fixture
def demo(_served: DemoBilling) -> DemoBilling:
    """A billing that is well."""
    _served.faults()
    return _served


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
async def client(demo: DemoBilling, ear: Ear) -> AsyncIterator[BillingClient]:
    made = BillingClient(BillingOptions(demo.url + "/", seconds=0.5), ear)
    yield made
    await made.close()


async def test_a_key_creates_one_provider_and_a_name_finds_it(
    demo: DemoBilling, client: BillingClient, ear: Ear
) -> None:
    made = await client.create(COMPANY, "key-1")
    assert made == Created(10_001) == await client.create(COMPANY, "key-1")
    with pytest.raises(NameTaken, match="Provider name must be unique"):
        await client.create(COMPANY, "key-2")
    with pytest.raises(BillingRefused) as refused:
        await client.create("Another & Sons", "key-1")
    assert (refused.value.status, refused.value.detail) == (422, "Idempotency-Key was used with another body")

    found = await client.find(COMPANY)
    assert isinstance(found, Found)
    assert (found.provider_id, found.name, found.idempotency_key) == (10_001, COMPANY, "key-1")
    assert found.created_at == from_iso(demo.store.get(10_001).created_at)  # type: ignore[union-attr]
    assert await client.find("fresh fruit ltd") is None
    demo.faults(keys=False)
    unknown = (await client.create("Keyless &?=% Ü", "key-3")).provider_id
    assert await client.find("Keyless &?=% Ü") == Found(
        unknown, "Keyless &?=% Ü", None, from_iso(demo.store.get(unknown).created_at)  # type: ignore[union-attr]
    )  # fmt: skip
    with pytest.raises(NameTaken):
        await client.create("Keyless &?=% Ü", "key-3")

    asked = {"event": "billing_service_request", "level": "info", "action": "create_provider", "company": COMPANY}
    gave = {"event": "billing_service_success", "level": "info", "provider_id": 10_001}
    taken = {"status": 409, "body": "Provider name must be unique"}
    heard = ear.heard()
    assert heard[:6] == [
        asked, gave, asked, gave, asked, {"event": "billing_service_error", "level": "error", **taken}
    ]  # fmt: skip
    assert heard[8:10] == [asked | {"action": "find_provider"}, gave]
    created, taken_name = ("create", "created"), ("create", "name_taken")
    assert ear.counted == [
        created, created, taken_name, ("create", "refused"), ("find", "found"), ("find", "none"), created,
        ("find", "found"), taken_name,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "faults,status,retry_after,done",
    [
        ({"fail": "error"}, 500, None, False),
        ({"fail": "error-after", "status": 502}, 502, None, True),
        ({"fail": "error", "status": 503, "retry_after": 1.5}, 503, 1.5, False),
        ({"fail": "error", "status": 504}, 504, None, False),
        ({"fail": "error", "status": 408}, 408, None, False),
        ({"fail": "error", "status": 429, "retry_after": 0}, 429, 0.0, False),
        ({"fail": "drop-before"}, None, None, False),
        ({"fail": "drop-after"}, None, None, True),
    ],
    ids=lambda value: value["fail"] if isinstance(value, dict) else None,
)
async def test_a_call_that_stays_open_is_repeated_under_its_key(
    demo: DemoBilling, client: BillingClient, ear: Ear, faults: dict[str, Any], status: int | None,
    retry_after: float | None, done: bool,
) -> None:  # fmt: skip
    before, name = demo.store.count(), f"Open {faults} Ltd"
    demo.faults(**faults, next=1)

    with pytest.raises(BillingDown) as down:
        await client.create(name, name)
    error = down.value
    assert (error.status, error.retry_after, error.sent) == (status, retry_after, True)
    assert demo.store.count() == before + done
    client.retrying(error, attempt=1, max_retries=3, delay=0.5)

    again = await client.create(name, name)
    assert demo.store.count() == before + 1
    assert (await client.find(name)) == Found(again.provider_id, name, name, from_iso(_row(demo, again).created_at))
    [failed, retry] = [line for line in ear.heard() if line["level"] != "info"]
    assert failed == {"event": "billing_service_error", "level": "error", "status": status, "body": error.detail}
    said = {"attempt": 1, "max_retries": 3, "delay": 0.5, "url": f"{demo.url}/provider"}
    if status is None:
        said |= {"event": "billing_service_retry_exception", "error": error.reason}
    else:
        said |= {"event": "billing_service_retry", "status_code": status}
    assert retry == said | {"level": "warning"}
    assert ear.counted[0] == ("create", "down")


def _row(demo: DemoBilling, created: Created) -> Any:
    return demo.store.get(created.provider_id)


async def test_what_is_too_slow_or_not_there_is_down_and_a_no_is_final(
    demo: DemoBilling, client: BillingClient, ear: Ear
) -> None:
    demo.faults(slow=1)
    with pytest.raises(BillingDown, match=r"no answer within 0\.5 s") as late:
        await client.create("Late Ltd", "late")
    assert late.value.sent
    demo.faults(lookup=False)
    with pytest.raises(LookupNotOffered):
        await client.find(COMPANY)
    for status in (400, 422):
        demo.faults(status=status, next=1)
        with pytest.raises(BillingRefused) as refused:
            await client.create("Refused Ltd", "refused")
        assert (refused.value.status, refused.value.detail) == (status, "a fault that was asked for: error")
    assert [line["event"] for line in ear.heard() if line["level"] == "error"] == [
        "billing_service_timeout", "billing_service_error", "billing_service_error"
    ]  # fmt: skip
    assert ear.counted == [("create", "timeout"), ("find", "not_offered"), *[("create", "refused")] * 2]

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = BillingClient(BillingOptions(f"http://127.0.0.1:{free.getsockname()[1]}"), ear)
        with pytest.raises(BillingDown) as away:
            await nobody.create("Nobody Ltd", "nobody")
        await nobody.close()
    assert (away.value.reason, away.value.sent) == ("Connection refused", False)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(201, body=b"thanks"),
        Reply(201, body=b"[10001]"),
        Reply(201, body=b"{}"),
        *(Reply(201, body=b'{"id": %s}' % value) for value in (b'"10001"', b"true", b"null", b"0", b"1.5", b"1e3")),
        Reply(201, body=b'{"id": 9223372036854775808}'),
        Reply(201, body=b'{"id": 10001, "x": "%s"}' % (b"x" * MOST_BYTES)),
        Reply(520, body=b"who knows"),
    ],
    ids=lambda reply: f"{reply.status} {reply.body[:24]!r}",
)
async def test_an_answer_that_says_nothing_leaves_the_call_open(ear: Ear, reply: Reply) -> None:
    with receiving() as other:
        client = BillingClient(BillingOptions(other.url), ear)
        other.usual = reply
        for call in (client.create(COMPANY, "key"), client.find(COMPANY)):
            with pytest.raises(BillingDown) as down:
                await call
            assert down.value.sent
        await client.close()
        assert other.received[0].json == {"name": COMPANY}
        assert (other.received[0].path, other.received[0].headers["idempotency-key"]) == ("/provider", "key")


async def test_redirects_are_not_followed_and_words_are_kept_short_and_printable(ear: Ear) -> None:
    with receiving() as other:
        client = BillingClient(BillingOptions(other.url), ear)
        other.replies = [
            Reply(307, {"Location": f"{other.url}/elsewhere"}, b""),
            Reply(403, body=b"\x1b[31mno\x00" + b"x" * 5000),
            Reply(200, body=b'{"providers": [{"id": 1, "name": "Another"}, "odd", {"id": 2, "name": "A", '
                            b'"idempotency_key": 3, "created_at": "soon"}]}'),
        ]  # fmt: skip
        with pytest.raises(BillingRefused, match="307"):
            await client.create(COMPANY, "key")
        with pytest.raises(BillingRefused) as refused:
            await client.create(COMPANY, "key")
        assert refused.value.detail.startswith("[31mno x")
        assert len(refused.value.detail) <= 500
        assert refused.value.detail.isprintable()
        assert await client.find("A") == Found(2, "A", None, None)
        await client.close()
        assert len(other.received) == 3
