"""How a step says that it failed."""

from __future__ import annotations


class StepFailure(Exception):
    """A step has failed; the reason is for people, the code for programs.

    Args:
        code: lower case with underscores, ``validation_error`` for example.
        message: what is wrong and where.
        retryable: whether another attempt may succeed.
        data: JSON-ready details.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = True, **data: object) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
        self.data = data
