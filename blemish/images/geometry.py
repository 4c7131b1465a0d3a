"""The one resize to a model's input, and the way back from its map to the image's own pixels.

An image whose aspect differs from the training images' is letterboxed: its content lies in the top-left corner of the
input and is mirrored to the right or below, so that no artificial edge appears. Where the training images had many
aspects, every image is stretched to the input instead. Coordinates follow the half-pixel
convention: pixel i covers [i, i + 1), its centre is i + 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError

_SMALLEST, _LARGEST = 64, 16_384
_MOST = 1.25


@dataclass(frozen=True)
class Sides:
    """The inputs that a network takes: `only` one (height, width), or any whose sides are multiples of `step`."""

    only: tuple[int, int] | None = None
    step: int = 32


@dataclass(frozen=True)
class InputGeometry:
    """A model's input: `width` x `height` pixels, filled completely by an image of `aspect` (width / height).

    Images of any aspect are stretched to it where `aspect` is None.
    """

    width: int
    height: int
    aspect: float | None

    @classmethod
    def for_images(cls, sizes: Sequence[tuple[float, float]], pixels: int, step: int = 32) -> InputGeometry:
        """The input for images of these (width, height), near a budget of `pixels` and near their median aspect.

        Both dimensions are multiples of `step` and at least 64. Budget and aspect weigh alike, but never does the input
        hold more than 1.25 times the budget, however long the images are.
        """
        if not sizes or min(map(min, sizes)) < 1:
            raise UsageError("an input size needs at least one image, and images of at least 1x1 pixels")
        aspect = float(median(w / h for w, h in sizes))
        pixels = max(pixels, _SMALLEST**2)
        smallest = -(-_SMALLEST // step) * step
        lengths = range(smallest, min(_LARGEST, int(_MOST * pixels) // smallest) + 1, step)

        def cost(size: tuple[int, int]) -> float:
            width, height = size
            return math.log(width * height / pixels) ** 2 + math.log(width / height / aspect) ** 2

        allowed = ((w, h) for w in lengths for h in lengths if w * h <= _MOST * pixels)
        width, height = min(allowed, key=cost, default=(smallest, smallest))
        return cls(width, height, aspect)

    def fit(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """An RGB uint8 image (H, W, 3) as the model's input (height, width, 3)."""
        import cv2

        box_width, box_height = self._box(image.shape[1], image.shape[0])
        content = _resize(image, box_width, box_height)  # (box_height, box_width, 3)
        if content.shape[:2] == (self.height, self.width):
            return content
        below, right = self.height - box_height, self.width - box_width
        return np.asarray(cv2.copyMakeBorder(content, 0, below, 0, right, cv2.BORDER_REFLECT), np.uint8)

    def map_to_image(
        self, anomaly_map: npt.NDArray[np.float32], image_width: int, image_height: int
    ) -> npt.NDArray[np.float32]:
        """A map (h, w) over the model's input as float32 (image_height, image_width) over the original image.

        Bilinear between the centres of the grid cells at the centre of every image pixel; outside the outermost cell
        centres the nearest cell counts.
        """
        import cv2

        rows, columns = anomaly_map.shape
        box_width, box_height = self._box(image_width, image_height)
        if (box_width, box_height) == (self.width, self.height):  # one call, six times as fast as the two steps below
            whole = cv2.resize(anomaly_map, (image_width, image_height), interpolation=cv2.INTER_LINEAR)
            return np.asarray(whole, np.float32)
        down = _positions(image_height, box_height, self.height, rows)  # (image_height,)
        across = _positions(image_width, box_width, self.width, columns)  # (image_width,)
        wide = _rows_at(anomaly_map.T.astype(np.float32), across).T  # (h, image_width)
        return _rows_at(np.ascontiguousarray(wide), down)

    def is_filled_by(self, image_width: int, image_height: int) -> bool:
        """Whether an image of this size fills the input, with nothing left to mirror."""
        return self._box(image_width, image_height) == (self.width, self.height)

    def place_of(self, x: float, y: float, image_width: int, image_height: int) -> tuple[float, float]:
        """Where a place (x, y) of an image of this size lies in the model's input, in pixels."""
        box_width, box_height = self._box(image_width, image_height)
        return x * box_width / image_width, y * box_height / image_height

    def cells_of(self, image_width: int, image_height: int, rows: int, columns: int) -> tuple[int, int]:
        """How many rows and columns of a grid over the input show something of an image of this size."""
        box_width, box_height = self._box(image_width, image_height)
        return -(-box_height * rows // self.height), -(-box_width * columns // self.width)

    def _box(self, image_width: int, image_height: int) -> tuple[int, int]:
        """Width and height of the content inside the input."""
        if self.aspect is None:
            return self.width, self.height
        ratio = image_width / image_height / self.aspect
        return max(1, round(self.width * min(1.0, ratio))), max(1, round(self.height * min(1.0, 1 / ratio)))


def _resize(image: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Area averaging where an axis shrinks, bilinear where it grows."""
    import cv2

    image_height, image_width = image.shape[:2]
    if (image_width, image_height) == (width, height):
        return image
    if width > image_width or height > image_height:  # shrinks what shrinks first: it is less work
        if width < image_width or height < image_height:
            image = _resize(image, min(width, image_width), min(height, image_height))
        how = cv2.INTER_LINEAR
    else:
        how = cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _positions(image_size: int, box: int, input_size: int, cells: int) -> npt.NDArray[np.float64]:
    """Where every image pixel lies among the centres of the grid cells along one axis, `(image_size,)`."""
    position = (np.arange(image_size) + 0.5) * (box / image_size) * (cells / input_size) - 0.5
    return np.clip(position, 0, cells - 1)


def _rows_at(grid: npt.NDArray[np.float32], positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The rows `(n, m)` of a grid `(cells, m)` at ascending positions `(n,)`, linear between neighbours.

    Not the product with a matrix of weights: on two cores, the threads of BLAS take ten times as long for it.
    """
    last = len(grid) - 1
    lower = np.minimum(positions.astype(np.int64), last)
    share = (positions - lower).astype(np.float32)[:, None]
    steps = np.diff(grid, axis=0, append=grid[last:])  # to the next row; none from the last
    rows = np.empty((len(positions), grid.shape[1]), np.float32)
    starts = np.searchsorted(lower, np.arange(last + 2))
    for cell, between in enumerate(map(slice, starts[:-1], starts[1:])):
        np.multiply(share[between], steps[cell], out=rows[between])
        rows[between] += grid[cell]
    return rows
