"""Run a server for as long as its test process lives, even when that one is killed on the spot.

    python guard.py WATCHED_PID STOP_SIGNAL USER FOLDER COMMAND...

The command runs in FOLDER and in a session of its own, under USER when that is not "-". When it ends, the
guard ends with its exit code. When the guard gets SIGTERM, or the watched process is gone, the command gets
STOP_SIGNAL and, if it does not listen, SIGKILL; in the second case FOLDER is removed as well, because nobody
else will. What the command has started does not outlive it either: a shell that is told to end tells nobody.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time

_HEARD = {signal.SIGCHLD, signal.SIGTERM}
_LOOK_AGAIN_SECONDS = 0.5
STOP_SECONDS = 10.0
ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER


def main(arguments: list[str]) -> int:
    """Run the command of the arguments; return its exit code."""
    watched, stop_signal, user, folder, *command = arguments
    identity = {} if user == "-" else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    ctypes.CDLL(None).prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    # Signals wait until they are asked for: a handler could come while Popen holds what the handler needs.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_HEARD, signal.SIGINT})
    child = subprocess.Popen(  # type: ignore[call-overload]
        command,
        cwd=folder,
        start_new_session=True,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509  there is one thread
        **identity,
    )
    while child.poll() is None:
        heard = signal.sigtimedwait(_HEARD, _LOOK_AGAIN_SECONDS)
        told = heard is not None and heard.si_signo == signal.SIGTERM
        left = not _alive(int(watched))
        if told or left:
            _end(child, signal.Signals[stop_signal])
        if left:
            shutil.rmtree(folder, ignore_errors=True)
    return int(child.returncode)


def _end(child: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    child.send_signal(stop)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    end_group(child.pid)


def end_group(group: int) -> None:
    """End those of a child's process group that are left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_SECONDS
        try:
            os.killpg(group, number)
            while time.monotonic() < deadline:
                while os.waitpid(-group, os.WNOHANG)[0]:
                    pass
                time.sleep(0.02)
        except (ChildProcessError, ProcessLookupError):
            return


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
