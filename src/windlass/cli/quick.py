"""Keeps ``--help`` quick: typer loads pydantic (0.2 s) as soon as any option has no value of its own type."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose help option is a plain False unless it is given."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the help option."""
        return _plain(super().get_help_option(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; what typer says of a wrong one is freed of pydantic's words."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


class Group(TyperGroup):
    """A group whose help option is a plain False unless it is given."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the help option."""
        return _plain(super().get_help_option(ctx))


def _plain(option: Any) -> Any:
    if option is not None:
        option.default = False
    return option


def quicken(group: typer.Typer) -> None:
    """Have every command and group below use these classes."""
    group.info.cls = Group
    for command in group.registered_commands:
        command.cls = Command
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            inner.cls = Group
            quicken(inner.typer_instance)
