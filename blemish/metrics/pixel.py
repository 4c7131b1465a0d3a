"""Metrics of anomaly maps against masks, exact at full resolution over all images of a category."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError
from blemish.metrics.confusion import Confusion
from blemish.metrics.counting import Floats
from blemish.metrics.curve import PixelCurve, Vector
from blemish.metrics.pimo import AuPimo, au_pimo


class PixelScores:
    """Collects the maps and masks of one category, image by image, and measures them.

    Maps are raw (larger is more anomalous) and as large as the original image; images may differ in size. It keeps one
    float32 per pixel. A metric that is not defined on what was added is None, and `undefined` says why.
    """

    def __init__(self) -> None:
        self._good: list[Floats] = []  # every pixel of each good image
        self._around: list[Floats] = []  # pixels of each anomalous image outside its defects
        self._defects: list[Floats] = []  # and those inside
        self._regions: list[npt.NDArray[np.int32]] = []  # the number of the region that each of these belongs to
        self._region_count = 0
        self._ranked: PixelCurve | None = None

    def add(self, anomaly_map: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_] | None = None) -> None:
        """Add one image: its map float32 `(H, W)`, and its mask bool `(H, W)`, True on defects.

        No mask, or one without a defect pixel, is a good image. Nothing of the arrays is referred to afterwards.
        Raises `UsageError` if the map is not a finite `(H, W)` image, or the mask is not as large.
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
            self._good.append(scores.flatten())
            return
        labels, count = _connected_components(mask)
        self._defects.append(scores[mask])
        self._around.append(scores[~mask])
        self._regions.append(labels[mask] + np.int32(self._region_count - 1))
        self._region_count += count

    @property
    def undefined(self) -> str | None:
        """Why the metrics over good and defect pixels are None, or None if they are defined."""
        if not self._defects:
            return "no pixel is marked as a defect"
        return None if any(map(len, self._negatives)) else "no pixel is good"

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
        if curve is None:
            return None
        rate, overlap = curve.pro(_check_limit(limit))
        way = rate / limit + overlap  # (m,) rises with every step
        chosen = np.unique(np.searchsorted(way, np.linspace(0, way[-1], points)))
        return rate[chosen], overlap[chosen]

    def au_pimo(self) -> AuPimo:
        """Area under the per-image overlap curve, in the mean and for each anomalous image: see `AuPimo`."""
        return au_pimo(self._good, self._defects)

    def confusion_at(self, threshold: float) -> Confusion:
        """Pixels counted by map > threshold, as in a prediction, against the masks."""
        fp, tp = (
            sum(int(np.count_nonzero(a > threshold)) for a in arrays) for arrays in (self._negatives, self._defects)
        )
        return Confusion(tp, fp, sum(map(len, self._defects)) - tp, sum(map(len, self._negatives)) - fp)

    @property
    def _negatives(self) -> list[Floats]:
        return self._good + self._around

    def _curve(self) -> PixelCurve | None:
        """The curve of all that was added, computed once; None where it is not defined."""
        if self._ranked is None and self.undefined is None:
            self._ranked = PixelCurve.of(np.concatenate(self._defects), np.concatenate(self._regions), self._negatives)
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
