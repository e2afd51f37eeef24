"""Settings: where they come from, what is refused and what is never shown."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.paths import ROOT
from tools.settings_docs import GENERATED
from windlass import settings
from windlass.bootstrap.options import egress_policy
from windlass.kernel.errors import ConfigError
from windlass.settings import Settings


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_needs_to_be_set() -> None:
    found = settings.load()

    assert found.database_url == "sqlite:///./workflow.db"
    assert found.app_env == "dev"
    assert found.api_key is None
    assert found.app_version == version("windlass")


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=9000\nPROJECT_NAME=from the file\nPOSTGRES_PASSWORD=for somebody else\n")
    monkeypatch.setenv("PORT", "9001")

    found = settings.load()

    assert (found.port, found.project_name) == (9001, "from the file")


def test_an_empty_value_in_the_environment_still_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("API_KEY=of-the-file\nPORT=9000\n")
    monkeypatch.setenv("API_KEY", "")
    monkeypatch.setenv("PORT", "")

    found = settings.load()

    assert (found.api_key, found.port) == (None, 8000)


def test_what_is_given_in_code_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9001")

    assert settings.load(port=9002).port == 9002


@pytest.mark.parametrize(
    "name,value,allowed",
    [
        ("APP_ENV", "production", "dev, staging, prod"),
        ("LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("PORT", "70000", "an integer from 0 to 65535"),
        ("PORT", "http", "an integer from 0 to 65535"),
        ("ALLOW_OPEN_WRITES", "perhaps", "true or false"),
        ("WORKER_CONCURRENCY", "0", "an integer from 1 to 100000"),
        ("MAX_PAYLOAD_BYTES", "-1", "an integer, 2 or more"),
        ("LEASE_SECONDS", "soon", "a number from 1 to 3600"),
        ("DATABASE_URL", "mysql://localhost/x", "postgresql://user:password@host:5432/name"),
        ("DATABASE_URL", "workflow.db", "sqlite:///./file.db"),
        ("DATABASE_URL", "sqlite://", "sqlite:///./file.db"),
        ("DATABASE_URL", "sqlite:///x.db?mode=ro", "sqlite:///./file.db"),
        ("DATABASE_URL", "postgresql://h/d?pool_size=none", "?pool_size=10&max_overflow=20"),
        ("DATABASE_URL", "postgresql://h/d?poolsize=1", "?pool_size=10&max_overflow=20"),
        ("DATABASE_URL", "postgresql://host-alone", "postgresql://user:password@host:5432/name"),
        ("DATABASE_URL", "postgresql://one,/d", "several hosts with commas between"),
        ("DATABASE_URL", "postgresql://one:1,two:x/d", "several hosts with commas between"),
        ("DATABASE_URL", "postgresql:///d?host=one,two&port=1,2,3", "several hosts with commas between"),
        ("DATABASE_URL", "postgresql://one,two/d?target_session_attrs=any", "several hosts with commas between"),
        ("DATABASE_URL", "postgresql://one/d?target_session_attrs=standby", "several hosts with commas between"),
        ("DATABASE_DIRECT_URL", "mysql://localhost/x", "postgresql://…, as DATABASE_URL"),
        ("API_KEY", "two words", "printable ASCII"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_allowed(
    name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as refused:
        settings.load()

    assert f"{name}: " in refused.value.message
    assert allowed in refused.value.message


@pytest.mark.parametrize(
    "name,value",
    [
        ("DATABASE_URL", "mysql://root:s3cret@localhost/x"),
        ("DATABASE_URL", "postgresql://root:s3cret@localhost/x?oops=1"),
        ("DATABASE_URL", "postgresql://root:s3cret@localhost:port/x"),
        ("API_KEY", "s3cret word"),
    ],
)
def test_a_refused_secret_is_not_repeated(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as refused:
        settings.load()

    assert "s3cret" not in str(refused.value)


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "s3cret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:s3cret@h/d?pool_size=3")

    found = settings.load()

    assert "s3cret" not in repr(found) + str(found) + str(found.public())
    assert found.public()["DATABASE_URL"] == "postgresql://me:***@h/d"


@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_name_that_looks_like_ours_and_is_none_is_refused(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if place == "file":
        Path(".env").write_text("WINDLASS_LOG_LEVL=DEBUG\n")
    else:
        monkeypatch.setenv("WINDLASS_LOG_LEVL", "DEBUG")

    with pytest.raises(ConfigError, match="WINDLASS_LOG_LEVL is no setting; did you mean LOG_LEVEL"):
        settings.load()


@pytest.mark.parametrize(
    "name,hint",
    [
        ("WORKFLOWS_DISABLE_ADHOCS", "did you mean WORKFLOWS_DISABLE_ADHOC or "),
        ("workflows_tenant_concurency", "did you mean WORKFLOWS_TENANT_CONCURRENCY"),
        ("WORKFLOWS_WEBHOOK_SECRET_", "did you mean WORKFLOWS_WEBHOOK_SECRET"),
        ("WINDLASS_QQ", "docs/settings.md lists them"),
    ],
)
def test_a_name_under_our_prefix_is_known_or_refused_with_a_few_like_it(name: str, hint: str) -> None:
    taken = [
        "WORKFLOWS_TENANT_CONCURRENCY",
        "WORKFLOWS_WEBHOOK_SECRET_ACME",
        "WORKFLOWS_EGRESS_DENYLIST_A_B",
        "WORKFLOW_X",
    ]
    settings.load(dict.fromkeys(taken, "1"))

    with pytest.raises(ConfigError) as refused:
        settings.load({name: ""})

    assert refused.value.message.startswith(f"{name} is no setting; {hint}")
    assert len(refused.value.message) < 200


def test_the_older_name_of_the_database_is_taken_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL_WORKFLOWS", "sqlite:///other.db")

    assert settings.load().database_url == "sqlite:///other.db"


def test_a_copy_of_the_example_environment_changes_nothing_but_the_log() -> None:
    before = settings.load()

    Path(".env").write_text((ROOT / ".env.example").read_text())

    assert settings.load() == before.model_copy(update={"log_file": Path("logs/app.log")})


def test_two_different_databases_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL_WORKFLOWS", "sqlite:///other.db")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///other.db")
    assert settings.load().database_url == "sqlite:///other.db"

    monkeypatch.setenv("DATABASE_URL", "sqlite:///one.db")
    with pytest.raises(ConfigError, match="DATABASE_URL_WORKFLOWS differs from DATABASE_URL"):
        settings.load()


def test_production_needs_a_key_or_a_second_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "prod")
    monkeypatch.setenv("JWT_SECRET_KEY", "k" * 32)
    with pytest.raises(ConfigError, match="API_KEY is missing"):
        settings.load()

    monkeypatch.setenv("ALLOW_OPEN_WRITES", "true")
    assert settings.load().api_key is None

    monkeypatch.delenv("ALLOW_OPEN_WRITES")
    monkeypatch.setenv("API_KEY", "long-enough")
    assert settings.load().api_key is not None


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_tokens_are_signed_well_outside_development(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET_KEY", "short")
    assert settings.load().jwt_secret_key is not None
    monkeypatch.setenv("APP_ENV", environment)
    monkeypatch.setenv("API_KEY", "long-enough")
    for key, said in (("", "is missing"), ("k" * 31, "is too short"), ("ü" * 15, "is too short")):
        monkeypatch.setenv("JWT_SECRET_KEY", key)
        with pytest.raises(ConfigError, match=f"JWT_SECRET_KEY {said} with APP_ENV={environment}") as refused:
            settings.load()
        assert "kkk" not in str(refused.value)

    monkeypatch.setenv("JWT_SECRET_KEY", "ü" * 16)
    assert "ü" not in str(settings.load().public())
    monkeypatch.setenv("JWT_SECRET_KEY", "")
    monkeypatch.setenv("AUTH_MODE", "single_user")
    assert settings.load().jwt_secret_key is None


@pytest.mark.parametrize(
    "spelling",
    [
        "postgres://me:p%40ss%2Fword@db:5433/name?pool_size=3&max_overflow=4&sslmode=require",
        "postgresql+asyncpg://me:p%40ss%2Fword@db:5433/name?pool_size=3&max_overflow=4&ssl=require",
        "postgresql+psycopg2://me:p%40ss%2Fword@db:5433/name?pool_size=3&max_overflow=4&sslmode=require",
    ],
)
def test_every_spelling_of_a_postgresql_address_is_understood(spelling: str) -> None:
    found = Settings(DATABASE_URL=spelling).database

    assert (found.backend, found.pool_size, found.max_overflow) == ("postgresql", 3, 4)
    assert found.libpq == {
        "host": "db",
        "port": 5433,
        "user": "me",
        "password": "p@ss/word",
        "dbname": "name",
        "sslmode": "require",
    }


@pytest.mark.parametrize(
    "address,hosts,ports,shown",
    [
        ("u:pw@one,two/d", "one,two", None, "u:***@one,two/d"),
        ("u:p%40w@one:5432,two/d?password=pw", "one,two", "5432,", "u:***@one:5432,two/d?password=%2A%2A%2A"),
        ("[::1]:1,[::2]:2/d", "::1,::2", "1,2", "[::1]:1,[::2]:2/d"),
        ("u@/d?host=one,two&port=2&sslpassword=pw", "one,two", "2", "u@one:2,two:2/d?sslpassword=%2A%2A%2A"),
    ],
)
def test_an_address_may_name_several_servers(address: str, hosts: str, ports: str | None, shown: str) -> None:
    found = Settings(DATABASE_URL=f"postgresql://{address}")

    assert (found.database.libpq["host"], found.database.libpq.get("port")) == (hosts, ports)
    assert found.public()["DATABASE_URL"] == f"postgresql://{shown}"
    again = Settings(DATABASE_URL=f"postgresql://{shown}").database
    assert again.hosts == found.database.hosts


def test_a_way_past_a_pooler_is_for_postgresql_and_its_secret_is_not_shown() -> None:
    both: dict[str, Any] = {
        "DATABASE_URL": "postgresql://pooler:6432/d",
        "DATABASE_DIRECT_URL": "postgresql://u:s3cret@one,two/d",
    }
    found = Settings(**both)

    assert found.database.direct is not None
    assert [host for host, _ in found.database.direct.hosts] == ["one", "two"]
    assert found.public()["DATABASE_DIRECT_URL"] == "postgresql://u:***@one,two/d"
    assert "s3cret" not in repr(found)
    with pytest.raises(ValidationError, match="SQLite has no pooler"):
        Settings(**{**both, "DATABASE_URL": "sqlite:///x.db"})


@pytest.mark.parametrize("name", GENERATED)
def test_what_is_generated_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == GENERATED[name](), "run: python -m tools.settings_docs"


def test_lists_and_secrets_of_single_tenants_are_read_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("WORKFLOWS_EGRESS_DENYLIST_ACME=a.test, *.b.test\nWORKFLOWS_WEBHOOK_SECRET_ACME=file\n")
    monkeypatch.setenv("WORKFLOWS_WEBHOOK_ALLOWLIST_BIG_CORP", "hooks.test")
    monkeypatch.setenv("WORKFLOWS_WEBHOOK_SECRET_ACME", "new, old")
    monkeypatch.setenv("WORKFLOWS_WEBHOOK_SECRET", "shared")

    found = settings.load()

    assert found.workflows_tenant_lists == {
        "WORKFLOWS_EGRESS_DENYLIST_ACME": ("a.test", "*.b.test"),
        "WORKFLOWS_WEBHOOK_ALLOWLIST_BIG_CORP": ("hooks.test",),
    }
    assert found.webhook_secrets() == ("shared",)
    assert found.webhook_tenant_secrets() == {"ACME": ("new", "old")}
    for secret in ("shared", "new, old"):
        assert secret not in repr(found) + str(found.public())


@pytest.mark.parametrize(
    "name,value",
    [
        ("WORKFLOWS_WEBHOOK_SECRET", "one,two,three"),
        ("WORKFLOWS_WEBHOOK_SECRET", "one,"),
        ("WORKFLOWS_EGRESS_ALLOWED_PORTS", "80,http"),
        ("WORKFLOWS_EGRESS_ALLOWED_PORTS", "70000"),
        ("WORKFLOWS_EGRESS_PROFILE", "lax"),
        ("WORKFLOWS_TENANT_LISTS", '{"WORKFLOWS_EGRESS_ALLOWLIST": ["x"]}'),
        ("WORKFLOWS_TENANT_LISTS", "[]"),
        ("WORKFLOWS_TENANT_LISTS", "one,two"),
        ("WORKFLOWS_WEBHOOK_SECRET_ACME", "one,two,three"),
    ],
)
def test_wrong_settings_of_webhooks_are_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as refused:
        settings.load()
    assert "one,two" not in str(refused.value)


KEYS = {"API_KEY": "k", "JWT_SECRET_KEY": "x" * 32}


@pytest.mark.parametrize(
    "environment,strict",
    [({}, False), ({"ENVIRONMENT": "Production", **KEYS}, True), ({"ENVIRONMENT": "qa", **KEYS}, False),
     ({"APP_ENV": "prod", **KEYS}, True),
     ({"ENVIRONMENT": "prod", "WORKFLOWS_EGRESS_PROFILE": "permissive", **KEYS}, False),
     ({"WORKFLOWS_EGRESS_PROFILE": "Strict"}, True), ({"WORKFLOWS_EGRESS_PROFILE": "custom"}, False)],
)  # fmt: skip
def test_the_profile_follows_the_environment(
    environment: dict[str, str], strict: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert egress_policy(settings.load()).strict is strict


@pytest.mark.parametrize(
    "environment,found",
    [
        ({}, ("dev", "127.0.0.1", 8000)),
        ({"SERVE_ONLY": "providers"}, ("dev", "127.0.0.1", 5004)),
        ({"SERVE_ONLY": "Providers", "APP_PORT": "5005", "APP_HOST": "10.0.0.1"}, ("dev", "10.0.0.1", 5005)),
        ({"APP_PORT": "5005", "PORT": "5006", "HOST": "::1", "APP_HOST": "10.0.0.1"}, ("dev", "::1", 5006)),
        ({"SERVE_ONLY": "providers", "ENVIRONMENT": "production", "JWT_SECRET_KEY": "x" * 32},
         ("prod", "127.0.0.1", 5004)),
        ({"ENVIRONMENT": "Development"}, ("dev", "127.0.0.1", 8000)),
        ({"ENVIRONMENT": "whatever", "APP_ENV": "dev"}, ("dev", "127.0.0.1", 8000)),
    ],
)  # fmt: skip
def test_the_contract_of_providers_has_names_of_its_own(
    environment: dict[str, str], found: tuple[str, str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    loaded = settings.load()

    assert (loaded.app_env, loaded.host, loaded.port) == found


@pytest.mark.parametrize(
    "environment,said",
    [
        ({"ENVIRONMENT": "moon"}, "ENVIRONMENT: 'moon' is none of dev, development"),
        ({"ENVIRONMENT": "production", "APP_ENV": "dev"}, "ENVIRONMENT means APP_ENV=prod and APP_ENV is dev"),
        ({"ENVIRONMENT": "production", "SERVE_ONLY": "providers"}, "JWT_SECRET_KEY is missing with APP_ENV=prod"),
        ({"APP_ENV": "staging", "JWT_SECRET_KEY": "x" * 32, "JWT_SECRET_KEY_PREVIOUS": "short"},
         "JWT_SECRET_KEY_PREVIOUS is too short"),
        ({"CORS_ORIGINS": "example.com"}, "CORS_ORIGINS: 'example.com' is no origin"),
        ({"CORS_ORIGINS": "none,https://a.example"}, "CORS_ORIGINS: none stands alone"),
        ({"SERVE_ONLY": "records"}, "SERVE_ONLY: "),
        ({"REFRESH_TOKEN_DAYS": "0"}, "REFRESH_TOKEN_DAYS: "),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(
    environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as refused:
        settings.load()

    assert said in refused.value.message
