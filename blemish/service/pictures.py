"""Pictures of a result as the bytes of an image file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.pipeline.drawing import draw_heat_map, draw_overlay

if TYPE_CHECKING:
    from blemish.pipeline import Result

_THUMBNAIL = 192


def heat_map_png(result: Result) -> bytes:
    """The heat map on the absolute colour scale, at the original size."""
    assert result.anomaly_map is not None and result.pixel_threshold is not None
    return _encoded(".png", draw_heat_map(result.anomaly_map, result.pixel_threshold))


def overlay_jpeg(result: Result) -> bytes:
    """The image under the map's colours, with contours at the threshold."""
    assert result.image is not None and result.anomaly_map is not None and result.pixel_threshold is not None
    return _encoded(".jpg", draw_overlay(result.image, result.anomaly_map, result.pixel_threshold))


def image_png(result: Result) -> bytes:
    """The image itself."""
    assert result.image is not None
    return _encoded(".png", result.image)


def thumbnail_jpeg(result: Result) -> bytes:
    """The image, at most 192 pixels wide and high."""
    assert result.image is not None
    return small_jpeg(result.image)


def small_jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    """An image (H, W, 3) RGB, at most 192 pixels wide and high."""
    import cv2

    height, width = image.shape[:2]
    shrink = _THUMBNAIL / max(width, height)
    if shrink >= 1:
        return _encoded(".jpg", image)
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    # whole pixels are averaged first, which is several times as fast, and leaves less than two to one to do
    step = max(1, min(width // size[0], height // size[1]))
    whole = image[: height // step * step, : width // step * step]
    coarse = cv2.resize(whole, (width // step, height // step), interpolation=cv2.INTER_AREA)
    return _encoded(".jpg", np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR), np.uint8))


def _encoded(suffix: str, picture: npt.NDArray[np.uint8]) -> bytes:
    import cv2

    fine = [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    return cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), fine)[1].tobytes()
