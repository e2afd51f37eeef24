"""``windlass config`` and ``windlass version``: what is in effect here."""

from __future__ import annotations

import typer

from windlass.cli import output
from windlass.cli.options import Json


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(config)
    app.command()(version)


def config(json: Json = False) -> None:
    """Print the settings in effect, without secrets.

    They come from the environment and from .env; the environment wins.
    """
    from windlass import settings

    values = settings.load().public()
    if json:
        output.as_json(values)
    else:
        output.fields({name: None if value == "" else value for name, value in values.items()})


def version(json: Json = False) -> None:
    """Print what runs here: versions."""
    import os
    import platform
    from importlib.metadata import version as installed

    names = ("sqlalchemy", "fastapi", "uvicorn", "pydantic")
    values: dict[str, object] = {
        "windlass": installed("windlass"),
        "commit": os.environ.get("GIT_COMMIT") or "unknown",
        "python": platform.python_version(),
        **{name: installed(name) for name in names},
    }
    if json:
        output.as_json(values)
    else:
        output.fields(values)
