"""Where tests keep their files: in memory when there is room, so that no test waits for a disk.

What a test shows is the same: a process that is killed finds all that it wrote; a power cut alone would tell.
"""

import os
import tempfile

import psutil

_FOLDER = "/dev/shm"
_ROOM = 4 * 1024**3
"""Bytes of memory that must be free: the tests keep some hundred MiB of files at once, and need the rest themselves."""


def keep_files_in_memory() -> None:
    """Let all temporary files of this process and of those that it starts be in memory.

    Does nothing where there is little room, or a folder has been named.
    """
    if "TMPDIR" in os.environ or "PYTEST_DEBUG_TEMPROOT" in os.environ or not os.access(_FOLDER, os.W_OK):
        return
    folder = os.statvfs(_FOLDER)
    room = min(folder.f_bavail * folder.f_frsize, psutil.virtual_memory().available)
    if room >= _ROOM and not folder.f_flag & os.ST_NOEXEC:  # tests run programs that they have written
        os.environ["TMPDIR"] = tempfile.tempdir = _FOLDER
