"""Drawings of the station: bars and lines in a square of 1000 x 1000 that the page stretches, texts in percent beside.

As in the evaluation report, whose scales and ticks these are: only shapes are stretched, never letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blemish.report.charts import SIDE, Bar, Scale
from blemish.report.words import number

_BINS = 48
_MARGIN = 0.03  # of the axis, beyond the outermost values
_LEAST = 8.0  # of the square: what a bar has in height, so that one image can be seen

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """Good images above the line at `zero` (in units of the square), inspections below it, each by its own tallest bar.

    `threshold` is in percent of the axis, or None where it is outside.
    """

    scale: Scale
    good: list[Bar]
    seen: list[Bar]
    tallest: tuple[int, int]
    zero: float
    threshold: float | None


@dataclass(frozen=True)
class Dot:
    """A point at `x` and `y` percent from the lower left, of a kind that the page draws in its own shape."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True)
class Scatter:
    """Points over two axes, each with its threshold in percent, None where that is outside."""

    across: Scale
    up: Scale
    dots: list[Dot]
    thresholds: tuple[float | None, float | None]


def axis(values: Values, *thresholds: float) -> Scale:
    """An axis with room for all values and thresholds."""
    reach = np.append(values, thresholds)
    low, high = float(reach.min()), float(reach.max())
    width = (high - low) or abs(high) or 1.0
    return Scale(low - _MARGIN * width, high + _MARGIN * width)


def place(scale: Scale, value: float) -> float | None:
    """Where a value stands, in percent; None outside the axis."""
    return scale.percent(value) if scale.low <= value <= scale.high else None


def histogram(good: Values, seen: Values, threshold: float, scale: Scale, images: Values) -> Histogram:
    """Scores of good images and of inspections on one axis; a good score stands for so many `images` `(n,)`."""
    edges = np.linspace(scale.low, scale.high, _BINS + 1)
    of_good = np.histogram(good, edges, weights=images)[0].round().astype(np.intp)
    counts = of_good, np.histogram(seen, edges)[0]  # each (bins,)
    tallest = int(counts[0].max(initial=0)), int(counts[1].max(initial=0))
    zero = SIDE * (0.5 if len(seen) else 0.88)
    return Histogram(
        scale=scale,
        good=_bars(counts[0], edges, zero, -1, "good images"),
        seen=_bars(counts[1], edges, zero, 1, "inspections"),
        tallest=tallest,
        zero=zero,
        threshold=place(scale, threshold),
    )


def sparkline(scores: Sequence[float], is_anomalous: Sequence[bool], threshold: float) -> list[tuple[Bar, bool]]:
    """The last scores, oldest first, as bars over the least of them; a bar as high as the square is twice the way from
    there to the threshold, or more.
    """
    if not scores:
        return []
    least = min(*scores, threshold)
    unit = SIDE / (2 * ((threshold - least) or 1.0))
    width = SIDE / len(scores)
    bars = []
    for i, (score, odd) in enumerate(zip(scores, is_anomalous, strict=True)):
        height = min(float(SIDE), max(_LEAST, unit * (score - least)))
        bars.append((Bar(round(i * width, 2), SIDE - height, round(0.8 * width, 2), height, number(score)), odd))
    return bars


def scatter(points: Sequence[tuple[float, float, str, str]], thresholds: tuple[float, float]) -> Scatter:
    """Points (score across, score up, kind, title) on axes of their own."""
    columns = [np.array([point[i] for point in points], np.float64) for i in (0, 1)]
    across, up = (axis(column, limit) for column, limit in zip(columns, thresholds, strict=True))
    dots = [Dot(across.percent(x), up.percent(y), kind, title) for x, y, kind, title in points]
    return Scatter(across, up, dots, (place(across, thresholds[0]), place(up, thresholds[1])))


def _bars(counts: npt.NDArray[np.intp], edges: Values, zero: float, direction: int, noun: str) -> list[Bar]:
    """Bars from a line, upwards for a negative direction."""
    width, room = SIDE / len(counts), zero if direction < 0 else SIDE - zero
    unit = (room - 30) / max(1, int(counts.max(initial=0)))
    bars = []
    for i in np.flatnonzero(counts):
        height = max(_LEAST, unit * int(counts[i]))
        title = f"{counts[i]} {noun}, score {number(float(edges[i]))} to {number(float(edges[i + 1]))}"
        bars.append(Bar(round(i * width + 1, 2), zero - height * (direction < 0), width - 2, height, title))
    return bars
