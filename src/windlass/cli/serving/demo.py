"""Demo servers: they answer until they are told to stop."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from windlass.cli.exits import CommandError, ExitCode, bad_input
from windlass.cli.output import note
from windlass.cli.serving import banner
from windlass.cli.serving.process import leave_on_signals
from windlass.cli.serving.server import listen
from windlass.demo.billing.faults import Faults, Switch
from windlass.demo.billing.server import Server
from windlass.demo.billing.store import Store, Unusable

WARNING = "For demos and tests only: whoever reaches it may create providers and switch faults on."
_COMPANY = """-H 'Content-Type: application/json' -d '{"name":"Fresh Fruit Ltd"}'"""
_FAULT = """-d '{"fail":"drop-after","next":1}'"""


def billing(host: str, port: int, database: str, faults: Sequence[str]) -> None:
    """Serve the demo billing until told to stop.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        database: the file of its providers.
        faults: those to begin with, each ``name=value``.

    Raises:
        CommandError: the port is taken, the host is none of this machine, the file is none of its own, or a fault is
            none.
    """
    server: Server | None = None
    leave_on_signals(lambda: server is not None and server.started)
    chosen = _read(faults)
    try:
        store = Store(database)
    except Unusable as error:
        raise CommandError(ExitCode.USAGE, f"--database: {database} cannot be used: {error}") from error
    listener = listen(host, port)
    address = banner.address(host, listener.getsockname()[1])

    def ready() -> None:
        lines = [
            f"Address    {address}",
            f"Providers  {store.count()} in {database}",
            f"Faults     {', '.join(faults) or 'none'}",
            "",
            WARNING,
            "",
            "Try:",
            f"curl -X POST {address}/provider {_COMPANY}",
            f"curl -X PUT {address}/faults {_FAULT}",
            f"BILLING_SERVICE_URL={address} windlass up",
        ]
        banner.framed("Demo billing is up", lines)

    server = Server(store, Switch(chosen), lambda line: print(line, flush=True), ready)
    server.run([listener])
    store.close()
    note("Demo billing has stopped.")


def _read(faults: Sequence[str]) -> Faults:
    given = dict(one.partition("=")[::2] for one in faults)
    try:
        return Faults.model_validate_strings(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        bad_input(
            f"--fault {'.'.join(map(str, first['loc']))}: {first['msg']}", "windlass demo billing --help lists them"
        )
