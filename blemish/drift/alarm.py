"""The drift alarm: are the images of a stream still those of the session before, or of the model's good images?

Every score becomes a p-value: its rank among the scores of the good images and those of the stream so far, ties broken
at random. While the stream is like the good images, these p-values are independent and uniform, exactly, however few
good images there are (Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World"), and a martingale on
them grows only by chance. Once the scores of `KEPT` images are known, no further ones join them; what such a sample is
off by lies far below the contamination that the martingale tolerates.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.drift.causes import Cause, likely_cause
from blemish.drift.martingale import Martingale
from blemish.drift.statistics import ImageStatistics
from blemish.errors import UsageError

KEPT = 2000  # scores that a new one is ranked among
REFERENCE = 100  # images whose statistics a cause is compared with
RECENT = 100
_LEAST_RECENT = 10


@dataclass(frozen=True)
class Alarm:
    """What is known of a drift.

    Attributes:
        raised, began: numbers of observations, from 0: what raised the alarm, and where the change likely began.
        cause: None where no statistic of the images moved, or none was given.
        explanation: a sentence or two for the operator.
        evidence: value of the martingale, 1 / alpha or more.
    """

    raised: int
    began: int
    cause: Cause | None
    explanation: str
    evidence: float


class DriftAlarm:
    """Watches one model's stream. Not for several threads at once.

    Args:
        calibration: float `(n,)`, scores that the stream is compared with from its first image on; without them, with
            its own earlier ones. Those of a `Calibration` (`sample`) were made by leaving images out, and can differ
            from those of new images by so much that a sound line raises the alarm.
        alpha: the chance that it ever alarms in a stream that does not change.
        tolerance: the share of images that may be defects without being a drift.
        reference: statistics of good images; those of the stream's first images join them, up to `REFERENCE`.
        seed: of the random numbers that break ties.
    """

    def __init__(
        self,
        calibration: npt.NDArray[np.float64] | Sequence[float] = (),
        *,
        alpha: float = 0.01,
        tolerance: float = 0.05,
        reference: Sequence[ImageStatistics] = (),
        seed: int = 0,
    ) -> None:
        if not (0 < alpha < 1 and 0 <= tolerance < 1):
            raise UsageError("alpha and the tolerance of a drift alarm lie between 0 and 1")
        self.alpha = alpha
        self.alarm: Alarm | None = None
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._first = sorted(float(score) for score in calibration)
        if len(self._first) > KEPT:
            self._first = sorted(self._random.choice(self._first, KEPT, replace=False).tolist())
        self._seen: list[float] = []  # scores of the stream, in order, up to `KEPT` with the first ones
        self._scores = list(self._first)  # both, sorted
        self._martingale = Martingale(tolerance)
        self._given = list(reference[:REFERENCE])
        self._reference = [(-1, one) for one in self._given]
        self._recent: deque[tuple[int, ImageStatistics]] = deque(maxlen=RECENT)

    @property
    def observed(self) -> int:
        """How many images were taken in since the beginning or the last reset."""
        return self._martingale.steps

    @property
    def evidence(self) -> float:
        """The martingale's value: about 1 or less while all is well, 1 / alpha raises the alarm."""
        return self._martingale.value

    @property
    def beginnings(self) -> frozenset[int]:
        """The numbers of observations of which one will be `Alarm.began`, unless a later one is."""
        return frozenset(self._martingale.lowest_at)

    def observe(self, score: float, statistics: ImageStatistics | None = None) -> Alarm | None:
        """Take in one image's score; returns the alarm when this one raises it.

        After an alarm nothing is taken in until `reset`. Raises `UsageError` for a score that is not finite.
        """
        if not np.isfinite(score):
            raise UsageError("a drift alarm needs finite scores")
        if self.alarm is not None:
            return None
        if statistics is not None:
            self._remember(statistics)
        evidence = self._martingale.observe(self._p_value(score))
        if len(self._scores) < KEPT:
            self._seen.append(float(score))
            insort(self._scores, float(score))
        if evidence * self.alpha >= 1:
            self.alarm = self._explained(evidence)
        return self.alarm

    def reset(self, accept: bool = False) -> None:
        """Begin anew after an alarm was attended to.

        Where the cause was mended, the good images and what the stream showed before the change are the reference
        again; with `accept`, the new session is the right one, and the images that come next are the new reference.
        """
        before = 0 if self.alarm is None else self.alarm.began
        self._first = [] if accept else sorted(self._first + self._seen[:before])
        self._given = [] if accept else [one for at, one in self._reference if at < before]
        self.alarm = None
        self._seen, self._scores = [], list(self._first)
        self._martingale = Martingale(self._martingale.tolerance)
        self._reference = [(-1, one) for one in self._given]
        self._recent.clear()

    def to_json(self) -> dict[str, Any]:
        """The whole state, JSON-able, for `Store.settings`."""
        return {
            "alpha": self.alpha,
            "alarm": None if self.alarm is None else asdict(self.alarm),
            "first": self._first,
            "seen": list(self._seen),
            "martingale": self._martingale.to_json(),
            "given": [asdict(one) for one in self._given],
            "reference": [[at, asdict(one)] for at, one in self._reference],
            "recent": [[at, asdict(one)] for at, one in self._recent],
            "random": self._random.bit_generator.state,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> DriftAlarm:
        """The inverse of `to_json`. Raises `UsageError` for what is no such state."""
        try:
            self = cls(data["first"], alpha=data["alpha"])
            self.alarm = None if data["alarm"] is None else Alarm(**data["alarm"])
            self._seen = [float(score) for score in data["seen"]]
            self._scores = sorted(self._first + self._seen)
            self._martingale = Martingale(**data["martingale"])
            self._given = [ImageStatistics(**one) for one in data["given"]]
            self._reference = [(at, ImageStatistics(**one)) for at, one in data["reference"]]
            self._recent.extend((at, ImageStatistics(**one)) for at, one in data["recent"])
            self._random.bit_generator.state = data["random"]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"this is no state of a drift alarm: {error}") from error
        return self

    def _p_value(self, score: float) -> float:
        """The smoothed rank among the scores known so far, the new one counted in."""
        above = len(self._scores) - bisect_right(self._scores, score)
        equal = 1 + bisect_right(self._scores, score) - bisect_left(self._scores, score)
        return (above + self._random.random() * equal) / (len(self._scores) + 1)

    def _remember(self, statistics: ImageStatistics) -> None:
        at = self._martingale.steps
        self._recent.append((at, statistics))
        if len(self._reference) < REFERENCE:
            self._reference.append((at, statistics))

    def _explained(self, evidence: float) -> Alarm:
        raised, began = self._martingale.steps - 1, self._martingale.began
        since = [one for at, one in self._recent if at >= began]
        recent = since if len(since) >= _LEAST_RECENT else [one for _, one in self._recent][-_LEAST_RECENT:]
        reference = [one for at, one in self._reference if at < began]
        cause, sentence = likely_cause(reference, recent)
        share = f"evidence {evidence:.0f} to 1"
        where = "from the first image on" if began == 0 else f"since image {began + 1} of {raised + 1}"
        explanation = f"The scores have shifted {where}, as in another session ({share}). {sentence}"
        return Alarm(raised, began, cause, explanation, evidence)
