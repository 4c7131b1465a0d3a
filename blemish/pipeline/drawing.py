"""Pictures of an anomaly map: the heat map, and the overlay on the image with contours at the threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.pipeline.colours import bands, colour_table, cover_table, steps

_SUBPIXEL_BITS = 4


def draw_heat_map(anomaly_map: npt.NDArray[np.float32], threshold: float) -> npt.NDArray[np.uint8]:
    """The map (H, W) in the colours of the absolute scale, (H, W, 3) RGB."""
    table = colour_table()
    picture = np.empty((*anomaly_map.shape, 3), np.uint8)
    for rows in bands(*anomaly_map.shape):
        np.take(table, steps(anomaly_map[rows], threshold), axis=0, out=picture[rows])
    return picture


def draw_overlay(
    image: npt.NDArray[np.uint8], anomaly_map: npt.NDArray[np.float32], threshold: float
) -> npt.NDArray[np.uint8]:
    """The image (H, W, 3) RGB under the map's colours, with contours where the map (H, W) crosses the threshold.

    Where the map stays below about half the threshold, the image is left as it is. Returns a new (H, W, 3) RGB picture.
    """
    cover = cover_table().astype(np.uint16)
    tint = colour_table() * cover[:, None]  # (256, 3)
    clear = 255 - cover
    first_tinted = int(np.flatnonzero(cover)[0])
    picture = image.copy()
    for rows in bands(*anomaly_map.shape):
        step = steps(anomaly_map[rows], threshold)  # (rows, W)
        if step.max(initial=0) >= first_tinted:
            mixed = picture[rows] * clear[step][..., None]  # (rows, W, 3) uint16
            mixed += tint[step]
            mixed += 127
            picture[rows] = mixed // 255
    _draw_contours(picture, anomaly_map, threshold)
    return picture


def line_width(height: int, width: int) -> int:
    """The contour's width in pixels: thin, yet seen when the whole image is shown on a screen."""
    return max(1, round((height + width) / 1400))


def _draw_contours(picture: npt.NDArray[np.uint8], anomaly_map: npt.NDArray[np.float32], threshold: float) -> None:
    """A light line with a dark rim, which reads on any ground."""
    above = anomaly_map > threshold  # (H, W)
    if not above.any():
        return
    import cv2

    found, _ = cv2.findContours(above.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    lines = [_on_threshold(line[:, 0], anomaly_map, threshold) for line in found]
    width = line_width(*anomaly_map.shape)
    for colour, thickness in (((22, 26, 34), width + 2), ((255, 250, 240), width)):
        cv2.polylines(picture, lines, True, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _on_threshold(
    line: npt.NDArray[Any], anomaly_map: npt.NDArray[np.float32], threshold: float
) -> npt.NDArray[np.int32]:
    """Contour pixels (n, 2) moved by up to a pixel to where the map crosses the threshold, in sub-pixel units."""
    height, width = anomaly_map.shape
    x, y = line.T
    left, right = np.maximum(x - 1, 0), np.minimum(x + 1, width - 1)
    above, below = np.maximum(y - 1, 0), np.minimum(y + 1, height - 1)
    gx = (anomaly_map[y, right] - anomaly_map[y, left]) / np.maximum(right - left, 1)
    gy = (anomaly_map[below, x] - anomaly_map[above, x]) / np.maximum(below - above, 1)
    steep = np.maximum(gx**2 + gy**2, 1e-30)
    step = (threshold - anomaly_map[y, x]) / steep
    moved = line + np.clip(np.column_stack((gx * step, gy * step)), -1, 1)
    points: npt.NDArray[np.int32] = np.rint(moved * 2**_SUBPIXEL_BITS).astype(np.int32)
    return points
