"""COCO run-length encoding of masks: the runs of a column-major mask as one short ASCII string.

The format, as the COCO tools define it: the mask is read column by column; `counts` holds the lengths of its
runs, beginning with the zeros (0 when the mask begins with a one). From the fourth run on, each length is stored
as its difference to the length two runs before. A number is cut into groups of 5 bits, lowest first; a group is
one character of code 48 + bits, plus 32 when more groups follow; bit 16 of the last group is the sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError

MAX_PIXELS = 2**28
_MAX_GROUPS = 6  # 30 bits with sign: more than any run of MAX_PIXELS needs


def encode_mask(mask: npt.NDArray[Any]) -> dict[str, Any]:
    """COCO RLE of a mask.

    `mask` is (H, W), anything but zero counts as set. Returns `{"size": [H, W], "counts": str}`, which
    `pycocotools.mask.decode` reads as well. Raises `UsageError` when the mask has more than 2**28 pixels.
    """
    height, width = mask.shape
    _check_size(height, width)
    flat = (mask != 0).ravel(order="F")
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    starts_set = [0] if flat[0] else []
    runs = np.diff(np.concatenate((starts_set, ends)), prepend=0)
    return {"size": [height, width], "counts": _pack(runs.astype(np.int64))}


def decode_mask(rle: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """The mask (H, W), uint8 {0, 255}, of a COCO RLE as `encode_mask` or pycocotools writes it.

    `counts` may also be the list of the run lengths themselves, as COCO's annotation files have it.

    Raises `UsageError` when `size` and `counts` are missing, malformed, too large or do not fit each other.
    """
    try:
        (height, width), counts = rle["size"], rle["counts"]
    except (KeyError, TypeError, ValueError):
        raise UsageError("A mask needs `size` ([height, width]) and `counts` (run-length string).") from None
    _check_size(height, width)
    runs = _runs(counts, height * width)
    if runs.min(initial=0) < 0 or runs.max(initial=0) > height * width or runs.sum() != height * width:
        raise UsageError(f"The mask's `counts` do not fill its size of {width} x {height} pixels.")
    values = np.zeros(len(runs), np.uint8)
    values[1::2] = 255
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def _check_size(height: object, width: object) -> None:
    """A mask has at least one pixel and at most MAX_PIXELS."""
    if (
        not isinstance(height, int)
        or not isinstance(width, int)
        or not (height > 0 and width > 0 and height * width <= MAX_PIXELS)
    ):
        raise UsageError(f"A mask has whole numbers as its size, and 1 to {MAX_PIXELS} pixels; this one has not.")


def _runs(counts: object, pixels: int) -> npt.NDArray[np.int64]:
    """Run lengths of either kind of `counts`, which may still be nonsense; bounded in number by the pixels."""
    if isinstance(counts, list):
        if len(counts) > pixels + 1 or not all(type(run) is int and 0 <= run <= pixels for run in counts):
            raise UsageError("The mask's `counts` are not a list of run lengths within its size.")
        return np.array(counts, np.int64)
    text = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    if not isinstance(text, bytes):
        raise UsageError("The mask's `counts` are neither a run-length string nor a list of run lengths.")
    return _unpack(text, pixels)


def _pack(runs: npt.NDArray[np.int64]) -> str:
    """Run lengths to the compressed string."""
    numbers = runs.copy()  # (n,)
    numbers[3:] -= runs[1:-2]
    shifts = 5 * np.arange(_MAX_GROUPS)
    groups = numbers[:, None] >> shifts  # (n, groups)
    # a number needs one group more while what is left beyond the group's sign bit is not all sign
    more = (groups >> 4 != 0) & (groups >> 4 != -1)
    used = np.column_stack((np.ones(len(numbers), bool), more[:, :-1]))
    codes = (groups & 31) + 32 * more + 48
    packed: bytes = codes[used].astype(np.uint8).tobytes()
    return packed.decode("ascii")


def _unpack(text: bytes, pixels: int) -> npt.NDArray[np.int64]:
    """The compressed string to run lengths, which may still be nonsense; bounded in size by the pixels."""
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(codes & 32 == 0)
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or not len(last) or last[-1] != len(codes) - 1:
        raise UsageError("The mask's `counts` are not a run-length string: a character is wrong or missing.")
    first = np.append(0, last[:-1] + 1)
    lengths = last - first + 1
    if lengths.max() > _MAX_GROUPS or len(lengths) > pixels + 1:
        raise UsageError("The mask's `counts` hold more or larger runs than its size allows.")
    place = np.arange(len(codes)) - np.repeat(first, lengths)
    numbers: npt.NDArray[np.int64] = np.add.reduceat((codes & 31) << (5 * place), first)
    numbers -= np.where(codes[last] & 16, 1 << (5 * lengths), 0)
    runs: npt.NDArray[np.int64] = numbers.copy()
    runs[1::2] = np.cumsum(numbers[1::2])
    runs[2::2] = np.cumsum(numbers[2::2])
    return runs
