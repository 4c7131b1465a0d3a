"""Why a stream drifts: which statistic of its images has moved away from the early ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from blemish.drift.statistics import ImageStatistics

Cause: TypeAlias = Literal["brightness", "focus", "position"]
_MOVED = 1.0  # standard deviations among the reference images
_FEWEST = 5  # images on each side of the comparison
# the least deviation that counts: grey levels, logarithms of the focus, shares of the side
_LEAST = {"brightness": 1.0, "focus": 0.05, "position": 0.005}


def likely_cause(reference: Sequence[ImageStatistics], recent: Sequence[ImageStatistics]) -> tuple[Cause | None, str]:
    """The statistic that moved most, in deviations of the reference, and a sentence; None where none moved."""
    if min(len(reference), len(recent)) < _FEWEST:
        return None, "Too few statistics of images were recorded to name a cause."
    moves: dict[Cause, float] = {
        "brightness": _move(reference, recent, "brightness"),
        "focus": _move(reference, recent, "focus"),
        "position": _move(reference, recent, "position"),
    }
    cause = max(moves, key=lambda name: moves[name])
    if moves[cause] < _MOVED:
        return None, "Neither brightness nor focus nor position of the images has moved; look at the parts themselves."
    return cause, _sentence(cause, reference, recent)


def _move(reference: Sequence[ImageStatistics], recent: Sequence[ImageStatistics], name: str) -> float:
    """Distance of the means in deviations of the reference."""
    before, after = _values(reference, name), _values(recent, name)  # (n, d), (m, d)
    if min(len(before), len(after)) < _FEWEST:
        return 0.0
    deviation = np.maximum(before.std(axis=0), _LEAST[name])
    return float(np.abs((np.median(after, axis=0) - np.median(before, axis=0)) / deviation).max())


def _values(statistics: Sequence[ImageStatistics], name: str) -> npt.NDArray[np.float64]:
    """One row for each image in which the statistic is known."""
    if name == "brightness":
        rows = [[one.brightness] for one in statistics]
    elif name == "focus":
        rows = [[math.log(one.focus)] for one in statistics if one.focus > 0]
    else:
        rows = [[one.shift_x, one.shift_y] for one in statistics if one.shift_x is not None and one.shift_y is not None]
    return np.array(rows, np.float64).reshape(len(rows), 2 if name == "position" else 1)


def _sentence(cause: Cause, reference: Sequence[ImageStatistics], recent: Sequence[ImageStatistics]) -> str:
    before, after = (np.median(_values(side, cause), axis=0) for side in (reference, recent))
    if cause == "brightness":
        change = "brighter" if after[0] > before[0] else "darker"
        return f"The images became {change}: from {before[0]:.0f} to {after[0]:.0f} of 255 grey levels."
    if cause == "focus":
        share = 100 * (math.exp(after[0] - before[0]) - 1)
        change = "sharper" if share > 0 else "less sharp"
        return f"The images became {change}: their fine detail changed by {share:+.0f} %."
    right, down = 100 * (after - before)
    return f"The parts lie elsewhere: {right:+.1f} % of the width to the right, {down:+.1f} % of the height down."
