"""The geometry of the charts: paths in a square of 1000 x 1000 that the page stretches, and labels placed in percent.

Only lines and areas are stretched; texts are HTML at their own size, so that a chart reads the same at any width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blemish.report.record import EvaluationReport, Kind, Rate
from blemish.report.words import number

SIDE = 1000
_BINS = 36
_CURVE_POINTS = 240
# How far beyond the scores a threshold may lie and still be drawn in its place.
_REACH = 0.6

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tick:
    """A label at `place` percent of the axis."""

    place: float
    text: str


@dataclass(frozen=True)
class Bar:
    """A bar of the histogram, in units of the square; `title` is what a pointer over it tells."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Scale:
    """The axis of the scores, from `low` to `high`."""

    low: float
    high: float

    def percent(self, value: float) -> float:
        """Where a score lies on the axis, 0 to 100."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)

    def ticks(self) -> list[Tick]:
        """About five round values."""
        return [Tick(self.percent(value), number_of(value)) for value in round_values(self.low, self.high, 5)]


@dataclass(frozen=True)
class Whisker:
    """A share as a dot and its 95 % interval as a line from `low` to `high`, in percent of the axis."""

    place: float
    low: float
    high: float


@dataclass(frozen=True)
class Histogram:
    """Good images above the line at `zero` percent of the height, defective ones below it."""

    scale: Scale
    good: list[Bar]
    defective: list[Bar]
    calibration: str
    zero: float
    threshold: float | None
    counts: list[Tick]
    good_side: str
    defective_side: str


@dataclass(frozen=True)
class Curve:
    """A curve and the area below it; `mark` is the point (x, y) in force, in percent from the lower left."""

    line: str
    area: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    mark: tuple[float, float] | None = None


def score_scale(report: EvaluationReport) -> Scale:
    """The axis that all charts of scores share: every score, and the threshold unless it is far away."""
    values = [score for kind in report.kinds for score in kind.scores] + list(report.threshold.calibration)
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    width = (high - low) or abs(high) or 1.0
    if low - _REACH * width <= report.threshold.score <= high + _REACH * width:
        low, high = min(low, report.threshold.score), max(high, report.threshold.score)
        width = (high - low) or width
    return Scale(low - 0.03 * width, high + 0.03 * width)


def histogram(report: EvaluationReport) -> Histogram:
    """Scores of the good and the defective images, mirrored at a line."""
    scale = score_scale(report)
    edges = np.linspace(scale.low, scale.high, _BINS + 1)
    good, defective = (_counts(report.kinds, is_good, edges) for is_good in (True, False))
    tallest = {True: max(1, int(good.max(initial=0))), False: max(1, int(defective.max(initial=0)))}
    # each half gets a height by its tallest bar, but never so little that its bars cannot be told apart
    upper, lower = (tallest[side] if counts.any() else 0 for side, counts in ((True, good), (False, defective)))
    zero = SIDE * (1.0 if not lower else 0.12 if not upper else min(0.68, max(0.32, upper / (upper + lower))))
    unit = min((zero - 10) / tallest[True], (SIDE - zero - 10) / tallest[False] if lower else math.inf)
    return Histogram(
        scale,
        _bars(good, edges, zero, -unit, "good"),
        _bars(defective, edges, zero, unit, "defective"),
        _outline(report, edges, zero, unit, int(good.sum())),
        zero / SIDE * 100,
        _place(scale, report.threshold.score),
        _count_ticks(zero, unit, upper, lower),
        _free_side(good),
        _free_side(defective),
    )


def roc_chart(report: EvaluationReport) -> Curve | None:
    """Detected defects over false alarms, marked at the threshold in force."""
    if report.roc is None:
        return None
    mark = None
    if report.false_alarms is not None and report.misses is not None:
        mark = (100 * report.false_alarms.value, 100 * (1 - report.misses.value))
    return _curve(*report.roc, 1.0, mark)


def pro_chart(report: EvaluationReport, limit: float = 0.3) -> Curve | None:
    """Covered share of the defects over the marked share of good pixels, up to the limit of the AU-PRO."""
    return None if report.pro is None else _curve(*report.pro, limit, None)


def whisker(rate: Rate, scale: Scale) -> Whisker:
    """A count on an axis of shares, with what the count leaves possible."""
    return Whisker(scale.percent(rate.value), *map(scale.percent, rate.interval))


def alarm_scale(report: EvaluationReport) -> Scale:
    """The axis of false alarms: from none to a round share above every interval and every rate."""
    points = report.found.points
    shares = [point.false_alarms.interval[1] for point in points if point.false_alarms is not None]
    most = max([*shares, *(point.rate or 0.0 for point in points)], default=1.0)
    return Scale(0.0, next(end for end in (0.05, 0.1, 0.2, 0.3, 0.5, 1.0) if end >= min(most, 1.0)))


def strip(kind: Kind, scale: Scale) -> list[Tick]:
    """Every image of a kind as a dot on the axis of the scores."""
    return [Tick(scale.percent(score), number(score)) for score in sorted(kind.scores)]


def round_values(low: float, high: float, about: int) -> list[float]:
    """About so many values of 1, 2 or 5 times a power of ten inside an interval."""
    step = 10 ** math.floor(math.log10((high - low) / about))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= about + 1)
    first = math.ceil(low / step)
    return [round(i * step, 12) for i in range(first, math.floor(high / step) + 1)]


def number_of(value: float) -> str:
    """A round value without needless digits."""
    return f"{value:g}"


def _counts(kinds: Sequence[Kind], is_good: bool, edges: Values) -> npt.NDArray[np.int64]:
    scores = [score for kind in kinds if kind.is_good == is_good for score in kind.scores]
    return np.histogram(scores, edges)[0].astype(np.int64)


def _bars(counts: npt.NDArray[np.int64], edges: Values, zero: float, unit: float, word: str) -> list[Bar]:
    """Bars on the line at `zero`, upwards for a negative unit."""
    width = SIDE / len(counts)
    bars = []
    for i in np.flatnonzero(counts):
        height = abs(unit) * int(counts[i])
        title = f"{counts[i]} {word}, score {number(float(edges[i]))} to {number(float(edges[i + 1]))}"
        bars.append(
            Bar(round(i * width + 1, 2), round(min(zero, zero + unit * counts[i]), 2), width - 2, height, title)
        )
    return bars


def _outline(report: EvaluationReport, edges: Values, zero: float, unit: float, good: int) -> str:
    """The held-out scores of the training images as steps, scaled to the number of good test images."""
    calibration, images = report.threshold.calibration, report.threshold.calibration_images
    if not calibration:
        return ""
    total = len(calibration) if images is None else sum(images)
    expected = np.histogram(calibration, edges, weights=images)[0] * (max(1, good) / total)  # (bins,)
    width = SIDE / len(expected)
    tops = [round(max(2.0, zero - unit * float(count)), 1) for count in expected]
    return (
        f"M0 {zero:.1f}" + "".join(f"V{top}H{round((i + 1) * width, 1)}" for i, top in enumerate(tops)) + f"V{zero:.1f}"
    )


def _free_side(counts: npt.NDArray[np.int64]) -> str:
    """Where the bars leave more room for a label."""
    third = len(counts) // 3
    return "left" if counts[:third].max() <= counts[-third:].max() else "right"


def _count_ticks(zero: float, unit: float, upper: int, lower: int) -> list[Tick]:
    """Round counts upwards and downwards; as an axis of counts has no fractions, 1 is the smallest step."""
    ticks = [Tick(zero / SIDE * 100, "0")]
    for highest, direction in ((upper, -1), (lower, 1)):
        for value in round_values(0, highest, 2) if highest else []:
            if value >= 1 and value == int(value):
                ticks.append(Tick((zero + direction * unit * value) / SIDE * 100, f"{value:g}"))
    return ticks


def _place(scale: Scale, value: float) -> float | None:
    """Where the threshold stands, None where it is outside the axis."""
    return scale.percent(value) if scale.low <= value <= scale.high else None


def _curve(x: Values, y: Values, limit: float, mark: tuple[float, float] | None) -> Curve:
    x, y = _cut(np.asarray(x, float), np.asarray(y, float), limit)
    keep = _telling(x, y)
    points = [
        f"{round(SIDE * u / limit, 1):g} {round(SIDE * (1 - v), 1):g}" for u, v in zip(x[keep], y[keep], strict=True)
    ]
    line = "M" + "L".join(points)
    ticks = [Tick(100 * value / limit, percent_of(value)) for value in round_values(0, limit, 4)]
    return Curve(line, f"{line}V{SIDE}H0Z", ticks, [Tick(value, f"{value} %") for value in (0, 25, 50, 75, 100)], mark)


def percent_of(share: float) -> str:
    """A round share as a percentage."""
    return f"{100 * share:g} %"


def _cut(x: Values, y: Values, limit: float) -> tuple[Values, Values]:
    """The curve up to the limit, with the point where it crosses it."""
    inside = x <= limit
    at_limit = float(np.interp(limit, x, y))
    return np.append(x[inside], limit), np.append(y[inside], at_limit)


def _telling(x: Values, y: Values) -> npt.NDArray[np.int64]:
    """Points to draw: evenly spread along the curve's length, so that a steep rise keeps its shape."""
    if len(x) <= _CURVE_POINTS:
        return np.arange(len(x))
    span = max(float(x[-1] - x[0]), 1e-12)
    length = np.cumsum(np.abs(np.diff(x, prepend=x[0])) / span + np.abs(np.diff(y, prepend=y[0])))
    return np.unique(np.searchsorted(length, np.linspace(0, length[-1], _CURVE_POINTS)).clip(0, len(x) - 1))
