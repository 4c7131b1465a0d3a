"""Text, badges and the colour scale on pictures for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from blemish.pipeline.colours import TOP_LEVEL, colour_table, value_at

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

Colour = tuple[int, int, int]

PAPER, INK, MUTED, FRAME = (255, 255, 255), (24, 31, 43), (98, 109, 122), (214, 219, 225)
_ANOMALY, _NORMAL = (198, 22, 38), (44, 94, 122)
_BADGE_HEIGHT = 26


def draw_text(  # noqa: PLR0917
    draw: ImageDraw, baseline: tuple[float, float], text: str, size: int, colour: Colour, room: float
) -> float:
    """Text from the left end of its baseline, cut with an ellipsis to the room; returns its width."""
    font = _font(size, text)
    shown = _shortened(draw, text, font, room)
    draw.text(baseline, shown, colour, font, anchor="ls")
    return draw.textlength(shown, font)


def draw_badge(picture: Image, draw: ImageDraw, corner: tuple[int, int], anomalous: bool) -> int:
    """The verdict in a rounded field, its edge smoothed; returns the width."""
    from PIL import Image, ImageDraw

    text, colour = ("Anomaly", _ANOMALY) if anomalous else ("Normal", _NORMAL)
    x, y = corner
    width, height = round(draw.textlength(text, _font(14))) + 22, _BADGE_HEIGHT
    mask = Image.new("L", (4 * width, 4 * height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), 2 * height, 255)
    picture.paste(colour, (x, y), mask.resize((width, height), Image.Resampling.BOX))
    draw.text((x + width / 2, y + height / 2), text, PAPER, _font(14), anchor="mm")
    return width


def draw_scale(picture: Image, draw: ImageDraw, corner: tuple[int, int], width: int, threshold: float) -> None:
    """The colour scale with the map's values and a mark at the threshold; needs 52 pixels of height."""
    from PIL import Image

    x, y = corner
    bar = Image.fromarray(colour_table()[None]).resize((width, 12), Image.Resampling.NEAREST)
    picture.paste(bar, (x, y))
    for level, anchor in ((0, "la"), (1, "ma"), (2, "ma"), (TOP_LEVEL, "ra")):
        place = x + width * level / TOP_LEVEL
        if 0 < level < TOP_LEVEL:
            draw.line((place, y - 4, place, y + 15), INK, 2 if level == 1 else 1)
        text = f"{'threshold ' if level == 1 else ''}{value_at(level, threshold):.3g}"
        draw.text((place, y + 20), text, INK if level == 1 else MUTED, _font(14), anchor=anchor)


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
