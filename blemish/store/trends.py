"""What the inspections of a while come to: defect rate, scores and p-values over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
import numpy.typing as npt

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BINS = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = timedelta(seconds=1)
_STRETCHES_S = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 86_400, 7 * 86_400)


@dataclass(frozen=True)
class Counts:
    """How many inspections there are, by verdict and review."""

    total: int
    anomalous: int
    unreviewed_anomalous: int
    false_alarms: int
    missed_defects: int
    confirmed: int


@dataclass(frozen=True, eq=False)
class Bucket:
    """The inspections of one stretch of time, `[start, end)`.

    `score_quantiles` are those at 5, 25, 50, 75 and 95 %. `p_values` counts the p-values in ten equal bins of [0, 1];
    of good images they are about equal. `uniformity` is the p-value of a Kolmogorov-Smirnov test for that, None
    where no p-value was recorded.
    """

    start: datetime
    end: datetime
    count: int
    anomalous: int
    score_quantiles: tuple[float, float, float, float, float]
    p_values: tuple[int, ...]
    uniformity: float | None

    @property
    def defect_rate(self) -> float:
        """The share that was judged anomalous."""
        return self.anomalous / self.count


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of the last inspections of a model, newest first: float64 `(n,)`, and bool `(n,)` verdicts."""

    scores: npt.NDArray[np.float64]
    is_anomalous: npt.NDArray[np.bool_]

    def rate_above(self, threshold: float) -> float:
        """The share that a threshold would have called anomalous; 0 where there is nothing."""
        return float(np.mean(self.scores > threshold)) if len(self.scores) else 0.0


def buckets(
    times: Sequence[datetime],
    scores: npt.NDArray[np.float64],
    p_values: npt.NDArray[np.float64],
    is_anomalous: npt.NDArray[np.bool_],
    width: timedelta | None,
) -> list[Bucket]:
    """Inspections `(n,)` in stretches of time, oldest first; p-values are NaN where there are none.

    The stretches are aligned to midnight UTC of 1970-01-01. Without a width there are at most about fifty.
    """
    if not times:
        return []
    seconds = np.array([(time - _EPOCH) / _SECOND for time in times])  # (n,)
    width_s = _stretch(float(np.ptp(seconds))) if width is None else width / _SECOND
    numbers = np.floor(seconds / width_s)  # (n,)
    found = []
    for number in np.unique(numbers):
        inside = numbers == number
        start = _EPOCH + timedelta(seconds=float(number * width_s))
        end = start + timedelta(seconds=width_s)
        found.append(_bucket(start, end, scores[inside], p_values[inside], is_anomalous[inside]))
    return found


def uniformity(p_values: npt.NDArray[np.float64]) -> float | None:
    """How well p-values `(n,)` agree with the uniform distribution: Kolmogorov-Smirnov, Stephens' approximation (1970).

    Conformal p-values take the values k / (G + 1) only, so the distance is taken at the values that occur; between them
    it says nothing. None without p-values.
    """
    if not len(p_values):
        return None
    n, values = len(p_values), np.sort(p_values)
    levels = np.unique(values)
    share = np.searchsorted(values, levels, side="right") / n
    distance = float(np.max(np.abs(share - levels)))
    x = distance * (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n))
    if x < 0.3:  # the series converges slowly there, to 1 within 1e-5
        return 1.0
    tail = 2 * sum((-1.0) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 20))
    return min(1.0, max(0.0, tail))


def total_uniformity(found: Sequence[Bucket]) -> float | None:
    """How well the p-values of all stretches together agree with the uniform distribution, by their tenths."""
    counts = np.sum([one.p_values for one in found], axis=0)  # (10,)
    middles = (np.arange(_BINS) + 1) / _BINS
    return uniformity(np.repeat(middles, counts))


def _bucket(
    start: datetime,
    end: datetime,
    scores: npt.NDArray[np.float64],
    p_values: npt.NDArray[np.float64],
    is_anomalous: npt.NDArray[np.bool_],
) -> Bucket:
    known = p_values[~np.isnan(p_values)]
    low, lower, middle, upper, high = np.quantile(scores, _QUANTILES).tolist()
    bins = np.histogram(known, bins=_BINS, range=(0, 1))[0].tolist()
    quantiles = (low, lower, middle, upper, high)
    return Bucket(start, end, len(scores), int(is_anomalous.sum()), quantiles, tuple(bins), uniformity(known))


def _stretch(span_s: float) -> float:
    """The shortest usual stretch of time of which fifty hold the span; then whole weeks."""
    fitting = [stretch for stretch in _STRETCHES_S if stretch * 50 >= span_s]
    return float(fitting[0]) if fitting else math.ceil(span_s / 50 / _STRETCHES_S[-1]) * float(_STRETCHES_S[-1])
