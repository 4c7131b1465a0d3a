"""The drift alarm: a conformal test martingale on the p-values of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from blemish.drift.statistics import ImageStatistics


@dataclass(frozen=True)
class Alarm:
    """The alarm: at which observation it was raised, when the change likely began, and what likely changed.

    `raised` and `began` count the observations from 0. `cause` is None where no statistic moved. `evidence` is the largest
    value that the martingale reached, 1 / alpha or more.
    """

    raised: int
    began: int
    cause: Literal["brightness", "focus", "position"] | None
    explanation: str
    evidence: float


class DriftAlarm:
    """Watches one model's stream; `alpha` is the chance that it ever alarms in a stream that does not change."""

    def __init__(self, calibration: npt.NDArray[np.float64], alpha: float = 0.01, seed: int = 0) -> None:
        raise NotImplementedError

    @property
    def evidence(self) -> float:
        """The martingale's value now; large is a sign of drift, 1 / alpha raises the alarm."""
        raise NotImplementedError

    @property
    def alarm(self) -> Alarm | None:
        """The alarm since the last `reset`; None while all is well."""
        raise NotImplementedError

    def observe(self, score: float, statistics: ImageStatistics | None = None) -> Alarm | None:
        """Take in one image's score; returns the alarm when this observation raises it."""
        raise NotImplementedError

    def reset(self) -> None:
        """Begin anew after an alarm was attended to; what is seen next is the new reference."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """The whole state, for `Store.settings`."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> DriftAlarm:
        """The inverse of `to_json`. Raises `UsageError` for what is no such state."""
        raise NotImplementedError
