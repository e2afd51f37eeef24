"""The door: places by name, and how to offer one."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from importlib import import_module
from typing import Any

from windlass.executors.errands import CannotTravel, Errand, RemoteTraceback, check_place
from windlass.executors.places import THREADS, Crashed, Place, check_name, close_all, place, register
from windlass.kernel.errors import ConfigError

PROCESSES = "processes"
RAY = "ray"

__all__ = [
    "PROCESSES",
    "RAY",
    "THREADS",
    "CannotTravel",
    "Crashed",
    "Errand",
    "Place",
    "RemoteTraceback",
    "check_name",
    "check_place",
    "close_all",
    "configure",
    "place",
    "register",
]


def _needing(extra: str, module: str, name: str, **options: Any) -> Callable[[], Place]:
    """Return what makes a place whose package is imported when a step first asks for it."""

    def make() -> Place:
        try:
            made: Place = getattr(import_module(f"windlass.executors.{module}"), name)(**options)
        except ModuleNotFoundError as error:
            raise ConfigError(f"executor {extra} needs an extra: pip install 'windlass[{extra}]'") from error
        return made

    return make


def configure(*, processes: int | None = None, ray_address: str | None = None, ray_at_once: int | None = None) -> None:
    """Say how large the places are.

    Args:
        processes: how many processes there are; as many as processors by default.
        ray_address: of a Ray cluster; one is started on this machine by default.
        ray_at_once: how many steps the cluster gets at once; as many as it has processors by default.
    """
    register(PROCESSES, _needing(PROCESSES, "processes", "Processes", most=processes))
    register(RAY, _needing(RAY, "cluster", "RayCluster", address=ray_address, most=ray_at_once))


configure()
atexit.register(close_all)
