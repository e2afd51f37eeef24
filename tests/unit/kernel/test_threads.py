"""Threads for code that may never return: they do what those of the standard library do, and keep no process."""

import gc
import subprocess
import sys
import threading
import weakref
from concurrent.futures import CancelledError, Future
from itertools import pairwise

import pytest

from windlass.kernel.threads import DaemonThreads

PROGRAM = """
import threading
from windlass.kernel.threads import DaemonThreads

begun = threading.Event()
DaemonThreads(1, "t").submit(lambda: (begun.set(), threading.Event().wait()))
begun.wait()
print("over")
"""


def test_a_call_without_an_end_does_not_keep_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)

    assert ended.stdout == "over\n"


def test_calls_answer_or_raise() -> None:
    threads = DaemonThreads(2, "t")

    assert threads.submit(divmod, 7, 4).result(10) == (1, 3)
    assert threads.submit(int, "11", base=2).result(10) == 3
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 1, 0).result(10)
    with pytest.raises(SystemExit):
        threads.submit(sys.exit, 3).result(10)
    assert threads.submit(divmod, 7, 4).result(10) == (1, 3)


class Much:
    """Something large."""


def test_what_a_failed_call_had_made_goes_with_its_error() -> None:
    threads = DaemonThreads(1, "t")
    made: list[weakref.ref[Much]] = []

    def fail() -> None:
        data = Much()
        made.append(weakref.ref(data))
        raise ZeroDivisionError

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ZeroDivisionError):
            threads.submit(fail).result(10)
        threads.submit(len, "").result(10)  # the thread is through with the call before
        assert made[0]() is None
    finally:
        gc.enable()


def test_threads_are_made_when_they_are_needed_and_no_more_than_allowed() -> None:
    threads = DaemonThreads(3, "step")
    names = {threads.submit(lambda: threading.current_thread().name).result(10) for _ in range(20)}
    assert len(names) < 20

    meet = threading.Barrier(3)
    together = [threads.submit(meet.wait) for _ in range(3)]
    assert sorted(one.result(10) for one in together) == [0, 1, 2]
    held = threading.Event()
    ran: list[int] = []
    busy = [threads.submit(held.wait) for _ in range(3)]
    waiting = [threads.submit(ran.append, number) for number in range(5)]
    assert not any(one.done() for one in busy)
    assert not any(one.done() for one in waiting)
    assert ran == []

    held.set()
    threads.shutdown()

    assert sorted(ran) == list(range(5))
    assert {name.partition("_")[0] for name in names} == {"step"}


def test_calls_begin_in_order() -> None:
    threads = DaemonThreads(1, "t")
    order: list[int] = []
    for number in range(200):
        threads.submit(order.append, number)
    threads.shutdown()

    assert all(one < other for one, other in pairwise(order))
    assert len(order) == 200


def test_what_waits_can_be_cancelled_and_is_when_told_at_the_end() -> None:
    threads = DaemonThreads(1, "t")
    begun, held = threading.Event(), threading.Event()

    def hold() -> bool:
        begun.set()
        return held.wait()

    running = threads.submit(hold)
    begun.wait()
    waiting: list[Future[None]] = [threads.submit(pytest.fail, "called") for _ in range(3)]
    assert not running.cancel()
    assert waiting[0].cancel()

    threads.shutdown(wait=False, cancel_futures=True)

    for one in waiting:
        with pytest.raises(CancelledError):
            one.result(10)
    with pytest.raises(RuntimeError, match="shut down"):
        threads.submit(int)
    held.set()
    assert running.result(10)
