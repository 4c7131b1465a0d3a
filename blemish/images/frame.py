"""From a decoded image to what the network takes, and from what it gives to the image's score and map."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from blemish.images.area import Area
from blemish.images.geometry import InputGeometry
from blemish.images.tiling import Tiling

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
S = TypeVar("S", bound="np.generic[Any]")
Scored = tuple[float, Floats]  # score and map (h, w) that the network gives to one input


@dataclass(frozen=True, eq=False)
class Frame:
    """How a model sees an image: brought to one size, painted over outside its area, cut into tiles.

    `geometry` is that of all tiles together.
    """

    geometry: InputGeometry
    tiling: Tiling
    area: Area | None = None

    @classmethod
    def whole(cls, geometry: InputGeometry) -> Frame:
        """One tile, nothing outside."""
        return cls(geometry, Tiling(geometry.width, geometry.height))

    def refusal(self, width: int, height: int) -> str | None:
        """Why an image of this size cannot be looked at, None if it can: an area fits one aspect only."""
        aspect = self.geometry.aspect
        if self.area is None or aspect is None or self.geometry.is_filled_by(width, height):
            return None
        return (
            f"has {width}x{height} pixels; the model's region of interest is drawn on images whose width is "
            f"{aspect:.4g} times their height"
        )

    def fit(self, image: Image) -> Image:
        """An RGB image `(H, W, 3)` at the size of all tiles together, painted over outside the area."""
        fitted = self.geometry.fit(image)
        return fitted if self.area is None else self.area.fill(fitted)

    def inputs(self, image: Image) -> Image:
        """An RGB image `(H, W, 3)` as what the network takes, `(tiles, height, width, 3)`."""
        return self.tiling.cut(self.fit(image))

    def judge(self, scores: Floats, maps: Floats, width: int, height: int) -> Scored:
        """Score and map of an image from what the network says of its tiles, `(tiles,)` and `(tiles, h, w)`.

        The map holds nothing that lies outside the area, nor beside a letterboxed image: such cells have the value of
        the nearest that counts. Where the network's score is the largest value of its map, so is the image's;
        otherwise it is the largest score of a tile.
        """
        is_peak = bool((scores == maps.max(axis=(1, 2))).all())
        blended = self.tiling.blend(maps)  # (h, w) of the whole
        inside = self._own(blended, width, height)
        return float(inside.max() if is_peak else scores.max()), inside

    def full_map(self, anomaly_map: Floats, width: int, height: int, limit: float) -> Floats:
        """The map of `judge` over the original image, `(height, width)`.

        Outside the area it is its smallest value inside, or `limit` if that is smaller: never above the threshold.
        """
        full = self.geometry.map_to_image(anomaly_map, width, height)
        if self.area is not None:
            self.area.hide(full, min(float(anomaly_map.min()), limit))
        return full

    def _own(self, anomaly_map: Floats, width: int, height: int) -> Floats:
        if self.area is not None:
            return self.area.inside(anomaly_map)
        rows, columns = self.geometry.cells_of(width, height, *anomaly_map.shape)
        if (rows, columns) == anomaly_map.shape:
            return anomaly_map
        beside = (0, anomaly_map.shape[0] - rows), (0, anomaly_map.shape[1] - columns)
        return np.pad(anomaly_map[:rows, :columns], beside, mode="edge")


class Inputs(Collection[Image]):
    """What the network takes of some images: all tiles of the first, then of the second, and so on.

    `images` are as `Frame.fit` gives them, `sizes` their original (width, height).
    """

    def __init__(self, images: Iterable[Image], frame: Frame, sizes: Sequence[tuple[int, int]]) -> None:
        self.images, self.frame, self.sizes = images, frame, sizes

    def __len__(self) -> int:
        return len(self.sizes) * self.frame.tiling.count

    def __iter__(self) -> Iterator[Image]:
        for image in self.images:
            yield from self.frame.tiling.cut(image)

    def __contains__(self, image: object) -> bool:
        return any(image is one for one in self)

    def chosen(self, mask: npt.NDArray[np.bool_]) -> Inputs:
        """Those of some of the images `(n,)`, without a copy."""
        return Inputs(_Chosen(self.images, mask), self.frame, list(compress(self.sizes, mask)))

    def of_each(self, values: npt.NDArray[S]) -> npt.NDArray[S]:
        """What is known of each image `(n,)`, for each of the network's inputs."""
        return np.repeat(values, self.frame.tiling.count)

    def joined(self, places: Halves) -> Halves:
        """Places of each of the network's inputs `(inputs, p, d)`, as those of all tiles of each image, `(n, P, d)`."""
        return places.reshape(len(self.sizes), -1, places.shape[2])

    def judged(self, scored: Iterable[Scored]) -> Iterator[Scored]:
        """Score and map of every image, from what the network says of its inputs in order."""
        remaining = iter(scored)
        for width, height in self.sizes:
            scores, maps = zip(*(next(remaining) for _ in range(self.frame.tiling.count)), strict=True)
            yield self.frame.judge(np.array(scores, np.float32), np.stack(maps), width, height)


class _Chosen(Iterable[Image]):
    """Some of the images, as often as they are gone through."""

    def __init__(self, images: Iterable[Image], mask: npt.NDArray[np.bool_]) -> None:
        self._images, self._mask = images, mask

    def __iter__(self) -> Iterator[Image]:
        return compress(self._images, self._mask)
