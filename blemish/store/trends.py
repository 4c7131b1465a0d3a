"""What the inspections of a while come to: defect rate, scores and p-values over time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt


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
