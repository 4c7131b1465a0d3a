"""How a file says that it is to be turned before it is shown: the EXIF orientation, 1 to 8."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ["JPEG", "PNG", "TIFF", "WEBP"]
_TAG = 274
# What is done to the rows and columns of each orientation: transposed first, then flipped along these axes.
_TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    2: (False, (1,)),
    3: (False, (0, 1)),
    4: (False, (0,)),
    5: (True, ()),
    6: (True, (1,)),
    7: (True, (0, 1)),
    8: (True, (0,)),
}


def file_orientation(path: Path) -> int:
    """The orientation of an image file, 1 where it has none; no pixel of it is decoded."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large images; damaged EXIF
        try:
            with Image.open(path, formats=_FORMATS) as image:
                return orientation_of(image)
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
            return 1


def orientation_of(image: Image | None) -> int:
    """The orientation of a file that Pillow has opened, from its EXIF data or its TIFF directory alone."""
    if image is None:
        return 1
    from PIL.Image import Exif

    try:
        if image.format == "TIFF":
            found = image.tag_v2.get(_TAG)  # type: ignore[attr-defined]
        else:
            exif = Exif()
            exif.load(image.info.get("exif", b""))
            found = exif.get(_TAG)
    except Exception:  # what Pillow raises at damaged EXIF data is not documented
        return 1
    return found if isinstance(found, int) and found in _TURNS else 1


def turned(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Pixels `(H, W)` as stored, as they are shown."""
    transposed, axes = _TURNS.get(orientation, (False, ()))
    return np.ascontiguousarray(np.flip(pixels.T if transposed else pixels, axes))


def swaps_sides(orientation: int) -> bool:
    """Whether an image of that orientation is shown as wide as it is stored high."""
    return orientation >= 5
