"""The run-length code of Label Studio's brush: rle-pack of thi.ng, over the bytes of a picture with four channels.

The stream of bits holds, in this order: the number of values (32 bits), their width less one (5 bits), four widths of
run lengths, each less one (4 bits each). Then come runs: a bit that says whether one value is repeated, two bits that
choose the width of the length, the length less one, and the value, or as many values as the length says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.errors import DatasetError

CHANNELS = 4


def decode_brush(codes: Any, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Where the brush has painted, (height, width); `DatasetError` for a code that is damaged or of another size."""
    bits = _Bits(codes)
    values = np.zeros(height * width * CHANNELS, np.uint8)
    if bits.read(32) != len(values):
        raise DatasetError(f"has a brush mask that does not fit {width}x{height} pixels")
    word = bits.read(5) + 1
    if word > 8:
        raise DatasetError("has a brush mask whose values are no bytes")
    lengths = [bits.read(4) + 1 for _ in range(4)]
    place = 0
    while place < len(values):
        is_run = bits.read(1)
        end = place + 1 + bits.read(lengths[bits.read(2)])
        if end > len(values):
            raise DatasetError("has a brush mask with more values than it states")
        values[place:end] = bits.read(word) if is_run else [bits.read(word) for _ in range(end - place)]
        place = end
    return np.asarray(values.reshape(height, width, CHANNELS)[..., 3] > 0)


class _Bits:
    """Reads numbers from the bits of a list of bytes."""

    def __init__(self, codes: Any) -> None:
        if not isinstance(codes, list) or not all(type(code) is int and 0 <= code < 256 for code in codes):
            raise DatasetError("has a brush mask that is not a list of bytes")
        self._data = bytes(codes)
        self._at = 0

    def read(self, count: int) -> int:
        """The next bits as a number, the highest first."""
        first, self._at = self._at, self._at + count
        if self._at > 8 * len(self._data):
            raise DatasetError("has a brush mask that is cut short")
        part = int.from_bytes(self._data[first // 8 : (self._at + 7) // 8], "big")
        return (part >> -self._at % 8) & ((1 << count) - 1)
