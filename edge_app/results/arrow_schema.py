"""The Arrow schema of a stored dataclass: what its rows look like in a Parquet file.

The dataclass stays the only description of a row; nothing here reads or writes a file. Words of an
enumeration are strings, an object of flags is a map, and exactly the fields that may be null are
nullable. Needs pyarrow.
"""

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from edge_app.errors import RuntimeUnavailableError

if TYPE_CHECKING:
    import pyarrow as pa


def arrow_schema(kind: type) -> "pa.Schema":
    """The schema of a frozen dataclass, with its fields in their order.

    Raises:
        RuntimeUnavailableError: pyarrow is missing.
        TypeError: a field is of a kind that no row has.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise RuntimeUnavailableError(
            "Parquet needs a package: pip install 'pneumoscope[parquet]'"
        ) from error
    return pa.schema(_fields(kind))


def _fields(kind: type) -> "list[pa.Field]":
    hints = get_type_hints(kind)
    return [_field(field.name, hints[field.name]) for field in dataclasses.fields(kind)]


def _field(name: str, kind: Any) -> "pa.Field":
    import pyarrow as pa

    if get_origin(kind) in (Union, UnionType):
        (inner,) = (member for member in get_args(kind) if member is not NoneType)
        return pa.field(name, _type(inner), nullable=True)
    return pa.field(name, _type(kind), nullable=False)


def _type(kind: Any) -> "pa.DataType":
    import pyarrow as pa

    scalars = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    if kind in scalars:
        return scalars[kind]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return pa.string()
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return pa.struct(_fields(kind))
    if get_origin(kind) is Mapping:
        return pa.map_(pa.string(), _field("value", get_args(kind)[1]))
    if get_origin(kind) is tuple and get_args(kind)[1:] == (Ellipsis,):
        return pa.list_(_field("item", get_args(kind)[0]))
    raise TypeError(f"{kind!r} has no column in a Parquet file")
