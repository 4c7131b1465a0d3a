"""The gallery: the few images worth a look, as small pictures made while the images pass by."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from blemish.pipeline import Result
from blemish.pipeline.drawing import draw_overlay
from blemish.report import Judged, Picture, Shelf

Mask = npt.NDArray[np.bool_]
RGB = npt.NDArray[np.uint8]

_SIDE, _STRIP = 380, 720  # the longest side of a picture; a long strip has a row of its own
_QUALITY = 82
# Number of pictures and bytes of both JPEG files together; base64 makes a third more of them.
_LIMITS = {
    "misses": (24, 1_200_000),
    "false_alarms": (24, 1_200_000),
    "hard_defects": (6, 350_000),
    "hard_good": (6, 350_000),
}
_MASK_COLOUR = (0, 190, 230)
_DASH, _GAP = 8, 6  # pixels


class Gallery:
    """Keeps the worst misses and false alarms, and the right verdicts that were closest to wrong."""

    def __init__(self) -> None:
        self._shelves = {key: _Shelf(*limits) for key, limits in _LIMITS.items()}

    def add(self, judged: Judged, result: Result, mask: Mask | None) -> None:
        """Take a judged image; it is drawn only where it is among the worst so far."""
        assert judged.score is not None
        if judged.is_good:
            key, order = ("false_alarms" if judged.is_anomalous else "hard_good"), -judged.score
        else:
            key, order = ("hard_defects" if judged.is_anomalous else "misses"), judged.score
        self._shelves[key].add(order, judged, result, mask)

    def shelves(self) -> dict[str, Shelf]:
        """The shelves by name: `misses`, `false_alarms`, `hard_defects`, `hard_good`."""
        return {key: shelf.finished() for key, shelf in self._shelves.items()}


class _Shelf:
    """The `limit` pictures of lowest order that fit into `room` bytes, and how many images there were in all."""

    def __init__(self, limit: int, room: int) -> None:
        self._limit, self._room, self._total = limit, room, 0
        self._orders: list[float] = []
        self._pictures: list[Picture] = []

    def add(self, order: float, judged: Judged, result: Result, mask: Mask | None) -> None:
        self._total += 1
        place = bisect.bisect_right(self._orders, order)
        if place < self._limit:
            self._orders.insert(place, order)
            self._pictures.insert(place, _draw(judged, result, mask))
            del self._orders[self._limit :], self._pictures[self._limit :]

    def finished(self) -> Shelf:
        return Shelf(tuple(self._fitting()), self._total)

    def _fitting(self) -> Iterator[Picture]:
        used = 0
        for picture in self._pictures:
            used += len(picture.image) + len(picture.overlay)
            if used > self._room:
                return
            yield picture


def _draw(judged: Judged, result: Result, mask: Mask | None) -> Picture:
    """The image and its overlay, reduced; drawn at full size first, so that no small region gets lost."""
    assert result.image is not None
    assert result.anomaly_map is not None
    assert result.pixel_threshold is not None
    import cv2

    height, width = result.anomaly_map.shape
    scale = min(1.0, (_STRIP if max(height, width) > 1.9 * min(height, width) else _SIDE) / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    overlay = draw_overlay(result.image, result.anomaly_map, result.pixel_threshold, 1.5 / scale)
    image, overlay = (_reduced(picture, size) for picture in (result.image, overlay))
    if mask is not None:
        share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        _draw_mask(overlay, share > 0)
    return Picture(judged, _jpeg(image), _jpeg(overlay), *size)


def _reduced(picture: RGB, size: tuple[int, int]) -> RGB:
    import cv2

    reduced: RGB = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return reduced


def _draw_mask(picture: RGB, mask: Mask) -> None:
    """The outline of the mask (H, W), dashed, on the picture (H, W, 3)."""
    import cv2

    outlines, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    dashes = [outline[start : start + _DASH] for outline in outlines for start in range(0, len(outline), _DASH + _GAP)]
    cv2.polylines(picture, dashes, False, _MASK_COLOUR, 2, cv2.LINE_AA)


def _jpeg(picture: RGB) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", picture[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    assert done
    return data.tobytes()
