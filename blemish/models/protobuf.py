"""A reader of protobuf messages that skips what nobody asks for, so that a network is checked without a copy of it."""

from __future__ import annotations

from collections.abc import Iterator

from blemish.errors import ModelError

Value = int | memoryview

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_FIELD_NUMBER = 536_870_911


def read_fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Field numbers and values of one message, in file order: integers, or the bytes of anything longer.

    Raises `ModelError` where the bytes are no valid message. Nothing is decoded beyond this level.
    """
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        number, wire = key >> 3, key & 7
        if not 0 < number <= _MAX_FIELD_NUMBER:
            raise damaged(f"field number {number}")
        if wire == _VARINT:
            value, position = _read_varint(message, position)
            yield number, value
            continue
        if wire == _BYTES:
            length, position = _read_varint(message, position)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise damaged(f"wire type {wire}")
        if length > len(message) - position:
            raise damaged("a field longer than the message it is in")
        yield number, message[position : position + length]
        position += length


def damaged(what: str) -> ModelError:
    """The error for a file that is not a sound ONNX model."""
    return ModelError(f"model.onnx is not a sound ONNX model: it has {what}")


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise damaged("a number that is cut off")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise damaged("a number of more than ten bytes")
