"""The pixel curves of a category, kept exactly at every score that a defect pixel has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blemish.metrics.counting import Counts, Floats, count_above, last_of_equals

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PixelCurve:
    """All thresholds at which a curve over defect pixels can bend, falling: the distinct scores of defect pixels.

    Between two of them only good pixels are passed, so that counting these at both ends loses nothing.

    Attributes:
        hits: int64 `(k,)`, defect pixels at or above each score.
        overlap: float64 `(k,)`, share of a defect region at or above it, averaged over the regions.
        above: int64 `(k,)`, good pixels above it.
        alarms: int64 `(k,)`, good pixels at or above it.
        good: number of good pixels.
    """

    hits: Counts
    overlap: Vector
    above: Counts
    alarms: Counts
    good: int

    @classmethod
    def of(cls, scores: Floats, regions: npt.NDArray[np.int32], good: Sequence[Floats]) -> PixelCurve:
        """From the scores `(p,)` of defect pixels, the number of each one's region, and the scores of good pixels."""
        thresholds, hits, overlap = _falling(scores, regions)
        above, alarms = count_above(thresholds[::-1], good)
        return cls(hits, overlap, above[::-1], alarms[::-1], sum(map(len, good)))

    def auroc(self) -> float:
        """P(score of a defect pixel > score of a good one) + P(equal) / 2."""
        gained = np.diff(self.hits, prepend=0)
        return float(np.sum(gained * (self.good - (self.above + self.alarms) / 2)) / self.good / self.hits[-1])

    def average_precision(self) -> float:
        """Sum over falling scores of (gain in recall) x precision."""
        gained = np.diff(self.hits, prepend=0)
        return float(np.sum(gained * (self.hits / (self.hits + self.alarms))) / self.hits[-1])

    def pro(self, limit: float) -> tuple[Vector, Vector]:
        """(false-positive rate, per-region overlap) `(m,)` from (0, 0) to the limit, interpolated there."""
        rate = np.zeros(2 * len(self.hits) + 2)
        overlap = np.zeros_like(rate)
        rate[1:-1:2], rate[2:-1:2] = self.above / self.good, self.alarms / self.good
        overlap[3:-1:2], overlap[2:-1:2] = self.overlap[:-1], self.overlap
        rate[-1] = overlap[-1] = 1
        end = int(np.searchsorted(rate, limit, "right"))
        level = np.interp(limit, rate[end - 1 : end + 1], overlap[end - 1 : end + 1])
        return np.append(rate[:end], limit), np.append(overlap[:end], level)

    def au_pro(self, limit: float) -> float:
        """Area under the curve up to the limit, divided by the limit."""
        rate, overlap = self.pro(limit)
        return float(np.sum(np.diff(rate) * (overlap[1:] + overlap[:-1]) / 2) / limit)


def _falling(scores: Floats, regions: npt.NDArray[np.int32]) -> tuple[Floats, Counts, Vector]:
    """Distinct scores `(k,)`, falling, with the defect pixels and the overlap at or above each."""
    order = np.argsort(scores)[::-1]
    ordered = scores[order]
    last = last_of_equals(ordered)
    sizes = np.bincount(regions)
    overlap = (1 / (sizes * len(sizes)))[regions[order]]
    np.cumsum(overlap, out=overlap)
    return ordered[last], last + 1, overlap[last]
