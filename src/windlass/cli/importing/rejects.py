"""Refused lines: to a file as NDJSON, or to stderr in words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

import orjson

from windlass.cli.importing.items import Refused
from windlass.cli.output import is_terminal, note

SHOWN = 20
"""How many refused lines a terminal gets to see."""


class Rejects:
    """Keeps count of refused lines and tells of each.

    Args:
        path: a file that gets ``line``, ``field``, ``error`` and ``text`` of each; None for stderr.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: BinaryIO | None = None if path is None else path.open("wb")
        self._most = SHOWN if is_terminal(sys.stderr) else None
        self.count = 0

    def add(self, refused: Refused) -> None:
        """Tell of a refused line."""
        self.count += 1
        if self._file is not None:
            row = {"line": refused.line, "field": refused.field, "error": refused.message, "text": refused.text}
            self._file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        elif self._most is None or self.count <= self._most:
            note(str(refused))
        elif self.count == self._most + 1:
            note("… and more; --rejects FILE keeps them all")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
