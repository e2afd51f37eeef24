"""Where modules of the user's own are found."""

from __future__ import annotations

import sys


def look_in_working_folder() -> None:
    """Find modules that ``--app`` and APP_MODULES name in the working folder too, as uvicorn does."""
    if "" not in sys.path:
        sys.path.insert(0, "")
