"""Values to JSON and back. JSON only: what a step returns live equals what a replay reads from the journal."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from windlass.engine.errors import NotSerializable

_EXACT = frozenset({type(None), bool, int, str})
_PLAIN = (Any, None, type(None), dict, list, inspect.Parameter.empty)
_OPTIONS = orjson.OPT_NON_STR_KEYS


def encode(value: object, what: str) -> str:
    """Return ``value`` as JSON text; ``what`` names it in the error.

    Raises:
        NotSerializable: it holds something JSON or PostgreSQL cannot keep (an unknown type, NaN, a NUL
            character, half a surrogate pair, an integer beyond 64 bits).
    """
    if value is None:
        return "null"
    try:
        data = orjson.dumps(value, default=_default, option=_OPTIONS)
    except (TypeError, ValueError) as error:
        raise NotSerializable(f"{what} cannot be kept as JSON: {error}", what=what) from error
    if b"null" in data and _has_nan(value):
        raise NotSerializable(f"{what} holds NaN or infinity, which JSON cannot keep", what=what)
    if b"\\u0000" in data and _has_nul(orjson.loads(data)):
        raise NotSerializable(f"{what} holds a NUL character, which PostgreSQL cannot keep", what=what)
    return data.decode()


def decode(text: str) -> Any:
    """Return the value of JSON text."""
    return orjson.loads(text)


def _default(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"type {type(value).__qualname__} is not JSON serializable")


def _has_nan(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, BaseModel):
        return _has_nan(value.model_dump())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _has_nan(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return any(_has_nan(item) for item in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return any(_has_nan(item) for item in value)
    return False


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    if isinstance(value, list):
        return any(_has_nul(item) for item in value)
    return False


def digest(args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Return a short hash of a call's input, to notice that replayed code asks for something else."""
    if not args and not kwargs:
        return "-"
    data = orjson.dumps([args, kwargs], default=_loose, option=_OPTIONS | orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _loose(value: object) -> object:
    try:
        return _default(value)
    except TypeError:
        return type(value).__qualname__


class Signature:
    """The typed boundary of a function: checks and converts its input and output through pydantic.

    Args:
        fn: the function; its annotations are read when first needed.
        skip: how many leading parameters the engine fills in itself (the transaction of a transactional step).
    """

    def __init__(self, fn: Callable[..., Any], skip: int = 0) -> None:
        self._fn = fn
        self._signature = inspect.signature(fn)
        self._parameters = list(self._signature.parameters.values())[skip:]
        self._names = [parameter.name for parameter in self._parameters]
        self._name_set = set(self._names)
        self._plain = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in self._parameters)
        self._bare = self._signature.replace(parameters=self._parameters)
        self._adapters: dict[str, TypeAdapter[Any]] | None = None
        self._returns: TypeAdapter[Any] | None = None
        self._exact: type | None = None

    def _prepare(self) -> dict[str, TypeAdapter[Any]]:
        if self._adapters is None:
            hints = get_type_hints(self._fn, include_extras=True)
            returns = hints.get("return")
            self._exact = returns if returns in _EXACT else None
            self._returns = None if returns in _PLAIN else TypeAdapter(returns)
            self._adapters = {
                parameter.name: TypeAdapter(hints[parameter.name])
                for parameter in self._parameters
                if parameter.name in hints
                and hints[parameter.name] not in _PLAIN
                and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
            }
        return self._adapters

    def pack(self, args: Sequence[object], kwargs: Mapping[str, object], what: str) -> str:
        """Check a call and return its arguments as JSON text.

        Raises:
            NotSerializable: an argument is missing, unknown, of the wrong type, or not JSON; names it.
        """
        return encode(self._bind(args, kwargs, what), what)

    def unpack(self, text: str, what: str) -> dict[str, Any]:
        """Return stored arguments, converted to the annotated types.

        Raises:
            NotSerializable: they no longer fit the function.
        """
        stored = decode(text)
        if not isinstance(stored, dict):
            raise NotSerializable(f"{what} is not an object of arguments", what=what)
        return self._bind((), stored, what)

    def _bind(self, args: Sequence[object], kwargs: Mapping[str, object], what: str) -> dict[str, Any]:
        adapters = self._prepare()
        names = self._names
        if not kwargs and len(args) == len(names) and self._plain:
            values = dict(zip(names, args, strict=True))
        elif not args and self._plain and kwargs.keys() == self._name_set:
            values = dict(kwargs)
        else:
            values = self._sort_out(args, kwargs, what)
        for name, adapter in adapters.items():
            if name in values:
                values[name] = self._check(adapter, values[name], f"{what}, argument {name}")
        return values

    def _sort_out(self, args: Sequence[object], kwargs: Mapping[str, object], what: str) -> dict[str, Any]:
        try:
            bound = self._bare.bind(*args, **kwargs)
        except TypeError as error:
            raise NotSerializable(f"{what}: {error}", what=what) from error
        values: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = self._bare.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                values.update(value)
            elif kind is inspect.Parameter.VAR_POSITIONAL:
                raise NotSerializable(f"{what}: *{name} cannot be stored, name each argument", what=what)
            else:
                values[name] = value
        return values

    @staticmethod
    def _check(adapter: TypeAdapter[Any], value: object, what: str) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise NotSerializable(f"{what}{': ' + place if place else ''}: {first['msg']}", what=what) from error

    def output(self, value: object, what: str) -> tuple[Any, str]:
        """Return an output as the code will see it and as JSON text.

        Raises:
            NotSerializable: it is not of the annotated type, or not JSON.
        """
        self._prepare()
        kind = type(value)
        if kind is self._exact or (self._returns is None and kind in _EXACT):
            return value, encode(value, what)
        if self._returns is not None:
            value = self._check(self._returns, value, what)
        text = encode(value, what)
        return self.restore(text), text

    def restore(self, text: str) -> Any:
        """Return a stored output as the annotated type."""
        self._prepare()
        value = decode(text)
        return value if self._returns is None else self._returns.validate_python(value)
