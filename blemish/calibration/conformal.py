"""Conformal p-values and thresholds from leave-one-part-out scores of good images.

Several images can show one part (exposures, frames, rotations). Their scores are not independent, so every part
counts once, however many images show it: an image of a part with m images weighs 1/m. With G parts, a new part's
p-value is (1 + weight of the calibration scores at least as large) / (G + 1), the hierarchical conformal p-value
(Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical data"; Vovk et al. 2005 where every
part has one image). Judging p <= rate then flags at most that share of the images of new good parts in the long run,
whatever the distribution of the scores, as long as new good parts come from the same process. This is exact where the
model is the same for all scores. Here the model leaves a different part out for each, which changes it little; in the
worst case the rate could be twice as high (Barber et al. 2021, "Predictive inference with the jackknife+").

Where the images are of several sessions, all this is of each session alone, and the largest threshold and p-value
count: see `sessions.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.calibration.sessions import Sessions
from blemish.errors import UsageError
from blemish.metrics.binomial import beta_quantile

DEFAULT_RATE = 0.01
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Calibration:
    """What good images score when their own part is left out.

    Attributes:
        scores: float64 `(n,)`, image score of each good image.
        peaks: float64 `(n,)`, largest value of each anomaly map.
        parts: int64 `(n,)`, number of the part that each image shows.
        false_alarm_rate: the rate in force, in (0, 1).
        kind: how the scores were held out; `one part` where there was nothing to leave out.
        fixed_threshold: for an imported model without good images, the score and map value above which its origin
            called an image anomalous; there are no scores then, and nothing can be said of false alarms.
        sessions: the session that each image is of; None where all are taken for one.
    """

    scores: npt.NDArray[np.float64]
    peaks: npt.NDArray[np.float64]
    parts: npt.NDArray[np.int64]
    false_alarm_rate: float = DEFAULT_RATE
    kind: str = "leave-one-part-out"
    fixed_threshold: float | None = None
    sessions: Sessions | None = None

    def __post_init__(self) -> None:
        if not len(self.scores) == len(self.peaks) == len(self.parts):
            raise UsageError("a calibration needs as many scores as peaks and parts")
        if self.sessions is not None and len(self.sessions.numbers) != len(self.scores):
            raise UsageError("a calibration needs a session for each score, or none at all")
        if (len(self.scores) == 0) == (self.fixed_threshold is None):
            raise UsageError("a calibration needs scores of good images, at least one, or else a fixed threshold")
        if not (np.isfinite(self.scores).all() and np.isfinite(self.peaks).all()):
            raise UsageError("a calibration score is not a finite number")
        check_rate(self.false_alarm_rate)

    @classmethod
    def fixed(cls, threshold: float, kind: str) -> Calibration:
        """No calibration at all: the threshold that a model without good images came with."""
        none = np.empty(0)
        return cls(none, none, np.empty(0, np.int64), kind=kind, fixed_threshold=threshold)

    @property
    def part_count(self) -> int:
        """How many independent parts the images show."""
        return len(np.unique(self.parts))

    @cached_property
    def each_session(self) -> tuple[Calibration, ...]:
        """The calibration of each session alone, in their order; itself where there is but one."""
        if self.sessions is None:
            return (self,)
        return tuple(replace(self.chosen(own), sessions=None) for own in self.sessions.of_each())

    def p_value(self, score: float) -> float:
        """The share of good parts that look at least this odd, the new one counted in: in [1 / (G + 1), 1]."""
        return max(_p_value(*one._scores_ranked, score) for one in self.each_session)

    def threshold(self, rate: float | None = None) -> float:
        """The image score above which an image is anomalous at a false-alarm rate (default: the one in force).

        `score > threshold` is the same as `p_value(score) <= rate` where the parts support the rate. A rate below
        `best_rate` gets the largest good score, which keeps `best_rate`.
        """
        return max(one._limit_of(one._scores_ranked, rate) for one in self.each_session)

    def pixel_threshold(self, rate: float | None = None) -> float:
        """The map value that at most this share of good images exceeds anywhere."""
        return max(one._limit_of(_ranked(one.peaks, one.parts), rate) for one in self.each_session)

    @property
    def best_rate(self) -> float:
        """The smallest false-alarm rate that so many parts can support: those of the session with the fewest."""
        return 1 / (min(one.part_count for one in self.each_session) + 1)

    def upper_rate(self, rate: float | None = None) -> float:
        """The false-alarm rate that the threshold keeps with 95 % confidence.

        The threshold is the k-th largest of G independent scores, so the rate that it has on new parts is
        distributed as Beta(k, G + 1 - k) (Vovk 2012). Of several sessions, the one that can be told least of counts.
        """
        if self.fixed_threshold is not None:
            return 1.0
        return max(one._upper_rate(self._rate(rate)) for one in self.each_session)

    def statement(self, rate: float | None = None) -> str:
        """What the good images can promise at this rate, in one or two sentences."""
        if self.fixed_threshold is not None:
            return f"Not calibrated: {self.fixed_threshold:g} is a fixed threshold, its false-alarm rate is unknown."
        rate = self._rate(rate)
        shown = images_shown(self)
        if self.part_count == 1:
            return f"{shown}: too few for any false-alarm rate; the threshold is a guess. Train with 20 parts or more."
        several = len(self.each_session) > 1
        held = f"95 % confidence: under {rate_text(_rounded_up(self.upper_rate(rate)))}"
        if rate < self.best_rate:
            needed = math.ceil(1 / rate - 1e-9) - 1
            return (
                f"{shown} support a false-alarm rate of {rate_text(self.best_rate)} at best, not {rate_text(rate)}; "
                f"{held}. {needed} parts{' of every session' * several} would support {rate_text(rate)}."
            )
        return f"{shown} support a false-alarm rate of {rate_text(rate)}{' in each of them' * several}; {held}."

    def with_rate(self, rate: float) -> Calibration:
        """The same calibration with another rate in force."""
        return replace(self, false_alarm_rate=self._rate(rate))

    def chosen(self, mask: npt.NDArray[np.bool_]) -> Calibration:
        """That of some of the images `(n,)`."""
        return replace(
            self,
            scores=self.scores[mask],
            peaks=self.peaks[mask],
            parts=self.parts[mask],
            sessions=self.sessions and self.sessions.chosen(mask),
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in `model.json`."""
        return {
            "kind": self.kind,
            "false_alarm_rate": self.false_alarm_rate,
            "scores": self.scores.tolist(),
            "peaks": self.peaks.tolist(),
            "parts": self.parts.tolist(),
            "fixed_threshold": self.fixed_threshold,
            "sessions": self.sessions and self.sessions.to_json(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Calibration:
        """The inverse of `to_json`."""
        return cls(
            np.asarray(data["scores"], np.float64),
            np.asarray(data["peaks"], np.float64),
            np.asarray(data["parts"], np.int64),
            float(data["false_alarm_rate"]),
            str(data["kind"]),
            data.get("fixed_threshold"),
            None if data.get("sessions") is None else Sessions.from_json(data["sessions"]),
        )

    def _rate(self, rate: float | None) -> float:
        if rate is None:
            return self.false_alarm_rate
        if self.fixed_threshold is not None:
            raise UsageError("the model is not calibrated: import it with --good-images DIR, or set a threshold")
        return check_rate(rate)

    def _upper_rate(self, rate: float) -> float:
        rank = max(1, math.floor(rate * (self.part_count + 1) + 1e-9))
        return beta_quantile(CONFIDENCE, rank, self.part_count + 1 - rank)

    def _limit_of(self, ranked: _Ranked, rate: float | None) -> float:
        rate = self._rate(rate)
        return _limit(*ranked, rate) if self.fixed_threshold is None else self.fixed_threshold

    @cached_property
    def _scores_ranked(self) -> _Ranked:
        return _ranked(self.scores, self.parts)


# Distinct values `(m,)`, ascending, and p-values `(m + 1,)`: that of the values above level i - 1 and up to level i.
_Ranked = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _ranked(values: npt.NDArray[np.float64], parts: npt.NDArray[np.int64]) -> _Ranked:
    _, part, images = np.unique(parts, return_inverse=True, return_counts=True)
    levels, level = np.unique(values, return_inverse=True)
    weights = np.bincount(level, 1 / images[part])  # (m,)
    at_least = np.append(np.cumsum(weights[::-1])[::-1], 0)  # (m + 1,)
    # Thirds that add up to almost one would miss a rate that they reach exactly.
    return levels, (1 + at_least.round(9)) / (len(images) + 1)


def _p_value(levels: npt.NDArray[np.float64], p_values: npt.NDArray[np.float64], score: float) -> float:
    return float(p_values[np.searchsorted(levels, score)])


def _limit(levels: npt.NDArray[np.float64], p_values: npt.NDArray[np.float64], rate: float) -> float:
    """The smallest level above which every value has a p-value within the rate; the largest if there is none."""
    return float(levels[min(int(np.count_nonzero(p_values[1:] > rate)), len(levels) - 1)])


def check_rate(rate: float) -> float:
    """The rate, or `UsageError` if it is not between 0 and 1."""
    if not 0 < rate < 1:
        raise UsageError(f"a false-alarm rate lies between 0 and 1, for example 0.01; {rate} does not")
    return rate


def images_shown(calibration: Calibration) -> str:
    """How many good images of how many parts and sessions there are: `60 good images of 20 parts`."""
    images, parts, sessions = len(calibration.scores), calibration.part_count, len(calibration.each_session)
    shown = f"{images} good image{'s' * (images != 1)}"
    if parts != images:
        shown += f" of {parts} part{'s' * (parts != 1)}"
    return shown + (f" in {sessions} sessions" if sessions > 1 else "")


def rate_text(rate: float) -> str:
    """A rate with two significant digits: 2.6 %, 14 %."""
    return f"{100 * rate:.2g} %" if rate < 0.095 else f"{100 * rate:.0f} %"


def _rounded_up(rate: float) -> float:
    """The rate in two digits, none below it: "under 4.9 %" must not be said of 4.94 %."""
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return math.ceil(rate / step - 1e-9) * step
