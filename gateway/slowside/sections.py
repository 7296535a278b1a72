"""Arrays by name, and small values beside them, as the bytes of a frame: whatever they are, nothing here knows.

A frame is the length of its table, the table in MessagePack (names, types, shapes, values), and the arrays one after
the other, each from a multiple of ALIGNMENT. Reading trusts none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from struct import Struct
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from gateway.slowside.double_buffer import Piece

ALIGNMENT: Final = 64
MAX_SECTIONS: Final = 256
MAX_DIMENSIONS: Final = 8
# What may travel: numbers whose bytes are all of them values.
DTYPES: Final = frozenset({"<f8", "<f4", "<i8", "<i4", "|u1", "|i1", "<u4", "<u8"})
_LENGTH: Final = Struct("<Q")

Array = npt.NDArray[Any]


class MalformedFrameError(Exception):
    """The bytes of a frame are not what was agreed; the text says which part."""


class _Section(msgspec.Struct, frozen=True, array_like=True):
    name: str
    dtype: str
    shape: tuple[int, ...]


class _Table(msgspec.Struct, frozen=True, array_like=True):
    sections: tuple[_Section, ...]
    values: dict[str, msgspec.Raw]


def pack(arrays: Mapping[str, Array], values: Mapping[str, Any]) -> list[Piece]:
    """Return the pieces of a frame. Values are what msgspec can write.

    Raises ValueError for an array that can not travel, TypeError for a value that can not.
    """
    sections: list[_Section] = []
    bodies: list[memoryview] = []
    for name, array in arrays.items():
        array = np.asarray(array, order="C")
        if array.dtype.str not in DTYPES or array.ndim > MAX_DIMENSIONS:
            raise ValueError(f"{name}: {array.dtype.str} in {array.ndim} dimensions can not be handed over")
        sections.append(_Section(name, array.dtype.str, array.shape))
        bodies.append(array.reshape(-1).view(np.uint8).data)
    if len(sections) > MAX_SECTIONS:
        raise ValueError(f"{len(sections)} arrays are more than {MAX_SECTIONS}")
    raw = {name: msgspec.Raw(msgspec.msgpack.encode(value)) for name, value in values.items()}
    table = msgspec.msgpack.encode(_Table(tuple(sections), raw))
    pieces: list[Piece] = [_LENGTH.pack(len(table)) + table]
    at = len(pieces[0])
    for body in bodies:
        pieces += [_padding(at), body]
        at += len(pieces[-2]) + len(body)
    return [piece for piece in pieces if len(piece)]


def unpack(payload: bytearray | bytes) -> tuple[dict[str, Array], dict[str, msgspec.Raw]]:
    """Return the arrays (views into `payload`) and the values, still encoded: `value_of` reads one.

    Raises MalformedFrameError.
    """
    if len(payload) < _LENGTH.size:
        raise MalformedFrameError("a frame without a table")
    (length,) = _LENGTH.unpack_from(payload)
    at = _LENGTH.size + length
    if at > len(payload):
        raise MalformedFrameError("the table is longer than its frame")
    try:
        table = msgspec.msgpack.decode(memoryview(payload)[_LENGTH.size : at], type=_Table)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedFrameError(f"the table can not be read: {error}") from None
    if len(table.sections) > MAX_SECTIONS:
        raise MalformedFrameError(f"{len(table.sections)} arrays are more than {MAX_SECTIONS}")
    arrays: dict[str, Array] = {}
    for section in table.sections:
        if section.dtype not in DTYPES or len(section.shape) > MAX_DIMENSIONS or min(section.shape, default=0) < 0:
            raise MalformedFrameError(f"array {section.name!r}: {section.dtype!r} {section.shape} is none")
        count = prod(section.shape)
        at += len(_padding(at))
        size = count * np.dtype(section.dtype).itemsize
        if section.name in arrays or at + size > len(payload):
            raise MalformedFrameError(f"array {section.name!r} is listed twice or reaches beyond its frame")
        arrays[section.name] = np.frombuffer(payload, section.dtype, count, min(at, len(payload))).reshape(
            section.shape
        )
        at += size
    if at != len(payload):
        raise MalformedFrameError(f"{len(payload) - at} bytes belong to no array")
    return arrays, table.values


def value_of(values: Mapping[str, msgspec.Raw], name: str, kind: Any) -> Any:
    """Return one value as its type; raises MalformedFrameError."""
    raw = values.get(name)
    if raw is None:
        raise MalformedFrameError(f"{name} is missing")
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedFrameError(f"{name}: {error}") from None


def _padding(length: int) -> bytes:
    return bytes(-length % ALIGNMENT)
