"""Prometheus metrics.

What a process counts itself (requests, ended runs, commits) is right with several uvicorn or gunicorn workers too:
the workers of one server keep their counts in files of one folder, and whichever answers ``/metrics`` adds them up
(prometheus-client's multiprocess mode, chosen here before the library is loaded). What the database knows (records,
open runs) is asked from it.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windlass.http import provider_metrics
from windlass.http.logs import tell
from windlass.http.provider_metrics import ProviderMeter
from windlass.http.tracing import Tracer
from windlass.http.workflow_metrics import WorkflowMeter
from windlass.kernel.telemetry import NOTHING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COUNTED = {
    "workflows_webhook_deliveries": ("Attempts to deliver a webhook.", ("status", "host")),
    "workflows_starts_refused": ("Starts of runs of definitions over a limit.", ("limit",)),
    **provider_metrics.COUNTED,
}
"""What contexts count, by name: its meaning and labels."""
MOST_HOSTS = 100
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def share_with_siblings() -> None:
    """Count together with the other workers of the same server, when this process is one of several.

    Does nothing where the folder is named already, or the process serves alone.
    """
    if os.environ.get(FOLDER):
        return
    family = Path(tempfile.gettempdir())
    parent = multiprocessing.parent_process()
    supervisor = parent.pid if parent is not None else os.getppid() if "gunicorn.arbiter" in sys.modules else None
    if supervisor is None:
        return
    prefix = f"windlass-metrics-{os.getuid()}-"
    folder = family / f"{prefix}{supervisor}"
    for old in family.glob(f"{prefix}*"):
        if not _runs(int(old.name.removeprefix(prefix))):
            shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ[FOLDER] = str(folder)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Meter:
    """The metrics of one process; also hears what the engine tells (``engine.telemetry.Telemetry``).

    Args:
        tracer: writes what the engine tells into the log, and more where that is wanted.
        version: of the service, for ``windlass_build_info``.
    """

    def __init__(self, tracer: Tracer, version: str) -> None:
        import prometheus_client as prometheus  # noqa: PLC0415  share_with_siblings goes first

        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._prometheus = prometheus
        self.tracer = tracer
        self._events = tracer.log.events
        self._folder = os.environ.get(FOLDER)
        self._version = version
        own = self._registry = prometheus.CollectorRegistry()
        self._requests = prometheus.Counter(
            "windlass_http_requests", "Requests answered.", ("method", "route", "status"), registry=own
        )
        self._seconds = prometheus.Histogram(
            "windlass_http_request_seconds", "Time to answer.", ("method", "route"), buckets=BUCKETS, registry=own
        )
        self._runs = prometheus.Counter(
            "windlass_runs_ended", "Runs that ended here.", ("workflow", "status"), registry=own
        )
        self._told = prometheus.Counter("windlass_engine_events", "What the engine told.", ("event",), registry=own)
        self._batches = prometheus.Counter("windlass_commit_batches", "Transactions of the committer.", registry=own)
        self._units = prometheus.Counter("windlass_commit_units", "Units of work in them.", registry=own)
        self._waiting = prometheus.Gauge(
            "windlass_commit_waiting", "Units of work that wait.", registry=own, multiprocess_mode="livesum"
        )
        self._counters = {
            name: prometheus.Counter(name, words, labels, registry=own) for name, (words, labels) in COUNTED.items()
        }
        self._workflows = WorkflowMeter(prometheus, own)
        self.providers = ProviderMeter(prometheus, own)
        self._hosts: set[str] = set()
        self._seen = (0, 0)
        self._counted: dict[tuple[str, str, int], tuple[tuple[Any, Any], ...]] = {}

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request of a route, which its template names."""
        key = (method, route, status)
        children = self._counted.get(key)
        if children is None:
            known = method if method in METHODS else "OTHER"
            own = (self._requests.labels(known, route, str(status)), self._seconds.labels(known, route))
            self._counted[key] = children = (own, *self.providers.children(known, route, str(status)))
        for counter, histogram in children:
            counter.inc()
            histogram.observe(seconds)

    def event(self, name: str, **fields: object) -> None:
        """Hear the engine: log it and count it."""
        self._told.labels(name).inc()
        self._workflows.event(name)
        tell(self._events, name, fields)

    def run_started(self, workflow: str, run_id: str, tenant: str, attributes: str) -> None:
        """Hear that a run begins here."""
        self._workflows.run_started(workflow, tenant, attributes)
        self.tracer.run("workflows.run.started", workflow, run_id=run_id, tenant=tenant)

    def run_finished(self, workflow: str, run_id: str, status: str, tenant: str, took: float) -> None:
        """Hear that a run ended here."""
        self._runs.labels(workflow, status).inc()
        self._workflows.run_finished(workflow, status, tenant, took)
        self.tracer.run("workflows.run.ended", workflow, run_id=run_id, status=status, duration_ms=took)

    def step_started(self, workflow: str, run_id: str, step: str, kind: str) -> None:
        """Hear that a step begins here."""
        self._workflows.step_started(workflow, kind)
        self.tracer.run("workflows.step.started", workflow, run_id=run_id, step=step, type=kind)

    def step_ended(
        self, workflow: str, run_id: str, step: str, tenant: str, kind: str, status: str, took: float
    ) -> None:
        """Hear that a step ended here."""
        self._workflows.step_ended(workflow, tenant, kind, status, took)
        if self.tracer.runs:
            told = {"step": step, "type": kind, "status": status, "duration_ms": took}
            self.tracer.run("workflows.step.ended", workflow, run_id=run_id, **told)

    def count(self, name: str, of: Mapping[str, str] = NOTHING, **labels: str) -> None:
        """Count one more of what a context counts; hosts beyond the first hundred are counted as ``other``."""
        self.tracer.counted(name, {**of, **labels})
        host = labels.get("host")
        if host is not None and host not in self._hosts:
            if len(self._hosts) < MOST_HOSTS:
                self._hosts.add(host)
            else:
                labels["host"] = "other"
        self._counters[name].labels(**labels).inc()

    def committed(self, batches: int, units: int, waiting: int) -> None:
        """Take the committer's own counts over."""
        self._batches.inc(batches - self._seen[0])
        self._units.inc(units - self._seen[1])
        self._waiting.set(waiting)
        self._seen = (batches, units)

    def text(self, known: dict[str, dict[str, int]], depth: int | None, *, database: bool) -> bytes:
        """Return everything in Prometheus's text format.

        Args:
            known: what the database knows: counts by status or reason, by name (``records``, ``open_runs``).
            depth: how many runs of definitions wait for a place, where the database says so.
            database: whether it answered.
        """
        prometheus = self._prometheus
        asked = prometheus.CollectorRegistry()
        asked.register(_Asked(self._version, known, depth, database=database))
        text: bytes = prometheus.generate_latest(self._counts()) + prometheus.generate_latest(asked)
        return text

    @staticmethod
    def as_json(text: bytes) -> list[dict[str, Any]]:
        """Return metrics in Prometheus's text format as JSON: name, kind, meaning, samples with their labels."""
        from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415  see above

        return [
            {
                "name": family.name,
                "type": family.type,
                "help": family.documentation,
                "samples": [{"name": one.name, "labels": one.labels, "value": one.value} for one in family.samples],
            }
            for family in text_string_to_metric_families(text.decode())
        ]

    def _counts(self) -> CollectorRegistry:
        """Return what this process counts, or all workers of its server together."""
        if self._folder is None:
            return self._registry
        from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415  needs the folder

        for file in Path(self._folder).glob("gauge_live*_*.db"):
            if not _runs(int(file.stem.rpartition("_")[2])):
                file.unlink(missing_ok=True)
        together = self._prometheus.CollectorRegistry()
        MultiProcessCollector(together, self._folder)  # type: ignore[no-untyped-call]
        return together


_LABELS = {"runs_waiting": "reason"}


class _Asked:
    """What the database knows, made anew for each answer: a ``Gauge`` would be kept in the workers' shared files."""

    def __init__(self, version: str, known: dict[str, dict[str, int]], depth: int | None, *, database: bool) -> None:
        self._version = version
        self._database = database
        self._depth = depth
        self._known = known

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as a registry asks for them."""
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415  share_with_siblings goes first

        info = GaugeMetricFamily("windlass_build_info", "The version that runs.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
        yield GaugeMetricFamily(
            "provider_service_database_up", "1 while the database answers, else 0.", value=int(self._database)
        )
        if self._depth is not None:
            words = "Runs of definitions that wait for a place, 100,000 at most."
            yield GaugeMetricFamily("workflows_engine_queue_depth", words, value=self._depth)
        for name, counts in self._known.items():
            what, label = name.replace("_", " "), _LABELS.get(name, "status")
            gauge = GaugeMetricFamily(f"windlass_{name}", f"How many {what}, by {label}.", labels=[label])
            for status, count in counts.items():
                gauge.add_metric([status], count)
            yield gauge
