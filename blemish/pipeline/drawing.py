"""Pictures of an anomaly map: the heat map, and the overlay on the image with contours at the threshold."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.pipeline.colours import THRESHOLD_INDEX, bands, colour_table, cover_table, steps

_LINE, _RIM = (255, 250, 240), (22, 26, 34)
_SUBPIXEL_BITS = 4


def draw_heat_map(anomaly_map: npt.NDArray[np.float32], threshold: float) -> npt.NDArray[np.uint8]:
    """The map (H, W) in the colours of the absolute scale, (H, W, 3) RGB."""
    table = colour_table()
    picture = np.empty((*anomaly_map.shape, 3), np.uint8)
    for rows in bands(*anomaly_map.shape):
        np.take(table, steps(anomaly_map[rows], threshold), axis=0, out=picture[rows])
    return picture


def draw_overlay(
    image: npt.NDArray[np.uint8],
    anomaly_map: npt.NDArray[np.float32],
    threshold: float,
    line_width: float | None = None,
) -> npt.NDArray[np.uint8]:
    """The image (H, W, 3) RGB under the map's colours, with contours where the map (H, W) crosses the threshold.

    Where the map stays below 85 % of the threshold, the image is left as it is. The contours are `line_width` pixels
    wide, by default thin for the image's size. Returns a new (H, W, 3) RGB picture.
    """
    clear, tint = _blend_tables()
    first_tinted = int(np.flatnonzero(clear < 255)[0])
    picture = image.copy()
    for rows in bands(*anomaly_map.shape):
        step = steps(anomaly_map[rows], threshold)  # (rows, W)
        tinted = step >= first_tinted
        level = step[tinted]  # (n,)
        picture[rows][tinted] = (picture[rows][tinted] * clear[level, None] + tint[level]) // 255
    return draw_contours(picture, anomaly_map, threshold, line_width or max(0.75, sum(anomaly_map.shape) / 1100))


@cache
def _blend_tables() -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Per step: what stays of the image, (256,) of 255, and the colour to add, (256, 3), times 255, with rounding."""
    cover = np.rint(cover_table() * 255).astype(np.uint16)
    # amber would look like dirt on dark images, so the tint begins with orange; past twice the threshold it stays
    # red, since white would read as paper
    colours = colour_table()[np.clip(np.arange(256), round(1.3 * THRESHOLD_INDEX), 2 * THRESHOLD_INDEX)]
    return 255 - cover, colours * cover[:, None] + np.uint16(127)


def draw_contours(
    picture: npt.NDArray[np.uint8], anomaly_map: npt.NDArray[np.float32], threshold: float, line_width: float
) -> npt.NDArray[np.uint8]:
    """The picture (H, W, 3) with lines where the map (H, W) crosses the threshold; it may be drawn on in place.

    A light line in a dark rim, `line_width` pixels wide in all, which reads on any ground.
    """
    above = anomaly_map > threshold  # (H, W)
    if not above.any():
        return picture
    import cv2

    height, width = anomaly_map.shape
    # on a small image a line is finer than two pixels: drawn on enlarged pixels, then averaged back
    zoom = 4 if max(height, width) < 320 else 2 if max(height, width) < 800 else 1
    thickness = round(line_width * zoom)
    rim = 2 + round(thickness / 2)
    found, _ = cv2.findContours(above.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    points = _on_threshold(np.concatenate(found)[:, 0], anomaly_map, threshold)  # (n, 2)
    fixed = np.rint(((points + 0.5) * zoom - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
    lines = np.split(fixed, np.cumsum([len(line) for line in found])[:-1])
    canvas = picture.repeat(zoom, axis=0).repeat(zoom, axis=1) if zoom > 1 else picture
    for colour, thick in ((_RIM, thickness + rim), (_LINE, thickness)):
        cv2.polylines(canvas, lines, True, colour, thick, cv2.LINE_AA, _SUBPIXEL_BITS)
    if zoom > 1:
        cv2.resize(canvas, (width, height), dst=picture, interpolation=cv2.INTER_AREA)
    return picture


def _on_threshold(
    line: npt.NDArray[Any], anomaly_map: npt.NDArray[np.float32], threshold: float
) -> npt.NDArray[np.float64]:
    """Contour pixels (n, 2) moved by up to a pixel along the slope, to where the map crosses the threshold."""
    height, width = anomaly_map.shape
    x, y = line.T
    left, right = np.maximum(x - 1, 0), np.minimum(x + 1, width - 1)
    above, below = np.maximum(y - 1, 0), np.minimum(y + 1, height - 1)
    gx = (anomaly_map[y, right] - anomaly_map[y, left]) / np.maximum(right - left, 1)
    gy = (anomaly_map[below, x] - anomaly_map[above, x]) / np.maximum(below - above, 1)
    step = (threshold - anomaly_map[y, x]) / np.maximum(gx**2 + gy**2, 1e-30)
    moved: npt.NDArray[np.float64] = line + np.clip(np.column_stack((gx * step, gy * step)), -1, 1)
    return moved
