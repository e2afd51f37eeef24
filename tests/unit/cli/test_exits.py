"""Every error ends a command with a documented code and one line."""

import pytest

from windlass.cli.exits import MEANINGS, CommandError, ExitCode, epilog, explain
from windlass.engine.errors import UnknownRun
from windlass.kernel.errors import ConfigError, Conflict, Invalid, Kind, TooLarge, Unavailable, WindlassError


class Odd(WindlassError):
    """An error of a given kind."""

    def __init__(self, kind: Kind) -> None:
        super().__init__("odd")
        self.kind = kind


@pytest.mark.parametrize(
    "error,code",
    [
        (Invalid("no"), ExitCode.USAGE),
        (ConfigError("no"), ExitCode.USAGE),
        (TooLarge("no"), ExitCode.USAGE),
        (UnknownRun("no"), ExitCode.NOT_FOUND),
        (Conflict("no"), ExitCode.CONFLICT),
        (Unavailable("no"), ExitCode.UNAVAILABLE),
        (ValueError("no"), ExitCode.INTERNAL),
        (PermissionError(13, "Permission denied", "x"), ExitCode.USAGE),
        (CommandError(ExitCode.FINDING, "no"), ExitCode.FINDING),
    ],
)
def test_errors_have_their_codes(error: Exception, code: ExitCode) -> None:
    assert explain(error).code is code


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_code(kind: Kind) -> None:
    assert explain(Odd(kind)).code in MEANINGS


def test_a_message_of_several_lines_becomes_one() -> None:
    assert explain(ConfigError("PORT: wrong\n  HOST: wrong\n")).message == "PORT: wrong; HOST: wrong"


def test_what_to_do_next_is_said() -> None:
    assert "--api-key" in explain(Odd(Kind.UNAUTHORIZED)).hint
    assert "DATABASE_URL" in explain(Unavailable("the database x cannot be reached: y")).hint
    assert "--debug" in explain(RuntimeError("x")).hint


def test_every_code_is_documented() -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert all(f"{code.value} {meaning}" in epilog() for code, meaning in MEANINGS.items())
