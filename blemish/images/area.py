"""The part of the image that a model looks at: a region of interest, less what is to be ignored.

It is kept as a mask over the model's input. What lies outside is painted over in one colour before the network sees
it, in fitting and in prediction alike, so nothing outside can influence what is said of the inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError
from blemish.images.rle import decode_mask, encode_mask

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Polygon = list[list[float]]  # points [x, y], as shares of the image's width and height

FILLING = 128  # in all three colours; the middle is the least striking to a network


class Area:
    """A mask over the model's input, `(height, width)`; at least one pixel is inside."""

    def __init__(self, mask: Mask) -> None:
        if not mask.any():
            raise UsageError("nothing of the image is left to look at: no pixel of the model's input is wholly inside")
        self.mask = mask
        self._nearest = lru_cache(maxsize=4)(self._find_nearest)

    @classmethod
    def from_rle(cls, rle: Mapping[str, Any]) -> Area:
        """The inverse of `to_rle`; `UsageError` for whatever is no mask or has nothing inside."""
        return cls(decode_mask(rle) > 0)

    def to_rle(self) -> dict[str, Any]:
        """COCO RLE of the mask."""
        return encode_mask(self.mask)

    def fill(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A copy of an image of the mask's size `(height, width, 3)`, painted over outside."""
        return np.where(self.mask[..., None], image, np.uint8(FILLING))

    def inside(self, anomaly_map: Floats) -> Floats:
        """The map `(h, w)` with the value of the nearest cell inside in every cell that lies wholly outside."""
        values: Floats = anomaly_map.ravel()[self._nearest(*anomaly_map.shape)]
        return values.reshape(anomaly_map.shape)

    def hide(self, anomaly_map: Floats, lowest: float) -> None:
        """Set a map over the whole image `(H, W)` to `lowest` wherever it lies outside."""
        import cv2

        height, width = anomaly_map.shape
        outside = cv2.resize(
            (~self.mask).view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
        )  # (H, W)
        anomaly_map[outside.view(np.bool_)] = lowest

    def _find_nearest(self, rows: int, columns: int) -> npt.NDArray[np.int64]:
        """For every cell of a grid the index of the nearest cell inside, `(rows * columns,)`."""
        import cv2

        outside = _shrunk(self.mask.astype(np.float32), columns, rows) == 0  # (rows, columns)
        _, labels = cv2.distanceTransformWithLabels(
            outside.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        cell_of = np.zeros(int(labels.max()) + 1, np.int64)
        cell_of[labels[~outside]] = np.flatnonzero(~outside)
        return np.asarray(cell_of[labels.ravel()], np.int64)


def area_of(roi: Mask | None, ignored: Mask | None, width: int, height: int) -> Area:
    """What is inside `roi` and not `ignored`, masks over the training images, as an area over a model's input.

    A pixel of the input is inside if nothing of what it averages is outside.
    """
    import cv2

    masks = [mask for mask in (None if roi is None else ~roi, ignored) if mask is not None]
    outside = np.zeros((height, width), np.bool_)
    for mask in masks:
        share = _shrunk(mask.astype(np.float32), width, height)
        outside |= cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR) > 0
    return Area(~outside)


def draw_polygons(polygons: list[Polygon], width: int, height: int) -> Mask:
    """A mask `(height, width)` of polygons whose points are shares of the width and height."""
    import cv2

    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        points = np.array(polygon) * (width, height) - 0.5  # a pixel's centre is 0.5 from its edge
        cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    return mask.view(np.bool_)


def _shrunk(values: Floats, width: int, height: int) -> Floats:
    """Area averages along every axis that is to shrink."""
    import cv2

    size = min(width, values.shape[1]), min(height, values.shape[0])
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
