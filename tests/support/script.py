"""A script as a command that `warm.py` carries out."""

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run the script that the command line names, with what follows it."""
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).absolute().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
