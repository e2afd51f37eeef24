"""Through rolling restarts with two versions at once every run ends, with code of one version from first to last."""

from typing import Any

import pytest

from tests.simulation.checks import Violation
from tests.simulation.postgres_site import on_postgres
from tests.simulation.releases import BOTH, NEW, OLD, Restart
from tests.simulation.scenario import MakeStore
from windlass.engine.registry import Registry
from windlass.storage.memory.runs import RunRow


def lived(seed: int, backend: str | MakeStore) -> set[str]:
    restart = Restart(seed, backend)
    restart.live()
    return restart.versions


@pytest.mark.parametrize("backend,seeds", [("memory", 8), ("sqlite", 3)])
def test_no_run_is_lost_or_goes_on_with_code_of_another_version(backend: str, seeds: int) -> None:
    assert set().union(*(lived(seed, backend) for seed in range(seeds))) == {"1", "2"}


def test_nor_is_one_on_postgres(migrated_pg_dsn: str) -> None:
    assert lived(0, on_postgres(migrated_pg_dsn)) == {"1", "2"}


def test_a_claim_that_looks_at_names_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Registry.get

    def any_version(self: Registry, name: str, version: str | None = None) -> Any:
        return exact(self, name, version if self.knows(f"{name}@{version}") else None)

    monkeypatch.setattr(RunRow, "shelf", property(lambda row: (row.born.queue, row.born.name)))
    monkeypatch.setattr(Registry, "get", any_version)
    for registry in (OLD, BOTH, NEW):
        monkeypatch.setattr(registry, "codes", tuple(registry))

    with pytest.raises(Violation, match=r"r[0-9]+ (failed|succeeded): "):
        lived(0, "memory")
