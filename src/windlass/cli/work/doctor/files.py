"""Artifacts: do rows and files agree?"""

from __future__ import annotations

from windlass.cli.output import number
from windlass.cli.work.doctor.findings import REPAIR, Check, naming
from windlass.contexts.artifacts.api import Disagreement


def artifacts(found: Disagreement) -> Check:
    """Say what a look at all artifacts has come to."""
    if not (found.without_file or found.without_row):
        return Check("artifacts", "ok", f"{number(found.objects)} contents have their file, and no file is too many")
    said = []
    if found.without_file:
        said.append(f"{number(len(found.without_file))} contents without a file: {naming(found.without_file)}")
    if found.without_row:
        said.append(f"{number(len(found.without_row))} files without a row: {naming(found.without_row)}")
    advice = f"restore the files from a backup, or {REPAIR}, which removes what has no other half"
    if found.in_doubt:
        advice = "most files are missing: is WORKFLOWS_ARTIFACTS_DIR the right folder, and is its disk there?"
    return Check("artifacts", "failed" if found.without_file else "warning", "; ".join(said), advice)
