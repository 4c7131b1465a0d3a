"""Whether a picture is a mask, by its pixels: two levels of grey, as no camera sees them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blemish.datasets.masks.levels import marked_of
from blemish.datasets.masks.pixels import pixels_of
from blemish.datasets.tree import File
from blemish.errors import DatasetError, ImageError
from blemish.images import decode_samples
from blemish.images.limits import DEFAULT_LIMITS

_NEAR = 0.03  # of the range: what JPEG leaves around the two levels
_SHARE = 0.97  # of the pixels that lie near one of the two; the rest are edges
_MOST_CLASSES = 20
_SAMPLE = 100
_STEP = 4  # every fourth pixel of every fourth row is looked at
_UNPACKED = frozenset((".bmp", ".dib", ".tif", ".tiff", ".pgm", ".pbm", ".ppm", ".pnm", ".ras", ".sr"))
_SMALL = 0.3  # of the size of most files: a mask packs better than a photograph


def looks_like_mask(file: File, *, alone: bool = True) -> bool:
    """Whether nearly all pixels are one of two levels of grey; `alone`, of both levels.

    An image that cannot be read looks like none.
    """
    grey = _grey(file)
    if grey is None:
        return False
    low, high = int(grey.min()), int(grey.max())
    if low == high:
        return not alone
    near = _NEAR * (high - low) if high > 255 or high - low > 32 else 0
    share = float(np.mean((grey <= low + near) | (grey >= high - near)))
    if alone:
        return share >= _SHARE and high - low > 1
    return share >= _SHARE or len(np.unique(grey)) <= _MOST_CLASSES


def marks_something(file: File) -> bool:
    """Whether a mask marks any pixel; one that cannot be read may."""
    try:
        pixels = pixels_of(file.read(DEFAULT_LIMITS.max_bytes), str(file.name))
        return bool(marked_of(pixels.levels, is_lossy=pixels.is_lossy).pixels.any())
    except (DatasetError, ImageError):
        return True


def looking(files: Sequence[File], *, alone: bool = True) -> list[File]:
    """Those that look like masks; of many, all are looked at only if some of a sample do."""
    sample = files[:: max(1, len(files) // _SAMPLE)]
    if not any(looks_like_mask(file, alone=alone) for file in sample):
        return []
    return [file for file in files if looks_like_mask(file, alone=alone)]


def suspects(files: Sequence[File]) -> list[File]:
    """The files worth a look: much smaller than most, or of a kind that does not pack pixels."""
    if not files:
        return []
    usual = float(np.quantile([file.size for file in files], 0.9))
    return [file for file in files if file.size < _SMALL * usual or file.name.suffix.lower() in _UNPACKED]


def _grey(file: File) -> npt.NDArray[np.int32] | None:
    """Some of the pixels as one level each; None for colours, and for what cannot be read."""
    try:
        samples = decode_samples(file.read(DEFAULT_LIMITS.max_bytes), str(file.name))  # (H, W, 3)
    except (DatasetError, ImageError):
        return None
    few = samples[::_STEP, ::_STEP] if min(samples.shape[:2]) > 16 * _STEP else samples
    channels = few.astype(np.int32)
    if (np.ptp(channels, axis=2) > 8).any() and len(np.unique(channels.reshape(-1, 3), axis=0)) > _MOST_CLASSES:
        return None
    return np.asarray(channels.max(axis=2), np.int32)
