"""Processes killed with ``kill -9`` while they work: the others, or they themselves once restarted, finish it all."""

from tests.faults.crew import Crew
from tests.faults.verdict import judge, wait_for_rest

ORDERS = 400


def test_killed_workers_leave_nothing_undone(processes: Crew) -> None:
    client = processes.join("client", "--no-worker", "--client", str(ORDERS))
    workers = [processes.join(f"worker{number}") for number in range(2)]
    for turn in range(3):
        client.wait_for("ack", (turn + 1) * ORDERS // 5)
        workers[0].kill()
        workers = [workers[1], processes.join("worker")]
    client.wait_for("done")
    wait_for_rest(processes.url)

    assert len(set(processes.acknowledged)) == ORDERS
    judge(processes.url, processes.acknowledged)


def test_a_process_killed_with_all_it_had_goes_on_when_restarted(processes: Crew) -> None:
    options = ["--client", str(ORDERS), "--at-once", "50"]
    process = processes.join("alone", *options)
    for turn in range(2):
        process.wait_for("ack", (turn + 1) * ORDERS // 8)
        process.kill()
        process = processes.join("alone", *options)
    process.wait_for("done")
    wait_for_rest(processes.url)

    assert len(set(processes.acknowledged)) == ORDERS
    judge(processes.url, processes.acknowledged)
