"""One picture of several results: image, heat map and overlay of each, on one colour scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.pipeline.drawing import draw_heat_map, draw_overlay
from blemish.pipeline.lettering import FRAME, INK, MUTED, PAPER, draw_badge, draw_scale, draw_text

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

_MARGIN, _GAP, _HEADING, _HEADER, _LABEL, _FOOT = 32, 16, 56, 62, 26, 72
_TILE, _STRIP = (260, 340), (440, 180)  # the largest tile where results stand side by side, and below each other
_LEAST_WIDTH = 900
_ROWS = ("Image", "Heat map", "Overlay")


@dataclass(frozen=True)
class Entry:
    """A result in an overview: `image` is (H, W, 3) RGB, `anomaly_map` (H, W); no verdict is shown where it is None."""

    title: str
    caption: str
    anomalous: bool | None
    image: npt.NDArray[np.uint8]
    anomaly_map: npt.NDArray[np.float32]


def draw_overview(
    entries: Sequence[Entry], threshold: float, *, title: str = "", caption: str = ""
) -> npt.NDArray[np.uint8]:
    """One picture of some results, at least one: a column each, or a row each where the images are wide strips.

    `threshold` is the pixel threshold of all maps; the colour scale at the foot shows it. Returns RGB uint8, with five
    entries about 1,400 pixels wide.
    """
    from PIL import Image, ImageDraw

    strips = float(np.median([e.image.shape[1] / e.image.shape[0] for e in entries])) > 2.5
    tiles = [[Image.fromarray(tile) for tile in _tiles(entry, threshold, strips)] for entry in entries]
    width = max(tile[0].width for tile in tiles) if strips else _TILE[0]
    height = max(tile[0].height for tile in tiles)
    across, down = (len(_ROWS), len(entries)) if strips else (len(entries), len(_ROWS))
    step_x = width + _GAP
    step_y = height + _LABEL + (_HEADER + _GAP if strips else 0)
    top = _MARGIN + (_HEADING if title else 0) + (0 if strips else _HEADER)
    page = (
        max(_LEAST_WIDTH, across * step_x - _GAP + 2 * _MARGIN),
        top + down * step_y + _GAP + _FOOT + _MARGIN // 2,
    )
    picture = Image.new("RGB", page, PAPER)
    draw = ImageDraw.Draw(picture)
    _draw_heading(draw, title, caption, page[0])
    for i, entry in enumerate(entries):
        x, y = (_MARGIN, top + i * step_y) if strips else (_MARGIN + i * step_x, top - _HEADER)
        _draw_header(picture, draw, (x, y), entry, (page[0] - 2 * _MARGIN) if strips else width)
        for j, (tile, label) in enumerate(zip(tiles[i], _ROWS, strict=True)):
            place = (x + j * step_x, y + _HEADER) if strips else (x, y + _HEADER + j * step_y)
            _place(picture, draw, place, tile, label if strips or i == 0 else "")
    draw_scale(picture, draw, (_MARGIN, page[1] - _FOOT), min(560, page[0] - 2 * _MARGIN), threshold)
    return np.asarray(picture)


def _tiles(entry: Entry, threshold: float, strips: bool) -> list[npt.NDArray[np.uint8]]:
    """Image, heat map and overlay at the tile's size; enlarged before drawing, reduced after it, to lose no peak."""
    import cv2

    image, anomaly_map = entry.image, entry.anomaly_map
    height, width = anomaly_map.shape
    scale = min(limit / side for limit, side in zip(_STRIP if strips else _TILE, (width, height), strict=True))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if scale >= 1:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        anomaly_map = np.asarray(cv2.resize(anomaly_map, size, interpolation=cv2.INTER_LINEAR), np.float32)
    overlay = draw_overlay(image, anomaly_map, threshold, 1.4 / min(scale, 1))
    tiles = [image, draw_heat_map(anomaly_map, threshold), overlay]
    if scale >= 1:
        return tiles
    return [np.asarray(cv2.resize(tile, size, interpolation=cv2.INTER_AREA), np.uint8) for tile in tiles]


def _draw_heading(draw: ImageDraw, title: str, caption: str, width: int) -> None:
    """What the whole picture shows."""
    if title:
        x, baseline = float(_MARGIN), _MARGIN + 20
        x += draw_text(draw, (x, baseline), title, 24, INK, width - _MARGIN - x) + 16
        draw_text(draw, (x, baseline), caption, 16, MUTED, width - _MARGIN - x)


def _draw_header(picture: Image, draw: ImageDraw, corner: tuple[int, int], entry: Entry, room: int) -> None:
    """The verdict and the title, and below them the caption."""
    x, y = corner
    taken = 0 if entry.anomalous is None else draw_badge(picture, draw, corner, entry.anomalous) + 10
    draw_text(draw, (x + taken, y + 19), entry.title, 18, INK, room - taken)
    draw_text(draw, (x, y + 48), entry.caption, 14, MUTED, room)


def _place(picture: Image, draw: ImageDraw, corner: tuple[int, int], tile: Image, label: str) -> None:
    """A tile in a thin frame, its label above it."""
    x, y = corner
    draw_text(draw, (x, y + _LABEL - 8), label, 14, MUTED, _TILE[0])
    picture.paste(tile, (x, y + _LABEL))
    draw.rectangle((x - 1, y + _LABEL - 1, x + tile.width, y + _LABEL + tile.height), outline=FRAME)
