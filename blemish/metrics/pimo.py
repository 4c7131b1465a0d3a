"""AU-PIMO: how much of each defect is found at false-positive rates so low that a good image stays calm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blemish.metrics.counting import Floats, last_of_equals, sample

LOW, HIGH = 1e-5, 1e-4
FEWEST_PIXELS = round(1 / LOW)

_SAMPLE = 1 << 20


@dataclass(frozen=True, eq=False)
class AuPimo:
    """The mean over anomalous images, and each one's value in the order in which they were added.

    Attributes:
        mean: in [0, 1]; None if it is not defined.
        per_image: float64 `(n,)`, one value per anomalous image; empty if not defined.
        note: why it is not defined, or why it is not reliable; None if nothing stands against it.
    """

    mean: float | None
    per_image: npt.NDArray[np.float64]
    note: str | None


def au_pimo(good: Sequence[Floats], defects: Sequence[Floats]) -> AuPimo:
    """Area under the per-image overlap curve (Bertoldo et al. 2024, "AUPIMO", arXiv 2401.01984), exact on the pixels.

    x is the false-positive rate of a good image, averaged over good images only; y is the recall of the defect pixels
    of one anomalous image. The value is the mean of y over ln x from 1e-5 to 1e-4. Where scores are equal, y is linear
    in x between its values before and after them, as under a ROC curve.

    A good image of fewer than 100,000 pixels cannot show a rate of 1e-5: the value is computed all the same, and the
    note says that it is unreliable.

    Args:
        good: flat scores of every pixel of each good image, of any sizes.
        defects: flat scores of the defect pixels of each anomalous image, none empty.
    """
    if not good or not defects:
        missing = "good" if not good else "anomalous"
        return AuPimo(None, np.empty(0), f"AU-PIMO is not defined: there is no {missing} image with a mask")
    scores, rate = _false_positive_rate(good)
    start = np.concatenate([[0.0], rate[:-1]])
    values = np.array([_area(start, rate, _recall(scores, np.sort(image))) for image in defects])
    smallest = min(map(len, good))
    note = None
    if smallest < FEWEST_PIXELS:
        note = f"AU-PIMO is unreliable: a good image has {smallest:,} pixels, fewer than {FEWEST_PIXELS:,}"
    return AuPimo(float(values.mean()), values, note)


def _false_positive_rate(good: Sequence[Floats]) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Distinct scores `(k,)`, falling, and the mean rate at or above each, to where it reaches `HIGH`."""
    floor = _floor(good)
    tails = [image[image >= floor] for image in good]
    weights = np.concatenate([np.full(len(t), 1 / (len(i) * len(good))) for t, i in zip(tails, good, strict=True)])
    scores = np.concatenate(tails)
    order = np.argsort(scores)[::-1]
    scores = scores[order]
    last = last_of_equals(scores)
    return scores[last], np.cumsum(weights[order])[last]


def _floor(good: Sequence[Floats]) -> float:
    """A score, near the highest, at or above which the mean rate is `HIGH` or more: only pixels from it up matter."""
    ordered = sample(good, _SAMPLE)
    share = 2 * HIGH
    while share < 1:
        floor = float(ordered[int((1 - share) * (len(ordered) - 1))])
        if np.mean([np.count_nonzero(image >= floor) / len(image) for image in good]) >= HIGH:
            return floor
        share *= 4
    return -np.inf


def _recall(scores: Floats, defect: Floats) -> npt.NDArray[np.float64]:
    """Share of the sorted defect pixels above, and at or above, each score: `(2, k)`."""
    found = [len(defect) - np.searchsorted(defect, scores, side) for side in ("right", "left")]
    return np.stack(found) / len(defect)


def _area(start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], recall: npt.NDArray[np.float64]) -> float:
    """Mean over ln x in LOW .. HIGH of the curve that runs linearly in x from recall[0] to recall[1] on each piece."""
    inside = (end > LOW) & (start < HIGH)
    start, end, (before, after) = start[inside], end[inside], recall[:, inside]
    slope = (after - before) / (end - start)
    low, high = np.maximum(start, LOW), np.minimum(end, HIGH)
    area = (before - slope * start) * np.log(high / low) + slope * (high - low)
    return float(area.sum() / np.log(HIGH / LOW))
