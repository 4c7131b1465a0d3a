"""Shapes of annotations, painted into masks.

Two ways to count coordinates meet here. LabelMe and Pascal VOC name pixels: a vertex is a pixel and belongs to the
shape, so a box from 20 to 60 is 41 pixels wide. COCO measures from the corner of the image: a pixel belongs to a
polygon if its centre lies inside, so a box from 20 to 60 is 40 pixels wide.

Points are float (n, 2), x before y, and may lie outside the mask (H, W), where 255 is painted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from blemish.errors import DatasetError

Mask = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Draw = Callable[[Mask], None]

LINE_WIDTH = 10.0  # pixels; what LabelMe itself takes for lines
POINT_RADIUS = 5.0  # pixels; likewise
MOST_POINTS = 100_000
FARTHEST = 2.0**20  # pixels; beyond it, coordinates are nonsense and the fill would not end


def read_points(value: object, least: int, shape: str) -> Points:
    """A list of [x, y] from an annotation file as (n, 2); `DatasetError` for anything else."""
    if not isinstance(value, list) or not all(_is_pair(point) for point in value):
        raise DatasetError(f"the points of a {shape} are not a list of [x, y]")
    if not least <= len(value) <= MOST_POINTS:
        raise DatasetError(f"a {shape} has {len(value)} points instead of {least} or more")
    points = np.array(value, np.float64)
    if not (np.abs(points) <= FARTHEST).all():
        raise DatasetError(f"a {shape} has a point that is no place in an image")
    return points


def fill_polygon(mask: Mask, points: Points) -> None:
    """All pixels within the outline through the given pixels, and the outline itself."""
    import cv2

    cv2.fillPoly(mask, [_pixels(points).astype(np.int32)], 255)


def fill_box(mask: Mask, points: Points) -> None:
    """All pixels of the upright box from the outermost given pixels on, these included."""
    (left, top), (right, bottom) = _pixels(points).min(axis=0), _pixels(points).max(axis=0)
    mask[max(top, 0) : max(bottom + 1, 0), max(left, 0) : max(right + 1, 0)] = 255


def fill_disc(mask: Mask, centre: Points, radius: float) -> None:
    """All pixels at most `radius` away from `centre` (2,)."""
    fill_line(mask, np.stack([centre, centre]), 2 * radius)


def fill_line(mask: Mask, points: Points, width: float = LINE_WIDTH) -> None:
    """All pixels at most half the width away from the line through the points."""
    for start, end in pairwise(points):
        reach = width / 2
        left, top = np.clip(np.ceil(np.minimum(start, end) - reach), 0, mask.shape[::-1]).astype(int)
        right, bottom = np.clip(np.floor(np.maximum(start, end) + reach) + 1, 0, mask.shape[::-1]).astype(int)
        x, y = np.arange(left, right), np.arange(top, bottom)[:, None]
        along = end - start
        length = float(along @ along) or 1.0
        share = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / length, 0, 1)  # (h, w)
        distance = np.square(x - start[0] - share * along[0]) + np.square(y - start[1] - share * along[1])
        mask[top:bottom, left:right][distance <= reach * reach] = 255


def fill_outline(mask: Mask, points: Points) -> None:
    """All pixels whose centre lies inside the polygon, measured from the image's corner; even-odd where it crosses."""
    (left, top), (right, bottom) = np.clip(
        np.stack([np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))]), 0, mask.shape[::-1]
    ).astype(int)
    flips = np.zeros((bottom - top, right - left + 1), np.bool_)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        first, last = np.clip(np.ceil(np.array([min(y0, y1), max(y0, y1)]) - 0.5), top, bottom).astype(int)
        rows = np.arange(first, last)  # those whose centre the edge passes
        if len(rows):
            crossings = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            flips[rows - top, np.clip(np.ceil(crossings - 0.5), left, right).astype(int) - left] ^= True
    mask[top:bottom, left:right][np.logical_xor.accumulate(flips, axis=1)[:, :-1]] = 255


def outline_of(value: object, what: str = "polygon") -> Draw | None:
    """Fills the polygon of a list of [x, y], measured from the image's corner; None for fewer than three points."""
    points = read_points(value, 0, what)
    return partial(fill_outline, points=points) if len(points) >= 3 else None


def box_of(x: float, y: float, width: float, height: float) -> Draw:
    """Fills a box measured from the image's corner; `DatasetError` for numbers that are no place in an image."""
    return turned_box_of((x, y), (width, height), 0.0, (0.0, 0.0))


def turned_box_of(
    corner: tuple[float, float], size: tuple[float, float], turn: float, about: tuple[float, float]
) -> Draw:
    """Fills a box measured from the image's corner, turned clockwise by degrees.

    `about` is the point that stays, from the box's first corner. Raises `DatasetError` for numbers that are no place
    in an image.
    """
    read_points([list(corner), list(size), list(about)], 3, "box")
    (width, height), pivot = size, np.array(about)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    return partial(fill_outline, points=_placed(corners - pivot, turn, np.array(corner) + pivot))


def ellipse_of(centre: tuple[float, float], radii: tuple[float, float], turn: float = 0.0) -> Draw:
    """Fills an ellipse measured from the image's corner, turned clockwise by degrees.

    Raises `DatasetError` for numbers that are no place in an image.
    """
    read_points([list(centre), list(radii)], 2, "ellipse")
    corners = int(np.clip(4 * max(abs(radius) for radius in radii), 64, 2048))
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    points = np.column_stack([np.cos(angles), np.sin(angles)]) * np.array(radii)  # (corners, 2)
    return partial(fill_outline, points=_placed(points, turn, np.array(centre)))


def line_of(value: object) -> Draw:
    """Paints a line through a list of [x, y], as wide as LabelMe takes lines."""
    return partial(fill_line, points=read_points(value, 2, "line"))


def points_of(value: object) -> Draw:
    """Paints a disc about every [x, y] of a list, as large as LabelMe takes points."""
    return partial(fill_discs, points=read_points(value, 1, "point"))


def fill_discs(mask: Mask, points: Points) -> None:
    """All pixels at most `POINT_RADIUS` away from one of the points."""
    for point in points:
        fill_disc(mask, point, POINT_RADIUS)


def _placed(points: Points, turn: float, at: Points) -> Points:
    """Points (n, 2) about the origin, turned clockwise by degrees and moved."""
    if not is_number(turn):
        raise DatasetError("a shape is turned by what is no number")
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    placed = points @ np.array([[cos, sin], [-sin, cos]]) + at
    if not (np.abs(placed) <= 4 * FARTHEST).all():
        raise DatasetError("a shape has a point that is no place in an image")
    return np.asarray(placed, np.float64)


def paste(mask: Mask, left: int, top: int, marked: npt.NDArray[np.bool_]) -> None:
    """`marked` (h, w) with its first pixel at `left`, `top`."""
    x, y = max(left, 0), max(top, 0)
    part = marked[y - top :, x - left :]
    area = mask[y : y + part.shape[0], x : x + part.shape[1]]
    area[part[: area.shape[0], : area.shape[1]]] = 255


def _pixels(points: Points) -> npt.NDArray[np.int64]:
    """The nearest pixels, halves upwards."""
    return np.floor(points + 0.5).astype(np.int64)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(is_number(number) for number in value)


def is_number(value: object) -> bool:
    """Whether a value from JSON is a number that counts something."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= FARTHEST
