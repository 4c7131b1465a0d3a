"""AU-PIMO: how much of each defect is found at false-positive rates so low that a good image stays calm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blemish.metrics.counting import BITS, BLOCK, GROUPS, Ranks, Vector, ranks
from blemish.scratch import Kept

LOW, HIGH = 1e-5, 1e-4
FEWEST_PIXELS = round(1 / LOW)


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


def au_pimo(good: Sequence[Kept], defects: Sequence[Kept], rate_groups: Vector) -> AuPimo:
    """Area under the per-image overlap curve (Bertoldo et al. 2024, "AUPIMO", arXiv 2401.01984), exact on the pixels.

    x is the false-positive rate of a good image, averaged over good images only; y is the recall of the defect pixels
    of one anomalous image. The value is the mean of y over ln x from 1e-5 to 1e-4. Where scores are equal, y is linear
    in x between its values before and after them, as under a ROC curve.

    A good image of fewer than 100,000 pixels cannot show a rate of 1e-5: the value is computed all the same, and the
    note says that it is unreliable.

    Args:
        good: scores of every pixel of each good image, of any sizes.
        defects: scores of the defect pixels of each anomalous image, none empty.
        rate_groups: float64 `(GROUPS,)`, the shares of the good images' pixels in each group of ranks, summed up.
    """
    if not good or not defects:
        missing = "good" if not good else "anomalous"
        return AuPimo(None, np.empty(0), f"AU-PIMO is not defined: there is no {missing} image with a mask")
    levels, rate = _false_positive_rate(good, rate_groups / len(good))
    start = np.concatenate([[0.0], rate[:-1]])
    values = np.array([_area(start, rate, _recall(levels, image)) for image in defects])
    smallest = min(image.size for image in good)
    note = None
    if smallest < FEWEST_PIXELS:
        note = f"AU-PIMO is unreliable: a good image has {smallest:,} pixels, fewer than {FEWEST_PIXELS:,}"
    return AuPimo(float(values.mean()), values, note)


def _false_positive_rate(good: Sequence[Kept], rate_groups: Vector) -> tuple[Ranks, Vector]:
    """Distinct ranks `(k,)`, ascending, and the mean rate at or above each, to where it reaches `HIGH`."""
    reached = np.flatnonzero(np.cumsum(rate_groups) >= HIGH * (1 + 1e-9))
    last = int(reached[0]) if len(reached) else GROUPS - 1  # only pixels up to this group matter
    found, weights = [], []
    for image in good:
        for block in image.blocks(BLOCK):
            of = ranks(block)
            tail, counts = np.unique(of[of >> BITS <= last], return_counts=True)
            found.append(tail)
            weights.append(counts / (image.size * len(good)))
    levels, level = np.unique(np.concatenate(found), return_inverse=True)
    return levels, np.cumsum(np.bincount(level, np.concatenate(weights)))


def _recall(levels: Ranks, image: Kept) -> Vector:
    """Share of an image's defect pixels above, and at or above, each rank: `(2, k)`."""
    found = np.zeros((2, len(levels)), np.int64)
    for block in image.blocks(BLOCK):
        of = ranks(block)
        of = np.sort(of[of <= levels[-1]])
        found += [np.searchsorted(of, levels, side) for side in ("left", "right")]
    return found / image.size


def _area(start: Vector, end: Vector, recall: Vector) -> float:
    """Mean over ln x in LOW .. HIGH of the curve that runs linearly in x from recall[0] to recall[1] on each piece."""
    inside = (end > LOW) & (start < HIGH)
    start, end, (before, after) = start[inside], end[inside], recall[:, inside]
    slope = (after - before) / (end - start)
    low, high = np.maximum(start, LOW), np.minimum(end, HIGH)
    area = (before - slope * start) * np.log(high / low) + slope * (high - low)
    return float(area.sum() / np.log(HIGH / LOW))
