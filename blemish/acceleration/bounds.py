"""What a lower precision must keep: the order of images, the defects that are found, and the rate of false alarms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from blemish.acceleration.held_out import HeldOut, Scores
from blemish.calibration import Calibration
from blemish.metrics import auroc, binomial_interval

AUROC_LOSS = 0.01  # of good images against the same with planted defects
DETECTION_LOSS = 0.05  # share of planted defects above the threshold
LEAST_RANK_CORRELATION = 0.95  # of the scores of all these images
ALARM_LEVEL = 0.98  # two-sided, so that chance refuses one sound model in a hundred

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Figures:
    """Float32's figure, the lower precision's, and the faults that they are."""

    auroc: tuple[float, float]
    detected: tuple[float, float]
    rank_correlation: float
    alarms: int
    images: int
    rate: float  # false-alarm rate that the thresholds were set for
    faults: tuple[str, ...]

    def text(self) -> str:
        """All of it in one line."""
        return (
            f"rank correlation {self.rank_correlation:.3f}, AUROC of planted defects {self.auroc[1]:.3f} (float32 "
            f"{self.auroc[0]:.3f}), found at the threshold {self.detected[1]:.1%} (float32 {self.detected[0]:.1%}), "
            f"false alarms {self.alarms} of {self.images} at a rate of {self.rate:.2g}"
        )


def figures(held_out: HeldOut, rate: float) -> Figures:
    """How the lower precision does on images that were not learned from."""
    exact, lower = held_out.exact, held_out.lower
    areas = _area(exact), _area(lower)
    detected = _detected(exact, held_out, rate), _detected(lower, held_out, rate)
    correlation = _rank_correlation(
        np.concatenate([exact.good, exact.planted]), np.concatenate([lower.good, lower.planted])
    )
    alarms, stated = _cross_checked(held_out.calibration(rate))
    images = len(held_out.stated.scores)
    faults = []
    if correlation < LEAST_RANK_CORRELATION:
        faults.append(f"the rank correlation is under {LEAST_RANK_CORRELATION}")
    if areas[1] < areas[0] - AUROC_LOSS:
        faults.append(f"the AUROC falls by more than {AUROC_LOSS}")
    if detected[1] < detected[0] - DETECTION_LOSS:
        faults.append(f"more than {DETECTION_LOSS:.0%} of the planted defects are lost")
    if binomial_interval(alarms, images, ALARM_LEVEL)[0] > stated:
        faults.append("there are more false alarms than chance explains")
    return Figures(areas, detected, correlation, alarms, images, stated, tuple(faults))


def _area(scores: Scores) -> float:
    labels = np.repeat([False, True], len(scores.good))
    return auroc(labels, np.concatenate([scores.good, scores.planted]))


def _detected(scores: Scores, held_out: HeldOut, rate: float) -> float:
    """Share of the planted defects above the threshold that the same precision's good images set."""
    threshold = replace(held_out.stated, scores=scores.good, peaks=scores.peaks).threshold(rate)
    return float((scores.planted > threshold).mean())


def _cross_checked(calibration: Calibration) -> tuple[int, float]:
    """False alarms in each half of the parts at the threshold of the other, and the rate these thresholds support."""
    numbers = np.unique(calibration.parts, return_inverse=True)[1]
    alarms, rates = 0, []
    for half in (numbers % 4 < 2, numbers % 4 >= 2):  # halves that cut across those the detector was computed from
        other = calibration.chosen(~half)
        alarms += int((calibration.scores[half] > other.threshold()).sum())
        rates.append(max(other.best_rate, calibration.false_alarm_rate))
    return alarms, max(rates)


def _rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's; ties keep their order, which float32 scores hardly have."""
    ranks = np.stack([np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (one, other)])
    centred = ranks - ranks.mean(axis=1, keepdims=True)  # (2, n)
    return float(centred[0] @ centred[1] / np.sqrt((centred**2).sum(axis=1).prod(dtype=np.float64)))
