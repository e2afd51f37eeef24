"""The demo billing: what it answers, how its faults are switched, and how its command begins and ends."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.commands import Windlass
from tests.support.demo_billing import billing
from windlass.demo.billing.store import Store

LONG = "x" * 256


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with billing() as demo, httpx2.Client(base_url=demo.url) as made:
        yield made


def test_providers_have_numbers_and_names_of_their_own(client: httpx2.Client) -> None:
    made = [client.post("/provider", json={"name": name}) for name in ("A", "B", "A")]
    assert [one.status_code for one in made] == [201, 201, 409]
    assert [one.json() for one in made[:2]] == [{"id": 10_001}, {"id": 10_002}]
    assert made[2].json() == {"detail": "Provider name must be unique"}

    assert client.put("/provider/10002", json={"name": "C"}).json() == {"id": 10_002, "name": "C"}
    assert client.put("/provider/10002", json={"name": "A"}).status_code == 409
    assert client.get("/bill/10002").json()["name"] == "C"
    [found] = client.get("/provider", params={"name": "C"}).json()["providers"]
    assert (found["id"], found["idempotency_key"]) == (10_002, None)
    assert client.get("/provider", params={"name": "B"}).json() == {"providers": []}
    assert client.get("/health").json() == {"status": "healthy", "service": "demo-billing", "providers": 2}

    keyed = {"Idempotency-Key": "k"}
    first, again = (client.post("/provider", json={"name": "K"}, headers=keyed) for _ in range(2))
    assert (first.status_code, again.status_code, first.json()) == (201, 201, again.json())
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert client.put(f"/provider/{first.json()['id']}", json={"name": "L"}).status_code == 200
    assert client.post("/provider", json={"name": "K"}, headers=keyed).json() == first.json()
    assert client.post("/provider", json={"name": "L"}, headers=keyed).status_code == 422


@pytest.mark.parametrize(
    "method,path,body,status",
    [
        *(("POST", "/provider", body, 400) for body in (b"", b"[]", b'{"name": 1}', b'{"name": " "}', b"{}")),
        ("POST", "/provider", b'{"name": "%s"}' % LONG.encode(), 400),
        ("POST", "/provider", b'{"name": "x", "id": 1}', 400),
        ("POST", "/provider", b"[" + b" " * 65_536, 400),
        ("PUT", "/provider/9", b'{"name": "x"}', 404),
        ("PUT", f"/provider/{10**30}", b'{"name": "x"}', 404),
        ("GET", "/bill/9", b"", 404),
        ("GET", "/bill/nine", b"", 404),
        ("GET", "/provider", b"", 400),
        ("DELETE", "/provider/10001", b"", 405),
        ("PUT", "/faults", b'{"slow": -1}', 400),
        ("PUT", "/faults", b'{"fail": "burn"}', 400),
        ("PUT", "/faults", b'{"share": "1"}', 400),
        ("PUT", "/faults", b'{"slwo": 1}', 400),
    ],
)
def test_what_it_does_not_understand_it_says(
    client: httpx2.Client, method: str, path: str, body: bytes, status: int
) -> None:
    assert client.request(method, path, content=body).status_code == status


def test_faults_are_switched_while_it_runs(client: httpx2.Client) -> None:
    def asked(times: int) -> list[int]:
        return [client.get("/bill/1").status_code for _ in range(times)]

    on = {"next": 2, "share": 0.5, "seed": 7, "status": 503, "retry_after": 2}
    said = client.put("/faults", json=on).json()
    assert said == {"slow": 0, "fail": "error", "keys": True, "lookup": True} | on
    failed = client.get("/bill/1")
    assert (failed.status_code, failed.headers["retry-after"]) == (503, "2")
    assert client.get("/faults").json()["next"] == 1
    first = asked(60)
    assert {404, 503} == set(first)
    client.put("/faults", json=on)
    assert asked(61)[1:] == first, "a seed chooses the same calls"
    assert client.get("/health").status_code == 200

    client.put("/faults", json={"fail": "mixed", "next": 1000})
    seen = set()
    for number in range(100):
        try:
            seen.add(client.post("/provider", json={"name": f"mixed {number}"}).status_code)
        except httpx2.TransportError:  # an end of the stream, or a reset
            seen.add(0)
    assert seen == {0, 500}
    assert 0 < client.get("/health").json()["providers"] < 100
    client.put("/faults", json={})
    assert asked(50) == [404] * 50


def test_the_command_serves_keeps_its_providers_and_warns(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {})
    assert "billing" in windlass("demo", "--help").out
    assert "keys=false" in windlass("demo", "billing", "--help").out
    assert "--fault slwo" in windlass("demo", "billing", "--fault", "slwo=1", code=2).err
    (tmp_path / "text.db").write_text("no database" * 100)
    assert "--database" in windlass("demo", "billing", "--database", "text.db", code=2).err

    with windlass.running("demo", "billing", "--port", "0", "--fault", "keys=false", "--fault", "next=1") as server:
        server.says("Demo billing is up")
        [url] = [line.split()[1] for line in server.err.splitlines() if line.startswith("Address")]
        assert "For demos and tests only" in server.err
        statuses = [httpx2.post(f"{url}/provider", json={"name": "A"}).status_code for _ in range(2)]
        assert statuses == [500, 201]
        assert server.stop() == 0
    assert server.out.splitlines() == ["POST /provider not done, told as 500", "POST /provider 201"]
    kept = Store(str(tmp_path / "demo-billing.db"))
    assert kept.find("A") is not None
    kept.close()
