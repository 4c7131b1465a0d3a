"""The geometry of the station's charts: paths in a square of 1000 x 1000 that the page stretches, labels in percent.

`templates/plot.html.j2` draws them: lines and areas are stretched, texts are HTML at their own size, so that a chart
reads the same on a phone and on a wide screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from blemish.report.charts import SIDE, Bar, Scale, Tick

_TICK_STEPS = (
    *(timedelta(seconds=seconds) for seconds in (1, 5, 15, 30)),
    *(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30)),
    *(timedelta(hours=hours) for hours in (1, 3, 6, 12)),
    *(timedelta(days=days) for days in (1, 2, 7, 14, 28, 91, 364)),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class TimeTick:
    """A label at `place` percent of a time axis; `shows` is `time` or `date`, whichever tells the ticks apart."""

    place: float
    time: datetime
    shows: str


@dataclass(frozen=True)
class TimeScale:
    """An axis of time."""

    start: datetime
    end: datetime

    def percent(self, time: datetime) -> float:
        """Where a moment lies on the axis, 0 to 100."""
        return round(100 * min(1.0, max(0.0, (time - self.start) / (self.end - self.start))), 2)

    def x(self, time: datetime) -> float:
        """The same in units of the square."""
        return self.percent(time) * SIDE / 100

    def ticks(self, about: int = 5) -> list[TimeTick]:
        """About so many round moments."""
        step = next((one for one in _TICK_STEPS if (self.end - self.start) / one <= about + 1), _TICK_STEPS[-1])
        first = math.ceil((self.start - _EPOCH) / step)
        moments = (_EPOCH + step * number for number in range(first, math.floor((self.end - _EPOCH) / step) + 1))
        shows = "date" if step >= timedelta(days=1) else "time"
        return [TimeTick(self.percent(moment), moment, shows) for moment in moments]


def y_of(scale: Scale, value: float) -> float:
    """The height of a value in units of the square, downwards."""
    return round(SIDE - scale.percent(value) * SIDE / 100, 1)


def line(points: Iterable[tuple[float, float]]) -> str:
    """SVG path data through points of the square."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def band(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]]) -> str:
    """SVG path data of the area between two lines that run the same way."""
    return line([*upper, *reversed(lower)]) + "Z"


@dataclass(frozen=True)
class Falling:
    """A line over the count of something that went on, such as the loss over iterations, with what its axes say."""

    path: str
    first: float
    last: float
    steps: int
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def over_steps(points: Sequence[tuple[int, float]]) -> Falling:
    """The chart of at least one pair (step, value)."""
    values = [value for _, value in points]
    low, high = min(0.0, *values), max(values)
    scale, steps = Scale(low, high if high > low else low + 1), Scale(0, max(1, points[-1][0]))
    path = line((10 * steps.percent(step), y_of(scale, value)) for step, value in points)
    return Falling(path, values[0], values[-1], points[-1][0], steps.ticks(), scale.ticks())


def column(left: float, right: float, top: float, title: str) -> Bar:
    """A bar that stands on the axis."""
    gap = min(1.0, (right - left) / 6)
    return Bar(round(left + gap, 2), top, round(max(0.5, right - left - 2 * gap), 2), round(SIDE - top, 2), title)
