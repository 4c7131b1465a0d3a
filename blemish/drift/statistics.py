"""What can be said cheaply of an image as such: how bright, how sharp, where the part lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ImageStatistics:
    """Of one image: mean grey level (0 to 255), focus (variance of the Laplacian of a small copy), and the shift of
    the picture against a reference as a share of width and height; the shifts are None without a reference."""

    brightness: float
    focus: float
    shift_x: float | None = None
    shift_y: float | None = None


def image_statistics(image: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8] | None = None) -> ImageStatistics:
    """Statistics of an image (H, W, 3), uint8 RGB, with a `small_grey` copy of a good image as the reference."""
    raise NotImplementedError


def small_grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A grey copy (h, w) of (H, W, 3), reduced by area until its longer side has at most 128 pixels."""
    raise NotImplementedError
