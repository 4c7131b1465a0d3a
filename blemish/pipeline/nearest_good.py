"""What good looks like at the place of a region: the patch of a good training image that is nearest to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.errors import ModelError, UsageError
from blemish.images import Frame, cut_patch
from blemish.models import GoodPatches, LoadedModel
from blemish.pipeline.regions import Region
from blemish.pipeline.result import Result

if TYPE_CHECKING:
    from blemish.detectors import Detector

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class GoodPatch:
    """A region's most anomalous place beside what good images have there, as the model sees both.

    Attributes:
        region: the region.
        place: (x, y) of the place in pixels of the original image.
        row: number of the nearest row of the memory bank.
        distance: of the place's features to that row: the map's value before its blur.
        here: the place, RGB uint8 (h, w, 3) at the model's input resolution.
        good: the good image around the row's origin, RGB uint8 at the same scale and of the same size.
    """

    region: Region
    place: tuple[float, float]
    row: int
    distance: float
    here: Image
    good: Image


class NearestGood:
    """Finds good patches for one model; reads and opens what that takes when first asked."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._grid = model.info.output.map_height, model.info.output.map_width

    def find(self, result: Result, regions: Sequence[Region] | None, most: int) -> list[GoodPatch]:
        """As `Predictor.nearest_good`, for a result of this model."""
        chosen = (result.regions if regions is None else regions)[:most]
        if not chosen or self._patches is None or result.anomaly_map is None:
            return []
        if result.image is None:
            raise UsageError("the result holds no image; give the image itself")
        frame, detector = self._model.info.input.frame, self._detector
        whole = frame.fit(result.image)
        tiles = frame.tiling.cut(whole)
        places = [_peak(result.anomaly_map, region) for region in chosen]
        cells = [self._cell(frame, place, result.image.shape) for place in places]  # (tile, row, column)
        found: dict[int, tuple[int, float]] = {}
        for tile, numbers in _by_tile(cells).items():
            rows, distances = detector.nearest_rows(tiles[tile], np.array([cells[i][1:] for i in numbers]))
            found |= {i: (int(row), float(distance)) for i, row, distance in zip(numbers, rows, distances, strict=True)}
        return [
            self._record(region, place, found[i], whole, frame.tiling.centre_of(cells[i][0], cells[i][1:], self._grid))
            for i, (region, place) in enumerate(zip(chosen, places, strict=True))
        ]

    @cached_property
    def _patches(self) -> GoodPatches | None:
        data = self._model.good_patches
        return None if data is None else GoodPatches(data)

    @cached_property
    def _detector(self) -> Detector:
        """The detector again; on the CPU, where a few cells of one image take no time."""
        from blemish.detectors import Setting, recorded_detector

        info = self._model.info
        setting = Setting(info.input.width, info.input.height, device="cpu")
        cls, setting, parameters = recorded_detector(info.detector.name, info.detector.parameters, setting)
        detector = cls.restored(self._model.model, setting, parameters)
        if self._patches is None or detector.size != len(self._patches):
            raise ModelError("good_patches.zip is refused: it does not belong to the memory bank in model.onnx")
        return detector

    def _cell(self, frame: Frame, place: tuple[float, float], shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Tile, row and column of the cell at a place of an image (H, W, 3)."""
        tiling = frame.tiling
        tile, x, y = tiling.tile_at(*frame.geometry.place_of(*place, shape[1], shape[0]))
        rows, columns = self._grid
        return tile, min(int(y * rows / tiling.height), rows - 1), min(int(x * columns / tiling.width), columns - 1)

    def _record(
        self,
        region: Region,
        place: tuple[float, float],
        found: tuple[int, float],
        whole: Image,
        centre: tuple[float, float],
    ) -> GoodPatch:
        assert self._patches is not None
        row, distance = found
        good = self._patches.patch(row)
        return GoodPatch(region, place, row, distance, cut_patch(whole, *centre, max(good.shape)).copy(), good)


def _peak(anomaly_map: npt.NDArray[np.float32], region: Region) -> tuple[float, float]:
    """The centre of the pixel with the region's peak; the box may hold higher peaks of other regions."""
    x, y, width, height = region.box
    inside = np.abs(anomaly_map[y : y + height, x : x + width] - np.float32(region.peak))  # (height, width)
    row, column = np.unravel_index(int(inside.argmin()), inside.shape)
    return x + int(column) + 0.5, y + int(row) + 0.5


def _by_tile(cells: Sequence[tuple[int, int, int]]) -> dict[int, list[int]]:
    """The numbers of the cells in each tile."""
    numbers: dict[int, list[int]] = defaultdict(list)
    for number, (tile, _, _) in enumerate(cells):
        numbers[tile].append(number)
    return numbers
