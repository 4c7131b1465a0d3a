"""Conformal p-values and thresholds from leave-one-part-out scores of good images.

Several images can show one part (exposures, frames, rotations). Their scores are not independent, so every part
counts once, however many images show it: an image of a part with m images weighs 1/m. With G parts, a new part's
p-value is (1 + weight of the calibration scores at least as large) / (G + 1), the hierarchical conformal p-value
(Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical data"; Vovk et al. 2005 where every
part has one image). Judging p <= rate then flags at most that share of the images of new good parts in the long run,
whatever the distribution of the scores, as long as new good parts come from the same process. This is exact where the
model is the same for all scores. Here the model leaves a different part out for each, which changes it little; in the
worst case the rate could be twice as high (Barber et al. 2021, "Predictive inference with the jackknife+").

That is of images. Of new parts with m images each, up to m times as many have an image above the threshold. A verdict
of a part has a threshold of its own, from the largest score of each part: there every part is one value, so the same
formulas hold for parts.

Where the images are of several sessions, all this is of each session alone, and the largest threshold and p-value
count, of images and of parts: see `sessions.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.calibration.counted import Counted
from blemish.calibration.ranking import Ranking, rate_bound
from blemish.calibration.sessions import Sessions
from blemish.errors import UsageError
from blemish.metrics.rates import rate_text, rate_texts, rounded_up

DEFAULT_RATE = 0.01


@dataclass(frozen=True, eq=False)
class Calibration:
    """What good images score when their own part is left out.

    Attributes:
        scores: float64 `(n,)`, image score of each good image.
        peaks: float64 `(n,)`, largest value of each anomaly map.
        parts: int64 `(n,)`, number of the part that each image shows.
        false_alarm_rate: the rate in force, in (0, 1).
        kind: how the scores were held out; `one part` where there was nothing to leave out, so that the threshold is a
            guess (`blemish.calibration.views`).
        fixed_threshold: for an imported model without good images, the score and map value above which its origin
            called an image anomalous; there are no scores then, and nothing can be said of false alarms.
        group_by: the pattern that finds the part in an image's name; None where parts were found without one.
        sessions: the session that each image is of; None where all are taken for one.
        counted: of very many images, how much each entry counts (`compact.py`): entries then stand for several images,
            and there are no `parts`. None where each image has an entry.
        interpolated: whether thresholds lie between two scores where the rate lies between their p-values. Models of
            before have the larger of the two scores.
    """

    scores: npt.NDArray[np.float64]
    peaks: npt.NDArray[np.float64]
    parts: npt.NDArray[np.int64]
    false_alarm_rate: float = DEFAULT_RATE
    kind: str = "leave-one-part-out"
    fixed_threshold: float | None = None
    group_by: str | None = None
    sessions: Sessions | None = None
    counted: Counted | None = None
    interpolated: bool = True

    def __post_init__(self) -> None:
        if not len(self.scores) == len(self.peaks) == len(self.parts if self.counted is None else self.counted.weights):
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
        return cls(none, none, np.empty(0, np.int64), kind=kind, fixed_threshold=threshold, interpolated=False)

    @cached_property
    def part_count(self) -> int:
        """How many independent parts the images show."""
        return len(np.unique(self.parts)) if self.counted is None else self.counted.parts

    @property
    def image_count(self) -> int:
        """How many images there are."""
        return len(self.scores) if self.counted is None else self.counted.images

    @property
    def images_each(self) -> npt.NDArray[np.float64]:
        """How many images each score stands for `(n,)`: one, if they are not counted."""
        return np.ones(len(self.scores)) if self.counted is None else self.counted.images_each(self._numbers)

    def images_above(self, score: float) -> int:
        """How many images score above this; of a compact calibration, as its weights have it."""
        return round(float(self.images_each[self.scores > score].sum()))

    def sample(self, count: int) -> npt.NDArray[np.float64]:
        """The scores, or so many that are evenly dealt among them where there are more; float64, at most `(count,)`."""
        if self.image_count <= count:
            return self.scores
        order = np.argsort(self.scores, kind="stable")
        reached = np.cumsum(self.images_each[order])
        places = (np.arange(count) + 0.5) / count * reached[-1]
        return np.asarray(self.scores[order[np.searchsorted(reached, places)]])

    @cached_property
    def each_session(self) -> tuple[Calibration, ...]:
        """The calibration of each session alone, in their order; itself where there is but one."""
        if self.sessions is None:
            return (self,)
        return tuple(replace(self.chosen(own), sessions=None) for own in self.sessions.of_each())

    @property
    def is_calibrated(self) -> bool:
        """Whether false-alarm rates and p-values can be stated; one part is too few, and a fixed threshold has none."""
        return self.part_count > 1

    @property
    def stated_rate(self) -> float | None:
        """The false-alarm rate in force, None where nothing is calibrated."""
        return self.false_alarm_rate if self.is_calibrated else None

    @cached_property
    def images_per_part(self) -> tuple[int, int]:
        """The least and the largest number of images that show one part in a session; (1, 1) without scores."""
        if self.counted is not None:
            return self.counted.images_per_part
        counts = [np.unique(one.parts, return_counts=True)[1] for one in self.each_session]
        images = np.concatenate(counts)
        return (int(images.min()), int(images.max())) if len(images) else (1, 1)

    @property
    def has_several_images(self) -> bool:
        """Whether some part has several images, so that a verdict of a part is another than that of its images."""
        return self.images_per_part[1] > 1

    def p_value(self, score: float) -> float | None:
        """The share of good images that look at least this odd, every part counted once and the new one counted in.

        It lies in [1 / (G + 1), 1], and is the largest of the sessions'; None where nothing is calibrated. Where the
        calibration is `interpolated`, it falls evenly between two good scores.
        """
        return self._p_value(lambda one: one._scores_ranked, score)

    def part_p_value(self, score: float) -> float | None:
        """The share of good parts whose largest score is at least this one, the new one counted in.

        It is the largest of the sessions', and not below the p-value of an image; None where nothing is calibrated.
        """
        of_part = self._p_value(lambda one: one._largest_ranked, score)
        of_image = self.p_value(score) if self.interpolated else None
        return of_part if of_part is None or of_image is None else max(of_part, of_image)

    def threshold(self, rate: float | None = None) -> float:
        """The image score above which an image is anomalous at a false-alarm rate (default: the one in force).

        `score > threshold` is the same as `p_value(score) <= rate` where the parts support the rate. A rate below
        `best_rate` gets the largest good score, which keeps `best_rate`. Where it is `interpolated`, it lies between
        two good scores: see `Ranking` for what that assumes. Raises `UsageError` for a rate where nothing is
        calibrated.
        """
        return self._limit(lambda one: one._scores_ranked, rate)

    def part_threshold(self, rate: float | None = None) -> float:
        """The score above which the largest score of a part is anomalous at a false-alarm rate of parts.

        `largest > part_threshold` is the same as `part_p_value(largest) <= rate` where the parts support the rate. It
        holds for parts with as many images as those of the calibration; more images raise more alarms. It is not below
        the threshold of images, so that no part is anomalous of which no image is.
        """
        of_parts = self._limit(lambda one: one._largest_ranked, rate)
        return max(of_parts, self.threshold(rate)) if self.interpolated else of_parts

    def pixel_threshold(self, rate: float | None = None) -> float:
        """The map value that at most this share of good images exceeds anywhere."""
        return self._limit(lambda one: one._peaks_ranked, rate)

    @property
    def best_rate(self) -> float:
        """The smallest false-alarm rate that so many parts can support: those of the session with the fewest."""
        return 1 / (min(one.part_count for one in self.each_session) + 1)

    def supported_rate(self, rate: float | None = None) -> float | None:
        """The false-alarm rate that the threshold for a rate keeps: that, or `best_rate` where it is larger.

        None where nothing is calibrated.
        """
        return max(self._rate(rate), self.best_rate) if self.is_calibrated else None

    def upper_rate(self, rate: float | None = None) -> float:
        """The false-alarm rate of images that the threshold keeps with 95 % confidence.

        Where the threshold is the k-th largest of G independent scores, the rate that it has on new parts is
        distributed as Beta(k, G + 1 - k) (Vovk 2012). Between two scores, the bound lies between theirs (`rate_bound`).
        Where a part has several images, a share of a part may lie above the threshold besides the whole ones, so k is
        the whole number above. Of several sessions, the one that can be told least of counts.
        """
        return self._upper_rate(rate, lambda one: math.ceil if one.has_several_images else one._whole)

    def part_upper_rate(self, rate: float | None = None) -> float:
        """The false-alarm rate of parts that `part_threshold` keeps with 95 % confidence."""
        return self._upper_rate(rate, lambda one: one._whole)

    def statement(self, rate: float | None = None) -> str:
        """What the good images can promise at this rate, of images and of parts, in one to three sentences."""
        if self.fixed_threshold is not None:
            return f"Not calibrated: {self.fixed_threshold:g} is a fixed threshold, its false-alarm rate is unknown."
        shown = images_shown(self)
        if not self.is_calibrated:
            return (
                f"Not calibrated: {shown} {'is' if self.image_count == 1 else 'are'} too few for any false-alarm rate, "
                "so the threshold is a guess. Train with images of 20 parts or more."
            )
        rate, several = self._rate(rate), len(self.each_session) > 1
        held = f"95 % confidence: under {rate_text(rounded_up(self.upper_rate(rate)))}"
        of_images, of_parts = (" of images", self._part_statement(rate)) if self.has_several_images else ("", "")
        if rate < self.best_rate:
            needed = math.ceil(1 / rate - 1e-9) - 1
            best, asked = rate_texts(self.best_rate, rate)
            return (
                f"{shown} support a false-alarm rate of {best}{of_images} at best, not {asked}; {held}.{of_parts} "
                f"{needed} parts{' of every session' * several} would support {rate_text(rate)}."
            )
        in_each = " in each of them" * several
        return f"{shown} support a false-alarm rate of {rate_text(rate)}{of_images}{in_each}; {held}.{of_parts}"

    def with_rate(self, rate: float) -> Calibration:
        """The same calibration with another rate in force."""
        return replace(self, false_alarm_rate=self._rate(rate))

    def chosen(self, mask: npt.NDArray[np.bool_]) -> Calibration:
        """That of some of the images `(n,)`; of a compact calibration, whole sessions alone, else `UsageError`."""
        return replace(
            self,
            scores=self.scores[mask],
            peaks=self.peaks[mask],
            parts=self.parts[mask] if self.counted is None else self.parts,
            sessions=self.sessions and self.sessions.chosen(mask),
            counted=self.counted and self.counted.chosen(mask, self._numbers),
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
            "group_by": self.group_by,
            "sessions": self.sessions and self.sessions.to_json(),
            "counted": self.counted and self.counted.to_json(),
            "interpolated": self.interpolated,
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
            data.get("group_by"),
            None if data.get("sessions") is None else Sessions.from_json(data["sessions"]),
            None if data.get("counted") is None else Counted.from_json(data["counted"]),
            bool(data.get("interpolated", False)),
        )

    def _rate(self, rate: float | None) -> float:
        if rate is None:
            return self.false_alarm_rate
        if self.fixed_threshold is not None:
            raise UsageError("the model is not calibrated: import it with --good-images DIR, or set a threshold")
        if not self.is_calibrated:
            raise UsageError(
                "the model is not calibrated, since its good images show one part only: train it with images of 20 "
                "parts or more, or set a threshold"
            )
        return check_rate(rate)

    def _p_value(self, ranked: Callable[[Calibration], Ranking], score: float) -> float | None:
        return max(ranked(one).p_value(score) for one in self.each_session) if self.is_calibrated else None

    def _limit(self, ranked: Callable[[Calibration], Ranking], rate: float | None) -> float:
        rate = self._rate(rate)
        if self.fixed_threshold is not None:
            return self.fixed_threshold
        return max(ranked(one).limit(rate) for one in self.each_session)

    @property
    def _whole(self) -> Callable[[float], int] | None:
        """What makes a rank of a number of parts that is none; None where thresholds lie between ranks."""
        return None if self.interpolated else math.floor

    def _upper_rate(self, rate: float | None, whole: Callable[[Calibration], Callable[[float], int] | None]) -> float:
        if not self.is_calibrated:
            return 1.0
        rate = self._rate(rate)
        return max(rate_bound(rate, one.part_count, whole(one)) for one in self.each_session)

    def _part_statement(self, rate: float) -> str:
        held = rate_text(rounded_up(self.part_upper_rate(rate)))
        return f" Verdicts of parts: {rate_text(max(rate, self.best_rate))} of parts; 95 % confidence: under {held}."

    @property
    def _numbers(self) -> npt.NDArray[np.int64]:
        """The session of each entry `(n,)`."""
        return np.zeros(len(self.scores), np.int64) if self.sessions is None else self.sessions.numbers

    @cached_property
    def _scores_ranked(self) -> Ranking:
        return self._ranked(self.scores)

    @cached_property
    def _peaks_ranked(self) -> Ranking:
        return self._ranked(self.peaks)

    @cached_property
    def _largest_ranked(self) -> Ranking:
        if self.counted is None:
            return Ranking.of_largest(self.scores, self.parts, interpolated=self.interpolated)
        return self._scores_ranked if self.counted.largest is None else self._ranked(self.counted.largest)

    def _ranked(self, values: npt.NDArray[np.float64]) -> Ranking:
        """Of a value of each entry `(n,)`, all of one session."""
        if self.counted is None:
            return Ranking.of(values, self.parts, interpolated=self.interpolated)
        (totals,) = self.counted.totals
        weights, interpolated = self.counted.weights, self.interpolated
        return Ranking.of_weights(values, weights, totals.unit, totals.parts, interpolated=interpolated)


def check_rate(rate: float) -> float:
    """The rate, or `UsageError` if it is not between 0 and 1."""
    if not 0 < rate < 1:
        raise UsageError(f"a false-alarm rate lies between 0 and 1, for example 0.01; {rate} does not")
    return rate


def images_shown(calibration: Calibration) -> str:
    """How many good images of how many parts and sessions there are: `60 good images of 20 parts`."""
    images, parts, sessions = calibration.image_count, calibration.part_count, len(calibration.each_session)
    shown = f"{images} good image{'s' * (images != 1)}"
    if parts != images:
        shown += f" of {parts} part{'s' * (parts != 1)}"
    return shown + (f" in {sessions} sessions" if sessions > 1 else "")
