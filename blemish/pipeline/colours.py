"""The colour scale of anomaly maps: absolute, tied to the pixel threshold, the same for every image.

A value's level is 0 at zero, 1 at the threshold and 2 at twice the threshold. Calm levels are a dark blue-grey,
the threshold is amber, twice the threshold is red, and beyond that it glows towards white. No colour depends on
the other values of the map, so a good image looks calm, and equal colours mean equal values in all images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

TOP_LEVEL = 3
THRESHOLD_INDEX = 85  # = 255 / TOP_LEVEL: the threshold falls on a step of its own
_BAND_PIXELS = 2**20
# level -> sRGB; bluish up to just below the threshold, so that no eye takes it for the reds above
_STOPS = (
    (0.0, (24, 31, 43)),
    (0.5, (44, 58, 77)),
    (0.9, (62, 82, 112)),
    (1.0, (255, 180, 10)),
    (1.4, (255, 108, 16)),
    (2.0, (232, 36, 54)),
    (2.5, (246, 110, 150)),
    (3.0, (255, 238, 240)),
)
# level -> how much of the colour covers the image
_COVER = ((0.0, 0.0), (0.85, 0.0), (1.0, 0.28), (1.5, 0.42), (2.0, 0.56), (3.0, 0.6))


@cache
def colour_table() -> npt.NDArray[np.uint8]:
    """The colours of the 256 steps, (256, 3) RGB, interpolated in Oklab so that equal steps look equally large."""
    levels, colours = zip(*_STOPS, strict=True)
    lab = _to_oklab(np.array(colours, float) / 255)  # (stops, 3)
    steps = np.linspace(0, TOP_LEVEL, 256)
    table = _from_oklab(np.column_stack([np.interp(steps, levels, lab[:, i]) for i in range(3)]))
    colours_of_steps: npt.NDArray[np.uint8] = (np.clip(table, 0, 1) * 255).round().astype(np.uint8)
    return colours_of_steps


@cache
def cover_table() -> npt.NDArray[np.float64]:
    """How much of the colour covers the image at the 256 steps, 0 to 1."""
    levels, cover = zip(*_COVER, strict=True)
    table: npt.NDArray[np.float64] = np.interp(np.linspace(0, TOP_LEVEL, 256), levels, cover)
    return table


def steps(anomaly_map: npt.NDArray[np.float32], threshold: float) -> npt.NDArray[np.uint8]:
    """The step 0 to 255 on the colour scale of every value of a map (H, W).

    For a threshold of zero or less, the level is 1 plus the excess in units of the threshold's absolute value.
    """
    if not math.isfinite(threshold):
        return np.full(anomaly_map.shape, 0 if threshold > 0 else 255, np.uint8)
    unit = _unit(threshold)
    scaled = anomaly_map * np.float32(THRESHOLD_INDEX / unit)
    scaled += np.float32(THRESHOLD_INDEX * (1 - threshold / unit) + 0.5)
    found: npt.NDArray[np.uint8] = np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)
    return found


def value_at(level: float, threshold: float) -> float:
    """The map value that has this level."""
    return threshold + (level - 1) * _unit(threshold)


def _unit(threshold: float) -> float:
    """The width of one level in map values."""
    return abs(threshold) if abs(threshold) > 1e-12 else 1.0


def bands(height: int, width: int) -> Iterator[slice]:
    """Rows in bands of about a million pixels: what is computed in between stays small for any image."""
    rows = max(1, _BAND_PIXELS // width)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


# Oklab: Ottosson, "A perceptual color space for image processing", 2020
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _to_oklab(srgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """sRGB 0 to 1, (n, 3), to Oklab."""
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    lab: npt.NDArray[np.float64] = np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T
    return lab


def _from_oklab(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Oklab, (n, 3), to sRGB; outside 0 to 1 where the screen has no such colour."""
    linear = np.maximum((lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T, 0)
    srgb: npt.NDArray[np.float64] = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return srgb
