"""The headline: how many defects are found at each promised false-alarm rate, and at the price of what.

Every threshold is set from good images alone (`blemish.calibration`), none on the images that are judged here. A rate
that so few good images do not support is replaced by the smallest one that they do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from blemish.calibration import Calibration, images_shown
from blemish.evaluation.rates import rate_of
from blemish.metrics.rates import rate_texts
from blemish.pipeline.predictor import Limit
from blemish.report import FoundAtRates, Judged, OperatingPoint, Rate, RateChange

RATES = (0.01, 0.02, 0.05, 0.1)
# A type of defect is one that the model is blind to if none of so many is found, or if not even the upper end of the
# 95 % interval reaches this share.
BLIND_FEWEST, BLIND_SHARE = 3, 0.5
# A larger rate pays if it finds so many of the defects more than the model's own.
PAYS = 0.05


class Case(NamedTuple):
    """An image, or a part by its largest score, with the types of defect that it shows; none where it is good."""

    score: float
    kinds: tuple[str, ...]


def found_at_rates(
    judged: Sequence[Judged], parts: Sequence[Case], calibration: Calibration, limit: Limit, model: str | Path
) -> FoundAtRates:
    """What is found at `RATES`, at the model's own rate and at the one in force, of parts if there are any.

    A limit without a rate comes first, as a point of its own. `model` is what the command names that changes the rate.
    """
    images = [Case(image.score, () if image.is_good else (image.kind,)) for image in judged if image.score is not None]
    threshold = calibration.part_threshold if parts else calibration.threshold
    points = _points(_Truth.of(parts or images), calibration, limit, threshold)
    in_force = next(point for point in points if point.in_force)
    return FoundAtRates(
        noun="part" if parts else "image",
        points=points,
        blind=tuple(kind for kind, found in in_force.kinds.items() if is_blind(found)),
        support=_support(points, calibration),
        change=_change(points, calibration, model),
    )


def held_rate(rate: float, least: float) -> float:
    """The rate that a model keeps when asked for another; `least` is the smallest that its good images support."""
    return max(rate, least)


def is_blind(found: Rate) -> bool:
    """Whether next to nothing of a type of defect is found: see `BLIND_FEWEST`, `BLIND_SHARE`."""
    return found.interval[1] < BLIND_SHARE or (found.count == 0 and found.total >= BLIND_FEWEST)


@dataclass(frozen=True, eq=False)
class _Truth:
    """The scores `(n,)`, which of them are of defects `(n,)`, and which of each type `(n,)`."""

    scores: npt.NDArray[np.float64]
    is_defect: npt.NDArray[np.bool_]
    kinds: dict[str, npt.NDArray[np.bool_]]

    @classmethod
    def of(cls, cases: Sequence[Case]) -> _Truth:
        kinds = sorted({kind for case in cases for kind in case.kinds})
        return cls(
            np.array([case.score for case in cases], np.float64),
            np.array([bool(case.kinds) for case in cases], np.bool_),
            {kind: np.array([kind in case.kinds for case in cases], np.bool_) for kind in kinds},
        )


def _points(
    truth: _Truth, calibration: Calibration, limit: Limit, threshold: Callable[[float], float]
) -> tuple[OperatingPoint, ...]:
    points = [] if limit.rate is not None else [_point(truth, limit.score, None, (), in_force=True)]
    asked: dict[float, list[float]] = {}  # by the rate that is kept
    if calibration.is_calibrated:
        for rate in sorted({*RATES, calibration.false_alarm_rate, limit.rate or calibration.false_alarm_rate}):
            asked.setdefault(held_rate(rate, calibration.best_rate), []).append(rate)
    for rate, rates in asked.items():
        points.append(_point(truth, threshold(rate), rate, tuple(rates), in_force=limit.rate in rates))
    return tuple(points)


def _point(
    truth: _Truth, threshold: float, rate: float | None, asked: tuple[float, ...], *, in_force: bool
) -> OperatingPoint:
    flagged = truth.scores > threshold  # (n,)

    def share(of: npt.NDArray[np.bool_]) -> Rate | None:
        return rate_of(int(np.sum(flagged & of)), int(of.sum())) if of.any() else None

    return OperatingPoint(
        asked=asked,
        rate=rate,
        threshold=threshold,
        found=share(truth.is_defect),
        false_alarms=share(~truth.is_defect),
        kinds={kind: found for kind, of in truth.kinds.items() if (found := share(of)) is not None},
        in_force=in_force,
    )


def _support(points: Sequence[OperatingPoint], calibration: Calibration) -> str | None:
    """Why rates that were asked for are not kept, and how many good parts it takes."""
    unsupported = [rate for point in points for rate in point.unsupported]
    if not unsupported:
        return None
    least, *shown = rate_texts(calibration.best_rate, *unsupported)
    noun = "good images" if calibration.part_count == calibration.image_count else "good parts"
    each = " of every session" if len(calibration.each_session) > 1 else ""
    needed = ", ".join(
        f"{text} takes {math.ceil(1 / rate - 1e-9) - 1:,}{f' {noun}{each}' if rate == unsupported[0] else ''}"
        for rate, text in zip(unsupported, shown, strict=True)
    )
    return f"{images_shown(calibration)} support no rate below {least}: {needed}."


def _change(points: Sequence[OperatingPoint], calibration: Calibration, model: str | Path) -> RateChange | None:
    """The larger rate of the highest Youden index, the share of defects found less the rate, where it pays."""
    own = next((point for point in points if calibration.false_alarm_rate in point.asked), None)
    if own is None or own.found is None:
        return None
    best = max(points[points.index(own) :], key=_youden)  # the smallest of equal ones
    if best.found is None or best.found.value - own.found.value < PAYS:
        return None
    return RateChange(own, best, f"blemish update {quote(str(model))} --false-alarm-rate {100 * best.asked[-1]:g}%")


def _youden(point: OperatingPoint) -> float:
    assert point.found is not None and point.rate is not None
    return point.found.value - point.rate
