"""The guard that test processes put before their servers."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support import guard
from tests.support.waiting import wait_until

AT_THE_WORST = """
import os, signal, sys, threading
sys.path[:0] = [sys.argv.pop(1)]
import guard
class Lock:
    def __init__(self):
        self.lock, self.told, self.release = lock(), False, lambda: self.lock.release()
    def acquire(self, *arguments):
        held = self.lock.acquire(*arguments)
        if not self.told:
            self.told = True
            os.kill(os.getpid(), signal.SIGTERM)
        return held
    __enter__ = acquire
    def __exit__(self, *_):
        self.lock.release()
lock, threading.Lock = threading.Lock, Lock
guard.STOP_SECONDS = 0.1
sys.exit(guard.main(sys.argv[1:]))
"""
"""A guard that is told to stop while it holds the lock under which Popen looks whether its command has ended."""
LISTENING = "trap 'exit 7' USR1; touch started; while :; do read -t 0.01 line; done"


def _guarded(folder: Path, *command: str, watched: int | None = None) -> subprocess.Popen[bytes]:
    told = [str(watched or os.getpid()), "SIGUSR1", "-", str(folder)]
    return subprocess.Popen([sys.executable, guard.__file__, *told, *command], stdin=subprocess.DEVNULL)


def test_it_stops_whatever_it_does_when_it_is_told(tmp_path: Path) -> None:
    told = [str(Path(guard.__file__).parent), str(os.getpid()), "SIGTERM", "-", str(tmp_path), "sleep", "100"]
    with subprocess.Popen([sys.executable, "-c", AT_THE_WORST, *told]) as guarding:
        try:
            assert guarding.wait(30) == -signal.SIGTERM % 256
        finally:
            guarding.kill()


def test_it_passes_on_how_its_command_ended_and_what_ends_it(tmp_path: Path) -> None:
    assert _guarded(tmp_path, "sh", "-c", "exit 3").wait() == 3

    guarding = _guarded(tmp_path, "bash", "-c", LISTENING)
    wait_until((tmp_path / "started").exists)
    guarding.send_signal(signal.SIGINT)  # what a terminal sends to all is for who watches
    guarding.terminate()
    assert guarding.wait() == 7


def test_its_command_and_folder_go_with_who_watches(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    watched = subprocess.Popen(["sleep", "100"])
    guarding = _guarded(folder, "bash", "-c", LISTENING, watched=watched.pid)
    wait_until((folder / "started").exists)
    watched.kill()
    watched.wait()
    assert guarding.wait() == 7
    assert not folder.exists()
