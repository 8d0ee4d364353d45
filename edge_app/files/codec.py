"""Strict JSON for frozen dataclasses: what is written can be read, and nothing else can.

A dataclass is its own schema. A key that the class lacks, a key that the document lacks, a value
of another kind, a key that stands twice, NaN and infinity are all errors; nothing has a default.
Supported field types: bool, int, float, str, StrEnum, Literal, X | Y | None, tuple[X, ...],
tuple[X, Y], Mapping[str, X] and other dataclasses.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


class CodecError(ValueError):
    """A document does not fit its dataclass; the text begins with the place: `models[0].file`."""


def parse_json(content: bytes) -> object:
    """Parse UTF-8 JSON.

    Raises:
        CodecError: not UTF-8, not JSON, a key that stands twice, NaN or infinity.
    """
    try:
        return json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_object_without_repeats,
            parse_constant=_refuse_constant,
        )
    except CodecError:
        raise
    except (ValueError, RecursionError) as error:  # ValueError: a number of over 4,300 digits too
        raise CodecError(f"not valid JSON: {error}") from error


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON of a dataclass, the same bytes for the same value on every machine.

    Fields stand in the order of the class, mapping keys are sorted, floats in their shortest
    form, two spaces of indent, one newline at the end.
    """
    text = json.dumps(encode(value), indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8")


def compact_json(value: object) -> str:
    """One line of JSON of a dataclass, without a newline: a row of a JSON Lines file."""
    return json.dumps(encode(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode(value: object) -> object:
    """Turn a dataclass (or a value of a supported field type) into dicts, lists and scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: encode(value[key]) for key in sorted(value)}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def decode(kind: type[T], value: object, where: str = "") -> T:
    """Build a `kind` from parsed JSON.

    Args:
        kind: the dataclass (or supported field type) that `value` must fit.
        value: what `parse_json` gave.
        where: the place of `value` in its document, for messages.

    Raises:
        CodecError: with the place and what was expected there.
    """
    return cast(T, _decode(kind, value, where))


def _decode(kind: Any, value: object, where: str) -> object:
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(cast(type, kind), value, where)
    origin = get_origin(kind)
    if origin is Literal:
        return _decode_literal(get_args(kind), value, where)
    if origin in (Union, UnionType):
        return _decode_union(get_args(kind), value, where)
    if origin is tuple:
        return _decode_tuple(get_args(kind), value, where)
    if origin is Mapping:
        return _decode_mapping(get_args(kind)[1], value, where)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _decode_enum(kind, value, where)
    return _decode_scalar(kind, value, where)


def _decode_dataclass(kind: type, value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise _mismatch(where, "an object", value)
    hints = _type_hints(kind)
    for key in value:
        if key not in hints:
            raise CodecError(f"{_join(where, key)}: unknown key")
    for key in hints:
        if key not in value:
            raise CodecError(f"{_join(where, key)}: missing key")
    fields = {key: _decode(hint, value[key], _join(where, key)) for key, hint in hints.items()}
    try:
        return kind(**fields)
    except CodecError:
        raise
    except ValueError as error:
        raise CodecError(f"{where or 'document'}: {error}") from error


@cache
def _type_hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _decode_literal(allowed: tuple[object, ...], value: object, where: str) -> object:
    for item in allowed:
        if type(item) is type(value) and item == value:
            return item
    raise _mismatch(where, " or ".join(repr(item) for item in allowed), value)


def _decode_union(members: tuple[Any, ...], value: object, where: str) -> object:
    if value is None and NoneType in members:
        return None
    kinds = [member for member in members if member is not NoneType]
    if len(kinds) == 1:
        return _decode(kinds[0], value, where)
    for kind in kinds:
        try:
            return _decode(kind, value, where)
        except CodecError:
            continue
    raise _mismatch(where, " or ".join(str(kind) for kind in kinds), value)


def _decode_tuple(members: tuple[Any, ...], value: object, where: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise _mismatch(where, "a list", value)
    if len(members) == 2 and members[1] is Ellipsis:
        members = (members[0],) * len(value)
    if len(members) != len(value):
        raise _mismatch(where, f"a list of {len(members)}", value)
    pairs = enumerate(zip(members, value, strict=True))
    return tuple(_decode(kind, item, f"{where}[{i}]") for i, (kind, item) in pairs)


def _decode_mapping(kind: Any, value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _mismatch(where, "an object", value)
    return {key: _decode(kind, item, _join(where, key)) for key, item in value.items()}


def _decode_enum(kind: type[StrEnum], value: object, where: str) -> StrEnum:
    if isinstance(value, str) and value in {member.value for member in kind}:
        return kind(value)
    raise _mismatch(where, " or ".join(member.value for member in kind), value)


def _decode_scalar(kind: Any, value: object, where: str) -> object:
    # JSON has one kind of number, so 1 may stand for 1.0; a bool is an int in Python only.
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value, where)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    names = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
    if kind not in names:
        raise TypeError(f"{kind!r} is not a field type that this codec knows")
    raise _mismatch(where, names[kind], value)


def _finite(value: int | float, where: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _mismatch(where, "a finite number", value)
    return number


def _object_without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise CodecError(f"{repeated}: the key stands twice")
    return result


def _refuse_constant(name: str) -> object:
    raise CodecError(f"not valid JSON: {name} is not a JSON number")


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _mismatch(where: str, expected: str, value: object) -> CodecError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return CodecError(f"{where or 'document'}: expected {expected}, found {shown}")
