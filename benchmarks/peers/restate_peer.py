"""Restate: its server from npm, a service written with its Python SDK, asked through its own HTTP ingress.

Settings: ``server`` (the server's binary), ``python`` (an interpreter that has the SDK), ``partitions`` of
its log (it comes with 24; fewer suit few cores), ``workers`` and ``loop`` of Hypercorn. Else the server runs
as it comes: one node, a replicated log on RocksDB whose WAL is synced to disk for every batch
(``log-server.rocksdb-disable-wal-fsync = false``, read back from its configuration).
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load
from benchmarks.contender import Options, Outcome, Shape, family_bytes, main, resident_bytes

_STARTUP = 60.0
_APP = "benchmarks.peers.restate_app:app"


@dataclass(frozen=True)
class _Restate:
    """A running server with the service registered."""

    ingress: int
    server_pid: int
    app_pid: int

    def report(self, handler: str, argument: int, requests: int, connections: int) -> load.Report:
        """Call a handler through the ingress."""
        request = load.request_bytes(self.ingress, f"/bench/{handler}", str(argument).encode())
        report = load.run(self.ingress, [request] * requests, connections)
        if set(report.statuses) - {"200", "202"}:
            raise RuntimeError(f"Restate answered {report.statuses}")
        return report

    def memory(self) -> int:
        """Return the resident bytes of server and service."""
        return resident_bytes(self.server_pid) + family_bytes(self.app_pid)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _server_config(options: Options, node: int, ingress: int, admin: int) -> Path:
    folder, settings = options.folder, options.settings
    path = folder / "restate.toml"
    path.write_text(
        f"""base-dir = "{folder / "restate-data"}"
bind-address = "127.0.0.1:{node}"
listen-mode = "tcp"
disable-telemetry = true
default-num-partitions = {settings.get("partitions", "24")}
log-filter = "warn"

[ingress]
bind-address = "127.0.0.1:{ingress}"

[admin]
bind-address = "127.0.0.1:{admin}"
"""
    )
    return path


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _check_durable(server: str, config: Path) -> None:
    settings = tomllib.loads(_said([server, "--config-file", str(config), "--dump-config"]))
    unsynced = settings["log-server"]["rocksdb-disable-wal-fsync"]
    if unsynced or settings["bifrost"]["default-provider"] != "replicated":
        raise RuntimeError("this Restate server does not sync its log to disk")


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _until_up(port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + _STARTUP
    while True:
        try:
            if load.fetch(port, path, method="GET")[0] == "200":
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing healthy on {path}: {log.read_text()[-2000:]}")
        time.sleep(0.05)


def _until_listening(port: int, log: Path) -> None:
    deadline = time.monotonic() + _STARTUP
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the service does not listen: {log.read_text()[-2000:]}") from error
            time.sleep(0.05)
        else:
            return


@contextmanager
def _restate(options: Options) -> Iterator[_Restate]:
    settings, folder = options.settings, options.folder
    service, node, ingress, admin = _free_ports(4)
    config = _server_config(options, node, ingress, admin)
    _check_durable(settings["server"], config)
    hypercorn = folder / "hypercorn.toml"
    hypercorn.write_text(
        f"""bind = "127.0.0.1:{service}"
h2_max_concurrent_streams = 2147483647
keep_alive_max_requests = 2147483647
keep_alive_timeout = 2147483647
workers = {settings.get("workers", "1")}
worker_class = "{settings.get("loop", "asyncio")}"
"""
    )
    serve = [settings["python"], "-m", "hypercorn", "--config", str(hypercorn), _APP]
    log = folder / "restate.log"
    with (
        _process(serve, folder / "service.log") as app,
        _process([settings["server"], "--config-file", str(config), "--no-logo"], log) as server,
    ):
        _until_listening(service, folder / "service.log")
        _until_up(admin, "/health", log)
        deployment = json.dumps({"uri": f"http://127.0.0.1:{service}"}).encode()
        status, body = load.fetch(admin, "/deployments", deployment)
        if status != "201":
            raise RuntimeError(f"Restate refused the service: {status} {body[:500]!r}")
        _until_up(ingress, "/restate/health", log)
        yield _Restate(ingress, server.pid, app.pid)


def _detail(options: Options, report: load.Report) -> dict[str, object]:
    asks = "from importlib.metadata import version; print(version('restate-sdk'), version('hypercorn'))"
    sdk, hypercorn = _said([options.settings["python"], "-c", asks]).split()
    return {
        "server": _said([options.settings["server"], "--version"]).split()[1],
        "restate-sdk": sdk,
        "hypercorn": hypercorn,
        "partitions": options.settings.get("partitions", "24"),
        "workers": options.settings.get("workers", "1"),
        "loop": options.settings.get("loop", "asyncio"),
        "p50_ms": report.p50_ms,
        "p99_ms": report.p99_ms,
        "client_busy": report.busy,
    }


def _ten_steps(options: Options) -> Outcome:
    """Steps per second of 10-step handlers."""
    with _restate(options) as peer:
        peer.report("chain", 10, min(options.size, options.at_a_time), options.at_a_time)
        report = peer.report("chain", 10, options.size, options.at_a_time)
        return Outcome(report.per_second * 10, _detail(options, report))


def _one_step(options: Options) -> Outcome:
    """Handlers per second, of one step each."""
    with _restate(options) as peer:
        peer.report("chain", 1, min(options.size, options.at_a_time), options.at_a_time)
        report = peer.report("chain", 1, options.size, options.at_a_time)
        return Outcome(report.per_second, _detail(options, report))


def _alone(options: Options) -> Outcome:
    """Milliseconds per step of one handler of ``size`` steps."""
    with _restate(options) as peer:
        peer.report("chain", 10, 3, 1)
        report = peer.report("chain", options.size, 1, 1)
        return Outcome(report.p50_ms / options.size, _detail(options, report))


def _idle(options: Options) -> Outcome:
    """Median milliseconds from request to answer of a 1-step handler, one at a time."""
    with _restate(options) as peer:
        peer.report("chain", 1, 5, 1)
        report = peer.report("chain", 1, options.size, 1)
        return Outcome(report.p50_ms, _detail(options, report))


def _children(options: Options) -> Outcome:
    """Seconds for one parent with ``size`` calls."""
    with _restate(options) as peer:
        peer.report("parent", 10, 2, 1)
        report = peer.report("parent", options.size, 1, 1)
        return Outcome(1 / report.per_second, _detail(options, report))


def _sleeping(options: Options) -> Outcome:
    """Bytes of memory per sleeping handler, from a tenth of ``size`` to ``size`` of them."""
    with _restate(options) as peer:
        tenth = options.size // 10
        peer.report("sleeper/send", 100, tenth, options.at_a_time)
        before = peer.memory()
        report = peer.report("sleeper/send", 100, options.size - tenth, options.at_a_time)
        return Outcome((peer.memory() - before) / (options.size - tenth), _detail(options, report))


SHAPES: dict[str, Shape] = {
    "ten-steps": _ten_steps,
    "one-step": _one_step,
    "alone": _alone,
    "idle": _idle,
    "children": _children,
    "sleeping": _sleeping,
}

if __name__ == "__main__":
    main(SHAPES)
