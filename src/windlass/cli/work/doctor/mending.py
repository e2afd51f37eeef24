"""What ``windlass doctor --repair`` does. Each thing is looked at again in the transaction that mends it."""

from __future__ import annotations

from windlass.bootstrap import Application
from windlass.cli.output import number
from windlass.cli.work.doctor.findings import Check
from windlass.cli.work.doctor.runs import Lost
from windlass.contexts.artifacts.api import Disagreement
from windlass.storage import invariant, strays
from windlass.storage.invariant import HOLDER_DEAD


async def mend(application: Application, lost: Lost, files: Disagreement) -> Check:
    """Mend what is safe to mend, and say what that was."""
    engine = application.engine
    gone = {*lost.dead, *(run.holder for run in lost.adrift if run.finding == HOLDER_DEAD and run.holder is not None)}
    moved = sum([await engine.worker.take_over(holder) for holder in sorted(gone)])
    done = {"dead processes ended": len(gone), "their runs given back": moved}
    cancelled, settled = await engine.transact(lambda tx: strays.close_gaps(tx, lost.gaps, engine.clock.now()))
    lacking = {gap.run_id for gap in lost.gaps}
    ids = [run.run_id for run in lost.adrift if run.finding != HOLDER_DEAD and run.run_id not in lacking]
    done["runs woken"] = await engine.transact(lambda tx: invariant.make_ready(tx, ids, engine.clock.now()))
    done["runs with a gap cancelled"], done["histories marked as cut"] = cancelled, settled
    done["seats given back"] = await engine.transact(lambda tx: strays.free_seats(tx, lost.seats))
    parents = [*lost.orphans.values()]
    below = await engine.transact(lambda tx: strays.cancel_orphans(tx, parents, engine.clock.now()))
    done["ended runs whose children were cancelled"] = below
    if lost.miscounted:
        await application.records.rebuild_counts()
    done["counts mended"] = lost.miscounted
    mended = await application.artifacts.examiner.mend(files)
    done["artifacts without a file removed"], done["files without a row removed"] = len(mended.artifacts), mended.files
    done["artifacts of open runs kept without a file"] = mended.kept
    said = "; ".join(f"{what}: {number(many)}" for what, many in done.items() if many)
    return Check("repair", "ok", said or "nothing had to be mended, or could be")
