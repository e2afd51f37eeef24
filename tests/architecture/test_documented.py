"""Every environment setting and every command is explained to the user."""

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

import typer
from pydantic import AliasChoices, AliasPath
from pydantic_settings import BaseSettings

from tests.support.paths import DOCS, ROOT, SOURCE


@cache
def _documents() -> str:
    files = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    return "\n".join(path.read_text() for path in files)


def _settings() -> list[list[str]]:
    """The names in the environment of every setting, the usual one first."""
    models = [
        value
        for value in vars(import_module("windlass.settings")).values()
        if isinstance(value, type) and issubclass(value, BaseSettings) and value is not BaseSettings
    ]
    found = [
        _names(field.validation_alias or str(model.model_config.get("env_prefix", "")) + name)
        for model in models
        for name, field in model.model_fields.items()
    ]
    assert found
    return found


def _names(alias: str | AliasChoices | AliasPath) -> list[str]:
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [str(choice.path[0] if isinstance(choice, AliasPath) else choice).upper() for choice in choices]


def _commands(command: Any, path: str = "windlass") -> Iterator[str]:
    """The full name of every command that does something."""
    children = getattr(command, "commands", None)
    if not children:
        yield path
    for name, child in (children or {}).items():
        if not child.hidden:
            yield from _commands(child, f"{path} {name}")


def _example_settings() -> list[str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return [match[1] for line in lines if (match := re.match(r"#? ?([A-Z][A-Z0-9_]+)=", line))]


def test_every_setting_is_documented() -> None:
    missing = [name for names in _settings() for name in names if f"`{name}`" not in _documents()]

    assert not missing


def test_the_example_environment_has_every_setting_once_with_its_meaning() -> None:
    text = (ROOT / ".env.example").read_text()

    assert sorted(_example_settings()) == sorted(names[0] for names in _settings())
    for name in _example_settings():
        assert re.search(rf"^# \S.*\n#? ?{name}=", text, re.MULTILINE), f"{name} has no line of meaning"


def test_every_command_is_documented() -> None:
    main = import_module("windlass.cli.main")
    [app] = [value for value in vars(main).values() if isinstance(value, typer.Typer)]
    commands = list(_commands(typer.main.get_command(app)))

    assert len(commands) > 1
    assert [name for name in commands if name not in _documents()] == []


def test_every_make_target_explains_itself() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)[1].split())  # type: ignore[index]
    explained = set(re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE))

    assert phony == explained


def test_every_log_event_is_in_the_runbook() -> None:
    sources = [path.read_text() for path in sorted(SOURCE.rglob("*.py"))]
    events = {name for text in sources for name in re.findall(r'telemetry\.event\(\s*"([^"]+)"', text)}
    runbook = (DOCS / "runbook.md").read_text()

    assert len(events) > 5
    assert sorted(name for name in events if f"`{name}`" not in runbook) == []


def test_advisory_locks_have_numbers_of_their_own() -> None:
    numbers = [found for path in SOURCE.rglob("*.py") for found in re.findall(r"= (7_229_180_\d+)", path.read_text())]

    assert len(numbers) >= 4
    assert len(numbers) == len(set(numbers))
