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

    grey = _reduced_grey(image)  # (h, w)
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(grey))
    detail = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))[1]
    focus = (float(detail[0, 0]) / deviation) ** 2 if deviation > 0 else 0.0
    shift_x, shift_y = (None, None) if reference is None else _shift(_reduced(grey, _SHIFT_SIDE), reference)
    return ImageStatistics(mean, focus, shift_x, shift_y)


def small_grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A grey copy (h, w) of (H, W, 3), reduced by area until its longer side has at most 128 pixels."""
    return _reduced(_reduced_grey(image), _SHIFT_SIDE)


def _reduced_grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    import cv2

    return _reduced(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8), _FOCUS_SIDE)  # (h, w)


def _reduced(grey: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """By area, until the longer side of (h, w) has at most so many pixels."""
    import cv2

    height, width = grey.shape
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return grey if scale == 1 else np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _shift(image: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8]) -> tuple[float, float] | tuple[None, None]:
    """By phase correlation (Kuglin and Hines 1975); nothing where sizes differ or are too small for it."""
    import cv2

    height, width = reference.shape
    if image.shape != reference.shape or min(height, width) < 8:
        return None, None
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    (right, down), _ = cv2.phaseCorrelate(reference.astype(np.float32), image.astype(np.float32), window)
    return (right / width, down / height) if np.isfinite([right, down]).all() else (None, None)
