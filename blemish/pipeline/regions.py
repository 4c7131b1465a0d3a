"""The connected places where an anomaly map exceeds its threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Region:
    """One connected place above the pixel threshold, in pixels of the original image.

    `box` is (x, y, width, height), `area` counts pixels, `share` is the area's part of the whole image (0 to 1),
    `peak` is the map's largest value inside, `centroid` is the (x, y) mean of the pixel positions.
    """

    box: tuple[int, int, int, int]
    area: int
    share: float
    peak: float
    centroid: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """The region as a JSON-able record; the centroid to a hundredth of a pixel, the share to a millionth."""
        return {
            "box": list(self.box),
            "area": self.area,
            "share": round(self.share, 6),
            "peak": self.peak,
            "centroid": [round(c, 2) for c in self.centroid],
        }


def find_regions(anomaly_map: npt.NDArray[np.float32], threshold: float) -> tuple[Region, ...]:
    """The 8-connected components of `anomaly_map > threshold`, largest first, then from the top left down.

    `anomaly_map` is (H, W) in the scale of `threshold`. A map that stays at or below the threshold has no region.
    """
    above = anomaly_map > threshold  # (H, W)
    if not above.any():
        return ()
    import cv2

    box = cv2.boundingRect(above.view(np.uint8))  # labels are costly, and outside there is nothing to label
    inside = np.s_[box[1] : box[1] + box[3], box[0] : box[0] + box[2]]
    above, values = np.ascontiguousarray(above[inside]), anomaly_map[inside]
    _, labels, stats, centroids = cv2.connectedComponentsWithStats(above.view(np.uint8), connectivity=8)
    peaks = np.full(len(stats), -np.inf, np.float32)
    np.maximum.at(peaks, np.asarray(labels[above], np.int32), values[above])
    peaks, stats, centroids = peaks[1:], stats[1:], centroids[1:]  # label 0 is the ground below the threshold
    area = stats[:, cv2.CC_STAT_AREA, None]
    # A mean is the quotient of whole numbers; moved as such, it has the same last digit as that of the whole map.
    centroids = (np.rint(centroids * area) + area * box[:2]) / area
    stats[:, (cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP)] += box[:2]
    x, y = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    order = np.lexsort((centroids[:, 0], centroids[:, 1], x, y, -area[:, 0]))
    rows = zip(stats[order].tolist(), peaks[order].tolist(), centroids[order].tolist(), strict=True)
    return tuple(
        Region((left, top, width, height), size, size / anomaly_map.size, peak, (cx, cy))
        for (left, top, width, height, size), peak, (cx, cy) in rows
    )
