"""Settings of schedules: there is one database, and what cannot be done is not promised."""

import pytest

from windlass import settings
from windlass.kernel.errors import ConfigError


@pytest.mark.parametrize(
    "name,right,wrong",
    [
        ("WORKFLOWS_SCHEDULER_DATABASE_URL", "sqlite:///./main.db", "sqlite:///./schedules.db"),
        ("WORKFLOWS_SCHEDULER_DATABASE_URL", "sqlite:///main.db", "postgresql://u:s3cret@h/d"),
        ("WORKFLOWS_SCHEDULER_DATABASE_URL", "sqlite:///main.db", "no address"),
        ("WORKFLOWS_SCHEDULER_SQLITE_PATH", "main.db", "schedules.db"),
    ],
)
def test_another_database_is_refused_by_name(
    name: str, right: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///main.db")
    monkeypatch.setenv(name, right)
    assert settings.load().database.path is not None

    monkeypatch.setenv(name, wrong)
    with pytest.raises(ConfigError, match=f"{name}.* there is one database") as refused:
        settings.load()
    assert "s3cret" not in str(refused.value)


def test_a_path_beside_postgresql_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/d")
    monkeypatch.setenv("WORKFLOWS_SCHEDULER_SQLITE_PATH", "main.db")

    with pytest.raises(ConfigError, match="WORKFLOWS_SCHEDULER_SQLITE_PATH"):
        settings.load()


def test_its_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "postgresql://u:s3cret@h/d"
    monkeypatch.setenv("DATABASE_URL", address)
    monkeypatch.setenv("WORKFLOWS_SCHEDULER_DATABASE_URL", address)

    assert "s3cret" not in str(settings.load().public())


@pytest.mark.parametrize(
    "name,value,allowed",
    [
        ("WORKFLOWS_SCHEDULER_TZ", "Mars/Base", "Europe/Berlin"),
        ("WORKFLOWS_SCHEDULER_RESCAN_SEC", "0", "an integer from 1 to 86400"),
        ("WORKFLOWS_SCHEDULER_ENABLED", "perhaps", "true or false"),
        ("WORKFLOWS_VIRTUAL_KEY_TTL_MIN", "0", "an integer from 1 to 1440"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match=f"{name}: .*{allowed}"):
        settings.load()
