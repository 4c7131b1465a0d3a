"""Masks: where a defect is, from any file that an annotation tool writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.errors import DatasetError, ImageError
from blemish.images import decode_samples

Levels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def read_mask(path: Path, size: tuple[int, int] | None = None) -> npt.NDArray[np.bool_]:
    """True where the defect is, `(H, W)`.

    `size` is the image's (height, width), as in `image.shape[:2]`. Raises `DatasetError` that names the file if it
    cannot be read, or is of another size.
    """
    levels, is_colour = read_levels(path)
    if size is not None and levels.shape != tuple(size):
        raise DatasetError(
            f"{path}: the mask has {levels.shape[1]}x{levels.shape[0]} pixels, its image {size[1]}x{size[0]}"
        )
    return binary(levels, is_colour)


def read_masks(paths: Sequence[Path], size: tuple[int, int] | None = None) -> npt.NDArray[np.bool_]:
    """What any of the masks of one image marks, `(H, W)`; otherwise as `read_mask`."""
    first, *others = (read_mask(path, size) for path in paths)
    for path, other in zip(paths[1:], others, strict=True):
        if other.shape != first.shape:
            raise DatasetError(f"{path}: the mask has another size than {paths[0].name}, of the same image")
        first |= other
    return first


def read_levels(path: Path) -> tuple[Levels, bool]:
    """The largest sample of every pixel `(H, W)`, 8 or 16 bits as stored, and whether the mask has colours."""
    try:
        samples = decode_samples(path.read_bytes(), str(path))  # (H, W, 3)
    except (ImageError, OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).removeprefix(f"{path}: ")
        raise DatasetError(f"{path}: the mask cannot be read: {reason}") from None
    blue, green, red = np.moveaxis(samples, 2, 0)
    is_colour = not (np.array_equal(blue, green) and np.array_equal(green, red))
    return (samples.max(axis=2) if is_colour else np.ascontiguousarray(blue)), is_colour


def binary(levels: Levels, is_colour: bool = False) -> npt.NDArray[np.bool_]:
    """What counts as marked: everything but zero; in a grey mask with soft edges, what is above half.

    Masks of {0, 255}, of {0, 1} and of class numbers or class colours all mean what they look like.
    """
    half = np.iinfo(levels.dtype).max // 2
    if is_colour or levels.max() <= half or is_binary(levels):
        return np.asarray(levels != 0)
    return np.asarray(levels > half)


def is_binary(levels: Levels) -> bool:
    """Whether there is one value beside zero at most."""
    top = levels.max()
    return bool(((levels == 0) | (levels == top)).all())
