"""How a file stores its image: format, and how strongly it was compressed. Told from its header, without decoding."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

LOSSLESS = 101  # stands above every JPEG quality
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
_CHROMA = {(1, 1): "4:4:4", (2, 1): "4:2:2", (1, 2): "4:4:0", (2, 2): "4:2:0", (4, 1): "4:1:1"}
# The brightness table of ITU-T T.81, Annex K.1, which nearly all writers scale by their quality.
_BRIGHTNESS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


@dataclass(frozen=True)
class Stored:
    """How a file stores its image.

    Attributes:
        format: JPEG, PNG and so on, empty where it is not known.
        quality: of a JPEG about that it was saved with, 1 to 100; 0 of another lossy file, 101 of a lossless one.
        chroma: how the colours of a JPEG are subsampled, such as 4:2:0; empty where that is not known, or of grey.
    """

    format: str = ""
    quality: int = LOSSLESS
    chroma: str = ""


def stored_as(path: Path, image_format: str) -> Stored:
    """How a file of a known format stores its image; no more of it is read than its header."""
    if image_format not in ("JPEG", "TIFF", "WEBP"):
        return Stored(image_format)
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large images; damaged EXIF
        try:
            if image_format == "WEBP":
                return Stored(image_format, 0 if _is_lossy_webp(path) else LOSSLESS)
            with Image.open(path, formats=[image_format]) as image:
                if image_format == "TIFF":
                    return Stored(image_format, 0 if image.info.get("compression") in _LOSSY_TIFF else LOSSLESS)
                return Stored(image_format, _quality(image), _chroma(image))
        except Exception:  # what Pillow raises at damaged files is not documented; they are found to be so elsewhere
            return Stored(image_format, 0)


def _quality(image: Image) -> int:
    """The quality whose scaled table has the sum that is nearest to that of the file's own."""
    tables = image.quantization  # type: ignore[attr-defined]
    return int(np.abs(_sums() - sum(tables[min(tables)])).argmin()) + 1


@cache
def _sums() -> npt.NDArray[np.int64]:
    """The sum of the brightness table at every quality from 1 to 100, scaled as the IJG's library does it."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)  # (100,)
    tables = (_BRIGHTNESS.reshape(1, -1) * scale[:, None] + 50) // 100  # (100, 64)
    return np.asarray(np.clip(tables, 1, 255).sum(axis=1))


def _chroma(image: Image) -> str:
    layers: list[tuple[int, int, int, int]] = image.layer  # type: ignore[attr-defined]
    if len(layers) != 3:
        return ""
    (_, across, down, _), (_, own_across, own_down, _) = layers[0], layers[1]
    return _CHROMA.get((across // max(1, own_across), down // max(1, own_down)), "other")


def _is_lossy_webp(path: Path) -> bool:
    """Whether the first picture in the file is a lossy one; chunks are stepped over, not read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = 12
        while at + 8 <= size:
            file.seek(at)
            header = file.read(8)
            if header[:4] in (b"VP8 ", b"VP8L"):
                return header[:4] == b"VP8 "
            at += 24 if header[:4] == b"ANMF" else 8 + (int.from_bytes(header[4:], "little") + 1) // 2 * 2
    return False
