"""What schedules can run: Python workflows by name, and saved workflows once their context is plugged in."""

from __future__ import annotations

import sqlalchemy as sa

from windlass.contexts.schedules.model import Aim, Order, Target, UnknownTarget
from windlass.contexts.schedules.runs import carried_out, start
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.engine.registry import Definition, Registry
from windlass.engine.types import NewRun
from windlass.kernel.clock import to_iso
from windlass.kernel.errors import NotSerializable
from windlass.kernel.versions import UNBOUND
from windlass.values.codec import encode


class PythonTarget:
    """Runs workflows written in Python.

    Args:
        engine: starts them.
        offered: the workflows that users may name; what else the engine knows is its own.
    """

    def __init__(self, engine: Engine, offered: Registry) -> None:
        self._engine = engine
        self._offered = offered

    def check(self, connection: sa.Connection, aim: Aim) -> None:
        """Make sure that the name is known, here or to a live process, and that the input fits."""
        self._pack(connection, aim)

    def online(self, connection: sa.Connection, aim: Aim) -> bool:
        """Say whether a live process knows the name."""
        return carried_out(connection, str(aim.workflow))

    def start_in(self, tx: Transaction, order: Order) -> str:
        """Start the workflow under the order's run id."""
        aim, now = order.aim, self._engine.clock.now()
        inputs = self._pack(tx.connection, aim)
        known = self._definition(aim)
        about = {"schedule_id": order.schedule_id, "kind": order.kind}
        if order.slot is not None:
            about["slot"] = to_iso(order.slot)
        run = NewRun(
            order.run_id, str(aim.workflow), inputs, now,
            queue="default" if known is None else known.queue,
            priority=0 if known is None else known.priority,
            tenant_id=aim.tenant_id, owner=aim.user_id, attributes=encode(about, "attributes"),
            interface_version=UNBOUND if known is None else known.version,
        )  # fmt: skip
        start(tx, run)
        return order.run_id

    def _definition(self, aim: Aim) -> Definition | None:
        name = str(aim.workflow)
        return self._engine.registry.get(name) if name in self._offered and name in self._engine.registry else None

    def _pack(self, connection: sa.Connection, aim: Aim) -> str:
        """Return the input as JSON text.

        Raises:
            UnknownTarget: nobody knows the name, or the input does not fit.
        """
        name = str(aim.workflow)
        known = self._definition(aim)
        try:
            if known is not None:
                return known.signature.pack((), aim.inputs, f"input of {name}")
            if name not in self._engine.registry and carried_out(connection, name):
                return encode(dict(aim.inputs), f"input of {name}")
        except NotSerializable as error:
            raise UnknownTarget(error.message, field="inputs") from error
        raise UnknownTarget(f"no workflow {name!r} is registered", field="workflow")


class Targets:
    """Chooses who runs an aim.

    Args:
        python: runs Python workflows.
        saved: runs saved workflows; None where there are none.
    """

    def __init__(self, python: Target, saved: Target | None = None) -> None:
        self._python = python
        self._saved = saved

    def _of(self, aim: Aim) -> Target:
        if aim.workflow_id is None:
            return self._python
        if self._saved is None:
            raise UnknownTarget(f"no saved workflow {aim.workflow_id}", field="workflow_id")
        return self._saved

    def check(self, connection: sa.Connection, aim: Aim) -> None:
        """See ``model.Target``."""
        self._of(aim).check(connection, aim)

    def online(self, connection: sa.Connection, aim: Aim) -> bool:
        """See ``model.Target``."""
        return self._of(aim).online(connection, aim)

    def start_in(self, tx: Transaction, order: Order) -> str:
        """See ``model.Target``."""
        return self._of(order.aim).start_in(tx, order)
