"""Values to JSON and back. JSON only: what a step returns live equals what a replay reads from the journal."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from decimal import Decimal
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any, get_type_hints

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from windlass.kernel.errors import NotSerializable

_EXACT = frozenset({type(None), bool, int, str})
_PLAIN = (Any, None, type(None), dict, list, inspect.Parameter.empty)
_OPTIONS = orjson.OPT_NON_STR_KEYS
_TOLD = (Decimal, timedelta, bytes, PurePath)
"""Types without JSON of their own whose ``repr`` tells all of them."""


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
        return value.model_dump(mode="json", round_trip=True)
    if isinstance(value, AbstractSet):
        return sorted(value)
    if isinstance(value, tuple):
        return list(value)
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
        return any(_has_nan(key) or _has_nan(item) for key, item in value.items())
    if isinstance(value, Sequence | AbstractSet) and not isinstance(value, str | bytes):
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


def digest(args: Sequence[object], kwargs: Mapping[str, object], what: str) -> str:
    """Return a short hash of a call's input, to notice that replayed code asks for something else.

    Raises:
        NotSerializable: a value of a JSON type that has no JSON; objects of other types count by their type alone.
    """
    if not args and not kwargs:
        return "-"
    try:
        data = orjson.dumps([args, kwargs], default=_loose, option=_OPTIONS | orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as error:
        raise NotSerializable(f"{what} cannot be kept as JSON: {error}", what=what) from error
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _loose(value: object) -> object:
    if isinstance(value, _TOLD):
        return repr(value)
    try:
        return _default(value)
    except TypeError:
        return type(value).__qualname__


class Signature:
    """The typed boundary of a function: checks and converts its input and output through pydantic.

    Args:
        fn: the function; its annotations are read when first needed.
        skip: how many leading parameters the engine fills in itself (the transaction of a transactional step).

    ``names`` are those of the other parameters; ``by_name``: each may be given by name.
    """

    def __init__(self, fn: Callable[..., Any], skip: int = 0) -> None:
        self._fn = fn
        self._signature = inspect.signature(fn)
        self._parameters = list(self._signature.parameters.values())[skip:]
        self.names = [parameter.name for parameter in self._parameters]
        self._name_set = set(self.names)
        self._needed = {p.name for p in self._parameters if p.default is p.empty}
        self._plain = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in self._parameters)
        self.by_name = all(p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY} for p in self._parameters)
        self._bare = self._signature.replace(parameters=self._parameters)
        self._adapters: dict[str, TypeAdapter[Any]] | None = None
        self._ready = False
        self._returns: TypeAdapter[Any] | None = None
        self._exact: type | None = None

    def prepare(self, what: str) -> None:
        """Read the annotation of the output.

        Raises:
            NotSerializable: it cannot be resolved, or pydantic does not know such a type.
        """
        if not self._ready:
            returns = self._hint("return", what)
            self._returns = None if returns in _PLAIN else _adapter(returns, what)
            self._exact = returns if returns in _EXACT else None
            self._ready = True

    def _hint(self, name: str, what: str) -> Any:
        """Return one resolved annotation; the others need not be known where the program runs."""
        annotations = {key: hint for key, hint in self._fn.__annotations__.items() if key == name}
        try:
            hints = get_type_hints(
                SimpleNamespace(__annotations__=annotations), self._fn.__globals__, include_extras=True
            )
        except NameError as error:
            raise NotSerializable(f"{what}: its type cannot be resolved: {error}", what=what) from error
        return hints.get(name, inspect.Parameter.empty)

    def _arguments(self, what: str) -> dict[str, TypeAdapter[Any]]:
        if self._adapters is None:
            stored = [p for p in self._parameters if p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}]
            hints = {p.name: self._hint(p.name, f"{what}, argument {p.name}") for p in stored}
            self._adapters = {
                name: _adapter(hint, f"{what}, argument {name}") for name, hint in hints.items() if hint not in _PLAIN
            }
        return self._adapters

    def pack(self, args: Sequence[object], kwargs: Mapping[str, object], what: str) -> str:
        """Check a call and return its arguments as JSON text.

        Raises:
            NotSerializable: an argument is missing, unknown, of the wrong type, or not JSON; names it.
        """
        values = self._bind(args, kwargs, what)
        for name, adapter in self._arguments(what).items():
            if name in values:
                place = f"{what}, argument {name}"
                values[name] = _plain(adapter, _checked(adapter, values[name], place), place)
        try:
            return encode(values, what)
        except NotSerializable:
            for name, value in values.items():
                encode(value, f"{what}, argument {name}")
            raise

    def unpack(self, text: str, what: str) -> dict[str, Any]:
        """Return stored arguments, converted to the annotated types.

        Raises:
            NotSerializable: they no longer fit the function.
        """
        stored = decode(text)
        if not isinstance(stored, dict):
            raise NotSerializable(f"{what} is not an object of arguments", what=what)
        values = self._bind((), stored, what)
        for name, adapter in self._arguments(what).items():
            if name in values:
                values[name] = _loaded(adapter, orjson.dumps(values[name]), f"{what}, argument {name}")
        return values

    def named(self, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
        """Return the arguments of a call and the defaults of the others, all by name; raises TypeError as the call."""
        bound = self._bare.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def _bind(self, args: Sequence[object], kwargs: Mapping[str, object], what: str) -> dict[str, Any]:
        names = self.names
        if not kwargs and len(args) == len(names) and self._plain:
            return dict(zip(names, args, strict=True))
        if not args and self._plain and self._needed <= kwargs.keys() <= self._name_set:
            return dict(kwargs)
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

    def output(self, value: object, what: str) -> tuple[Any, str]:
        """Return an output as the code will see it and as JSON text.

        Raises:
            NotSerializable: it is not of the annotated type, or not JSON.
        """
        if not self._ready:
            self.prepare(what)
        kind = type(value)
        adapter = self._returns
        if kind is self._exact or (adapter is None and kind in _EXACT):
            return value, encode(value, what)
        if adapter is not None:
            value = _plain(adapter, _checked(adapter, value, what), what)
        text = encode(value, what)
        return self.restore(text, what), text

    def recalled(self, value: Any, what: str) -> Any:
        """Return an output that was read from a journal as the annotated type, and nothing that the journal shares.

        Raises:
            NotSerializable: it is not of that type any more.
        """
        self.prepare(what)
        kind = type(value)
        if kind is self._exact or (self._returns is None and kind in _EXACT):
            return value
        return self.restore(orjson.dumps(value).decode(), what)

    def restore(self, text: str, what: str) -> Any:
        """Return a stored output as the annotated type.

        Raises:
            NotSerializable: it is not of that type any more.
        """
        if not self._ready:
            self.prepare(what)
        return decode(text) if self._returns is None else _loaded(self._returns, text, what)


def _adapter(hint: Any, what: str) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint)
    except PydanticUserError as error:
        raise NotSerializable(f"{what}: {error.message.splitlines()[0]}", what=what) from error


def _checked(adapter: TypeAdapter[Any], value: object, what: str) -> Any:
    try:
        return adapter.validate_python(value, by_alias=True, by_name=True)
    except ValidationError as error:
        raise _wrong(error, what) from error


def _loaded(adapter: TypeAdapter[Any], text: str | bytes, what: str) -> Any:
    try:
        return adapter.validate_json(text, by_alias=True, by_name=True)
    except ValidationError as error:
        raise _wrong(error, what) from error


def _plain(adapter: TypeAdapter[Any], value: object, what: str) -> Any:
    """Return a checked value as what JSON has, by its type; computed fields are left out, for they are no input."""
    if type(value) in _EXACT:
        return value
    try:
        return adapter.dump_python(value, mode="json", round_trip=True)
    except (TypeError, ValueError) as error:
        raise NotSerializable(f"{what} cannot be kept as JSON: {error}", what=what) from error


def _wrong(error: ValidationError, what: str) -> NotSerializable:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return NotSerializable(f"{what}{': ' + place if place else ''}: {first['msg']}", what=what)
