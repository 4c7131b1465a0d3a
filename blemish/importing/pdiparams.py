"""Reads the records of Paddle's `*.pdiparams` files: the tensors of an exported network, one after the other.

A record is a version (uint32), the number of its levels of detail (uint64), the tensor's version (uint32), the length
of a header (int32), the header, a protobuf of element type and dimensions, and the raw little-endian data. Names are
not in the file: the records are sorted by them.
"""

from __future__ import annotations

import math
import struct

import numpy as np
import numpy.typing as npt

from blemish.backbones.pickle_machine import Cursor, require
from blemish.errors import BackboneError, ModelError
from blemish.models.protobuf import read_fields

_PREFIX = struct.Struct("<IQIi")
_FLOAT = 5
_MAX_RECORDS = 10_000
_MAX_HEADER = 200  # bytes
_MAX_DIMENSIONS = 8


def read_records(data: bytes) -> list[npt.NDArray[np.float32]]:
    """The tensors in the order of the file, as read-only views into `data`; `BackboneError` for any other bytes."""
    cursor = Cursor(data)
    records: list[npt.NDArray[np.float32]] = []
    while not cursor.at_end():
        require(len(records) < _MAX_RECORDS, f"at most {_MAX_RECORDS:,} tensors")
        version, levels, tensor_version, length = _PREFIX.unpack(cursor.take(_PREFIX.size))
        require((version, levels, tensor_version) == (0, 0, 0), "tensors of version 0 without levels of detail")
        require(0 <= length <= _MAX_HEADER, "the header of a tensor")
        shape = _shape(cursor.take(length))
        values = np.frombuffer(cursor.take(4 * math.prod(shape)), "<f4").reshape(shape)
        values.flags.writeable = False
        records.append(values)
    require(bool(records), "at least one tensor")
    return records


def _shape(header: memoryview) -> tuple[int, ...]:
    """The dimensions in a header, whose elements must be float32."""
    try:
        fields = list(read_fields(header))
    except ModelError:
        raise BackboneError("weight file refused: the header of a tensor is damaged") from None
    sizes = [value for number, value in fields if number == 2]
    kinds = [value for number, value in fields if number == 1]
    require(len(sizes) + len(kinds) == len(fields) and kinds == [_FLOAT], "float32 tensors")
    shape = tuple(size for size in sizes if isinstance(size, int) and 0 < size < 1 << 31)
    require(len(shape) == len(sizes) and 0 < len(shape) <= _MAX_DIMENSIONS, "a tensor's dimensions")
    return shape
