"""Metrics of anomaly maps against masks, exact at full resolution over all images of a category."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError
from blemish.metrics.confusion import Confusion
from blemish.metrics.counting import GROUPS, Counts, Floats, Vector, count_groups, in_blocks
from blemish.metrics.curve import PixelCurve, Pixels
from blemish.metrics.pimo import AuPimo, au_pimo
from blemish.scratch import Kept, Scratch

MEMORY = 1 << 30  # bytes of scores that are held in memory


class PixelScores:
    """Collects the maps and masks of one category, image by image, and measures them.

    Maps are raw (larger is more anomalous) and as large as the original image; images may differ in size. It keeps 4
    bytes for each pixel, 8 for one of a defect, and at the end up to 32 for each distinct score of a defect pixel: up
    to `memory` bytes of all this in memory, the rest in a file in `folder` that has no name. Beside that, it takes no
    more than 0.5 GB and what two maps of the largest image take, however many images come. A metric that is not defined
    on what was added is None, and `undefined` says why.
    """

    def __init__(self, memory: int = MEMORY, folder: Path | None = None) -> None:
        self._scratch = Scratch(memory, folder)
        self._good: list[Kept] = []  # every pixel of each good image
        self._around: list[Kept] = []  # pixels of each anomalous image outside its defects
        self._defects: list[Kept] = []  # and those inside
        self._regions: list[Kept] = []  # the number of the region that each of these belongs to
        self._region_sizes: list[Counts] = []
        self._region_count = 0
        self._good_groups, self._defect_groups = np.zeros(GROUPS, np.int64), np.zeros(GROUPS, np.int64)
        self._rate_groups = np.zeros(GROUPS)  # of good images alone, whatever their size each counts as one
        self._ranked: PixelCurve | None = None

    def add(self, anomaly_map: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_] | None = None) -> None:
        """Add one image: its map float32 `(H, W)`, and its mask bool `(H, W)`, True on defects.

        No mask, or one without a defect pixel, is a good image. Nothing of the arrays is referred to afterwards.
        Raises `UsageError` if the map is not a finite `(H, W)` image, the mask is not as large, or the disk is full.
        """
        scores = np.asarray(anomaly_map, np.float32)
        if scores.ndim != 2 or not scores.size:
            raise UsageError(f"an anomaly map has two dimensions, height and width, not the shape {scores.shape}")
        if not np.isfinite(scores).all():
            raise UsageError("an anomaly map holds values that are not finite numbers (NaN or infinite)")
        if mask is not None and (mask.shape != scores.shape or mask.dtype != np.bool_):
            raise UsageError(f"a {mask.dtype} mask {mask.shape} does not fit a map {scores.shape}: bool, same size")
        self._ranked = None
        if mask is None or not mask.any():
            self._keep(self._good, scores.flatten(), self._good_groups)
            return
        labels, count = _connected_components(mask)
        self._keep(self._defects, scores[mask], self._defect_groups)
        if not mask.all():
            self._keep(self._around, scores[~mask], self._good_groups)
        regions = labels[mask]
        self._region_sizes.append(np.bincount(regions, minlength=count + 1)[1:])
        self._regions.append(self._scratch.keep(regions + np.int32(self._region_count - 1)))
        self._region_count += count

    def _keep(self, place: list[Kept], scores: Floats, totals: Counts) -> None:
        """Keep scores `(n,)`, and count them by group of ranks."""
        place.append(self._scratch.keep(scores))
        groups, counts = count_groups(scores)
        totals[groups] += counts
        if place is self._good:
            self._rate_groups[groups] += counts / len(scores)

    @property
    def undefined(self) -> str | None:
        """Why the metrics over good and defect pixels are None, or None if they are defined."""
        if not self._defects:
            return "no pixel is marked as a defect"
        return None if self._negatives else "no pixel is good"

    def pixel_auroc(self) -> float | None:
        """P(score of a defect pixel > score of a good one) + P(equal) / 2, over all pixels of all images."""
        curve = self._curve()
        return None if curve is None else curve.auroc()

    def pixel_ap(self) -> float | None:
        """Average precision (step-wise, as of images) over all pixels of all images."""
        curve = self._curve()
        return None if curve is None else curve.average_precision()

    def au_pro(self, limit: float = 0.3) -> float | None:
        """Area under the per-region overlap (PRO) over the false-positive rate 0 .. limit, divided by the limit.

        At a threshold, PRO is the share of a defect region (8-connected, at full resolution) that lies at or above it,
        averaged over all regions of the category; the rate is that of all good pixels, of good and of anomalous images.
        Equal scores fall together; the curve starts at (0, 0) and is interpolated linearly at the limit. As defined by
        Bergmann et al. 2021, "The MVTec Anomaly Detection Dataset", IJCV 129.
        Raises `UsageError` if the limit is not in (0, 1].
        """
        curve = self._curve()
        return None if curve is None else curve.au_pro(_check_limit(limit))

    def pro_curve(self, points: int = 500, limit: float = 1.0) -> tuple[Vector, Vector] | None:
        """(false-positive rate, PRO), each `(m,)`, up to the limit, for a plot: about `points` exact points.

        They lie evenly along the curve, so that none of its bends is lost by more than a line's width.
        Raises `UsageError` if the limit is not in (0, 1].
        """
        curve = self._curve()
        return None if curve is None else curve.thinned_pro(points, _check_limit(limit))

    def au_pimo(self) -> AuPimo:
        """Area under the per-image overlap curve, in the mean and for each anomalous image: see `AuPimo`."""
        return au_pimo(self._good, self._defects, self._rate_groups)

    def confusion_at(self, threshold: float) -> Confusion:
        """Pixels counted by map > threshold, as in a prediction, against the masks."""
        fp, tp = (
            sum(int(np.count_nonzero(block > threshold)) for block in in_blocks(arrays))
            for arrays in (self._negatives, self._defects)
        )
        good, defects = int(self._good_groups.sum()), int(self._defect_groups.sum())
        return Confusion(tp, fp, defects - tp, good - fp)

    @property
    def _negatives(self) -> list[Kept]:
        return self._good + self._around

    def _curve(self) -> PixelCurve | None:
        """The curve of all that was added, computed once; None where it is not defined."""
        if self._ranked is None and self.undefined is None:
            shares = 1 / (np.concatenate(self._region_sizes) * self._region_count)
            pixels = Pixels(
                self._negatives, self._defects, self._regions, shares, self._good_groups, self._defect_groups
            )
            self._ranked = PixelCurve(pixels, self._scratch)
        return self._ranked


def _connected_components(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], int]:
    """Labels (H, W) of the 8-connected regions, 1 upwards, and their number."""
    import cv2

    count, labels = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
    return np.asarray(labels, np.int32), count - 1


def _check_limit(limit: float) -> float:
    """The limit, or `UsageError` if it is no false-positive rate."""
    if not 0 < limit <= 1:
        raise UsageError(f"the limit of a false-positive rate lies in (0, 1], for example 0.3; {limit} does not")
    return limit
