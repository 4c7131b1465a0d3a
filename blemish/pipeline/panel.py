"""The panel for reports: image, heat map with its colour scale, and overlay, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.pipeline.colours import TOP_LEVEL, colour_table, value_at
from blemish.pipeline.drawing import draw_heat_map, draw_overlay

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

_PAPER, _INK, _MUTED, _FRAME = (255, 255, 255), (24, 31, 43), (98, 109, 122), (214, 219, 225)
_ANOMALY, _NORMAL = (198, 22, 38), (44, 94, 122)
_MARGIN, _GAP, _LABEL, _BAR, _HEADER = 24, 18, 28, 46, 54
_TILE, _STRIP = (440, 520), (1200, 400)  # the largest tile: three beside each other, or three below each other


def draw_panel(
    image: npt.NDArray[np.uint8],
    anomaly_map: npt.NDArray[np.float32],
    threshold: float,
    *,
    title: str = "",
    caption: str = "",
    anomalous: bool | None = None,
) -> npt.NDArray[np.uint8]:
    """One picture that explains a result: image | heat map with colour scale | overlay; strips stand below each other.

    `image` is (H, W, 3) RGB, `anomaly_map` (H, W) in the scale of the pixel `threshold`. `title` and a quieter
    `caption` stand above, after the verdict where `anomalous` is given. Returns RGB uint8, about 1,400 pixels wide.
    """
    from PIL import Image, ImageDraw

    height, width = anomaly_map.shape
    strip = width > 2.5 * height
    scale = min(limit / side for limit, side in zip(_STRIP if strip else _TILE, (width, height), strict=True))
    tiles = [Image.fromarray(tile) for tile in _tiles(image, anomaly_map, threshold, scale)]
    tile_width, tile_height = tiles[0].size
    cell_width, cell_height = max(tile_width, 300), tile_height + _LABEL
    top = _MARGIN + (_HEADER if title or caption or anomalous is not None else 0)
    if strip:
        places = [(_MARGIN, top + i * (cell_height + _GAP) + (_BAR if i == 2 else 0)) for i in range(3)]
        size = (cell_width + 2 * _MARGIN, places[2][1] + cell_height + _MARGIN)
    else:
        places = [(_MARGIN + i * (cell_width + _GAP), top) for i in range(3)]
        size = (places[2][0] + cell_width + _MARGIN, top + cell_height + _BAR + _MARGIN)
    panel = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(panel)
    _draw_header(panel, draw, title, caption, anomalous)
    for (x, y), tile, label in zip(places, tiles, ("Image", "Heat map", "Overlay"), strict=True):
        draw.text((x, y + _LABEL - 9), label, _MUTED, _font(15), anchor="ls")
        panel.paste(tile, (x, y + _LABEL))
        draw.rectangle((x - 1, y + _LABEL - 1, x + tile_width, y + _LABEL + tile_height), outline=_FRAME)
    _draw_scale(panel, draw, (places[1][0], places[1][1] + cell_height + 12), max(tile_width, 240), threshold)
    return np.asarray(panel)


def _tiles(
    image: npt.NDArray[np.uint8], anomaly_map: npt.NDArray[np.float32], threshold: float, scale: float
) -> list[npt.NDArray[np.uint8]]:
    """Image, heat map and overlay at the panel's size; enlarged before drawing, reduced after it, to lose no peak."""
    import cv2

    height, width = anomaly_map.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if scale >= 1:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        anomaly_map = np.asarray(cv2.resize(anomaly_map, size, interpolation=cv2.INTER_LINEAR), np.float32)
    line_width = 1.5 / min(scale, 1)
    tiles = [image, draw_heat_map(anomaly_map, threshold), draw_overlay(image, anomaly_map, threshold, line_width)]
    if scale >= 1:
        return tiles
    return [np.asarray(cv2.resize(tile, size, interpolation=cv2.INTER_AREA), np.uint8) for tile in tiles]


def _draw_header(panel: Image, draw: ImageDraw, title: str, caption: str, anomalous: bool | None) -> None:
    """The verdict as a badge, the title, and the caption in what room is left."""
    x, middle = float(_MARGIN), _MARGIN + 15
    if anomalous is not None:
        x += 14 + _draw_badge(panel, draw, "Anomaly" if anomalous else "Normal", _ANOMALY if anomalous else _NORMAL)
    for text, size, colour in ((title, 22, _INK), (caption, 16, _MUTED)):
        font = _font(size, text)
        shown = _shortened(draw, text, font, panel.width - _MARGIN - x)
        draw.text((x, middle + 7), shown, colour, font, anchor="ls")
        x += draw.textlength(shown, font) + (14 if shown else 0)


def _draw_badge(panel: Image, draw: ImageDraw, text: str, colour: tuple[int, int, int]) -> int:
    """A word in a rounded field at the top left, its edge smoothed; returns the width."""
    from PIL import Image, ImageDraw

    width, height = round(draw.textlength(text, _font(16))) + 26, 30
    mask = Image.new("L", (4 * width, 4 * height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), 2 * height, 255)
    panel.paste(colour, (_MARGIN, _MARGIN), mask.resize((width, height), Image.Resampling.BOX))
    draw.text((_MARGIN + width / 2, _MARGIN + height / 2), text, _PAPER, _font(16), anchor="mm")
    return width


def _draw_scale(panel: Image, draw: ImageDraw, corner: tuple[int, int], width: int, threshold: float) -> None:
    """The colour scale with the map's values and a mark at the threshold."""
    from PIL import Image

    x, y = corner
    bar = Image.fromarray(colour_table()[None]).resize((width, 10), Image.Resampling.NEAREST)
    panel.paste(bar, (x, y))
    for level, anchor in ((0, "la"), (1, "ma"), (2, "ma"), (TOP_LEVEL, "ra")):
        place = x + width * level / TOP_LEVEL
        if 0 < level < TOP_LEVEL:
            draw.line((place, y - 3, place, y + 12), _INK, 2 if level == 1 else 1)
        text = f"{'threshold ' if level == 1 else ''}{value_at(level, threshold):.3g}"
        draw.text((place, y + 16), text, _INK if level == 1 else _MUTED, _font(14), anchor=anchor)


def _shortened(draw: ImageDraw, text: str, font: FreeTypeFont | ImageFont, room: float) -> str:
    """The text, cut with an ellipsis to the room there is."""
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(text + "\u2026", font) > room:
        text = text[:-1]
    return text + "\u2026" if text else ""


def _font(size: int, text: str = "") -> FreeTypeFont | ImageFont:
    """Pillow's own sans-serif face, or for letters it lacks matplotlib's, which knows Latin, Greek and Cyrillic."""
    from PIL import ImageFont

    if not text.translate({0x2026: "", 0xB7: ""}).isascii():
        import matplotlib

        return ImageFont.truetype(
            Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", round(size * 0.9)
        )
    return ImageFont.load_default(size)
