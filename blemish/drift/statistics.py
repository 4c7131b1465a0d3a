"""What can be said cheaply of an image as such: how bright, how sharp, where the part lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_FOCUS_SIDE = 512  # pixels of the longer side; large enough to show a blur, small enough to cost a millisecond
_SHIFT_SIDE = 128


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics of one image.

    Attributes:
        brightness: mean grey level, 0 to 255.
        focus: variance of the Laplacian over the variance of the grey levels, so that a brighter lamp is not mistaken
            for a sharper lens; 0 for an image of one colour.
        shift_x, shift_y: how far the picture lies to the right of and below the reference's, as a share of width
            and height; None without a reference.
    """

    brightness: float
    focus: float
    shift_x: float | None = None
    shift_y: float | None = None


def image_statistics(image: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8] | None = None) -> ImageStatistics:
    """Statistics of an image (H, W, 3), uint8 RGB; `reference` is what `small_grey` made of a good image."""
    import cv2

    grey = _reduced_grey(image, _FOCUS_SIDE)  # (h, w)
    spread = float(grey.var())
    focus = float(cv2.Laplacian(grey, cv2.CV_32F).var()) / spread if spread > 0 else 0.0
    shift_x, shift_y = (None, None) if reference is None else _shift(small_grey(image), reference)
    return ImageStatistics(float(grey.mean()), focus, shift_x, shift_y)


def small_grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A grey copy (h, w) of (H, W, 3), reduced by area until its longer side has at most 128 pixels."""
    return _reduced_grey(image, _SHIFT_SIDE)


def _reduced_grey(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)  # (h, w)


def _shift(image: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8]) -> tuple[float, float] | tuple[None, None]:
    """By phase correlation (Kuglin and Hines 1975); nothing where sizes differ or are too small for it."""
    import cv2

    height, width = reference.shape
    if image.shape != reference.shape or min(height, width) < 8:
        return None, None
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    (right, down), _ = cv2.phaseCorrelate(reference.astype(np.float32), image.astype(np.float32), window)
    return (right / width, down / height) if np.isfinite([right, down]).all() else (None, None)
