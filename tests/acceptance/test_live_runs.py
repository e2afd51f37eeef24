"""A client that reads a stream from a server that is killed, and reads on from where it was."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2

from tests.support.commands import started
from tests.support.service import Service, running_service

FLOWS = '''
"""A workflow that writes for a while, and takes what it writes from outside."""

from windlass import step, stream, updates, workflow


@step(retries=3, backoff=0.01)
async def from_a_step(turn):
    for part in range(3):
        await stream("lines").write(f"step {turn}.{part}")


@workflow(name="teller")
async def teller(turns: int) -> int:
    said = updates("say")
    for turn in range(turns):
        update = await said.receive()
        await stream("lines").write(f"turn {update.payload}")
        await from_a_step(turn)
        update.answer(turn)
    return turns
'''
TURNS = 4


def items(service: Service, run_id: str, last: str | None) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield ids and items of a stream, from behind the last one that was seen, until the stream or the server ends."""
    headers = {} if last is None else {"Last-Event-ID": last}
    number = ""
    with httpx2.stream(
        "GET", f"{service.url}/runs/{run_id}/streams/lines/follow", headers=headers, timeout=60
    ) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            word, _, rest = line.partition(": ")
            if word == "id":
                number = rest
            elif word == "event" and rest == "end":
                return
            elif word == "data":
                yield number, json.loads(rest)


def say(service: Service, run_id: str, turn: int, timeout: float) -> int:
    """Send the update of a turn, which is the same one however often it is sent; returns the status of the answer."""
    body = {"name": "say", "payload": turn, "update_id": f"turn-{turn}", "timeout": timeout}
    answer = httpx2.post(f"{service.url}/runs/{run_id}/updates", json=body, timeout=60)
    assert answer.status_code in {200, 202}, answer.text
    return answer.status_code


def test_a_reader_misses_nothing_and_gets_nothing_twice_when_its_server_is_killed(tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    found: list[dict[str, object]] = []
    last: str | None = None
    run_id, page = "", {}
    for turn in range(TURNS):
        with running_service(tmp_path, "--app", "flows") as service:
            run_id = run_id or asyncio.run(started(f"sqlite:///{tmp_path / 'workflow.db'}", "teller", turns=TURNS))
            if turn:
                assert say(service, run_id, turn - 1, 60) == 200  # sent before the server died: taken once all the same
            say(service, run_id, turn, 0)
            for number, item in items(service, run_id, last):
                found.append(item)
                last = number
                if turn < TURNS - 1 and item["value"] == f"turn {turn}":
                    service.process.send(signal.SIGKILL)
                    service.process.wait_ended()
                    break
            if turn < TURNS - 1:
                continue
            assert say(service, run_id, turn, 60) == 200
            run = httpx2.get(f"{service.url}/runs/{run_id}").json()
            assert (run["status"], run["outputs"]) == ("succeeded", TURNS)
            page = httpx2.get(f"{service.url}/runs/{run_id}/streams/lines", params={"limit": 1000}).json()

    assert [item["offset"] for item in found] == list(range(len(found)))
    assert page["items"] == found
    assert [item["value"] for item in found if item["step_id"] is None] == [f"turn {turn}" for turn in range(TURNS)]
    for turn in range(TURNS):
        parts = [item for item in found if str(item["value"]).startswith(f"step {turn}.")]
        assert [item["value"] for item in parts][-3:] == [f"step {turn}.{part}" for part in range(3)]
        assert {item["step_id"] for item in parts} == {f"from_a_step#{turn + 1}"}
