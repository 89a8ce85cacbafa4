"""JSON, or what a user gave in Python, as the dataclass that it is meant to be."""

import dataclasses
import types
import typing
from typing import Any


def typed(kind: Any, value: Any) -> Any:
    """JSON as the type it came from: nested dataclasses, tuples, numbers, text."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        # What an older softq did not know yet has its default.
        missing = dataclasses.MISSING
        needed = {f.name for f in dataclasses.fields(kind) if f.default is missing}
        if not isinstance(value, dict) or not needed <= value.keys() <= hints.keys():
            raise TypeError(f"{kind.__name__} must have {', '.join(names(kind))}")
        return kind(**{name: typed(hints[name], x) for name, x in value.items()})
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return tuple(typed(args[0], x) for x in value)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else typed(args[0], value)
    if origin is typing.Literal:
        if value not in args:
            raise TypeError(f"{value!r} is none of {args}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is not Any and type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    if kind is int and not -(2**63) <= value < 2**63:
        raise TypeError("a whole number has more than 64 bits")
    return value


def names(kind: Any) -> list[str]:
    """The names of a dataclass's fields."""
    return [field.name for field in dataclasses.fields(kind)]
