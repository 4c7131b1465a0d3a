"""A large image as overlapping tiles of a network's input size, and the tiles' maps as one map again.

The image is first brought to the size of all tiles together; tiles are then cut at fixed pixels, so nothing is resized
twice. In an overlap, the share of a tile falls linearly towards its edge, where it has seen least of the surroundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

STEP = 8  # pixels; the finest cells of the detectors divide it, so their maps are blended cell by cell


@dataclass(frozen=True)
class Tiling:
    """`columns` x `rows` tiles of `width` x `height` pixels; the next begins `step_x` or `step_y` pixels further."""

    width: int
    height: int
    columns: int = 1
    rows: int = 1
    step_x: int = 0
    step_y: int = 0

    @classmethod
    def of(cls, width: int, height: int, columns: int, rows: int, overlap: float) -> Tiling:
        """Tiles that share at least `overlap` of their width and height, in [0, 0.5], with the next."""
        return cls(width, height, columns, rows, _step(width, overlap), _step(height, overlap))

    @property
    def count(self) -> int:
        """Number of tiles."""
        return self.columns * self.rows

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of all tiles together."""
        return self.width + (self.columns - 1) * self.step_x, self.height + (self.rows - 1) * self.step_y

    def cut(self, whole: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The tiles `(count, height, width, 3)` of an RGB image of the whole size, row by row."""
        if self.count == 1:
            return whole[None]
        lefts = [column * self.step_x for column in range(self.columns)]
        tops = [row * self.step_y for row in range(self.rows)]
        return np.stack([whole[top : top + self.height, left : left + self.width] for top in tops for left in lefts])

    def tile_at(self, x: float, y: float) -> tuple[int, float, float]:
        """The tile that has most to say of a place (x, y) of the whole, and where the place is in it, in pixels."""
        column, left = _deepest(x, self.width, self.columns, self.step_x)
        row, top = _deepest(y, self.height, self.rows, self.step_y)
        return row * self.columns + column, x - left, y - top

    def centre_of(self, tile: int, cell: Sequence[int], grid: tuple[int, int]) -> tuple[float, float]:
        """Where in the whole, as (x, y) in pixels, the centre of a tile's cell (row, column) is; `grid` is (h, w)."""
        row, column = divmod(tile, self.columns)
        x = column * self.step_x + (cell[1] + 0.5) * self.width / grid[1]
        return x, row * self.step_y + (cell[0] + 0.5) * self.height / grid[0]

    def blend(self, maps: Floats) -> Floats:
        """The tiles' maps `(count, h, w)` as one map over the whole, its cells about as large as theirs.

        The shares of the tiles add up to one in every cell.
        """
        if self.count == 1:
            return np.asarray(maps[0], np.float32)
        _, height, width = maps.shape
        across = _shares(self.width, self.columns, self.step_x, width)
        down = _shares(self.height, self.rows, self.step_y, height)
        whole = np.zeros((down[-1].cells.stop, across[-1].cells.stop), np.float32)
        for tile, anomaly_map in enumerate(maps):
            row, column = down[tile // self.columns], across[tile % self.columns]
            whole[row.cells, column.cells] += row.weights @ anomaly_map @ column.weights.T
        return whole


@dataclass(frozen=True, eq=False)
class _Share:
    """What a tile says along one axis: the cells of the whole that it covers, and its weights `(covered, own)`."""

    cells: slice
    weights: Floats


@lru_cache(maxsize=16)
def _shares(size: int, count: int, step: int, cells: int) -> tuple[_Share, ...]:
    """The share of each of `count` tiles of `size` pixels and `cells` cells along one axis."""
    whole = size + (count - 1) * step
    grid = -(-whole * cells // size)  # cells no larger than a tile's, so every tile covers the centre of one
    centres = (np.arange(grid) + 0.5) * whole / grid  # (grid,), pixels
    starts = np.arange(count)[:, None] * step
    inside = (centres >= starts) & (centres < starts + size)  # (count, grid)
    weights = np.where(inside, _taper(centres - starts, size, size - step), 0)
    weights /= weights.sum(axis=0)
    return tuple(
        _share(centres, int(start), size, cells, weight) for start, weight in zip(starts[:, 0], weights, strict=True)
    )


def _share(
    centres: npt.NDArray[np.float64], start: int, size: int, cells: int, weight: npt.NDArray[np.float64]
) -> _Share:
    covered = np.flatnonzero(weight)
    # Where cells of tile and whole coincide, rounding must not mix neighbours.
    position = np.clip(((centres[covered] - start) * cells / size - 0.5).round(6), 0, cells - 1)
    lower = np.minimum(position.astype(np.int64), max(cells - 2, 0))
    share = position - lower
    weights = np.zeros((len(covered), cells))
    lines = np.arange(len(covered))
    weights[lines, lower] = (1 - share) * weight[covered]
    weights[lines, np.minimum(lower + 1, cells - 1)] += share * weight[covered]
    return _Share(slice(int(covered[0]), int(covered[-1]) + 1), weights.astype(np.float32))


def _taper(position: npt.NDArray[np.float64], size: int, overlap: int) -> npt.NDArray[np.float64]:
    """The weight of a tile at a position inside it: one, but falling to almost zero over the overlap.

    The outer edges of the whole need no exception: a tile that is alone has all of the weight, however small.
    """
    return np.clip(np.minimum(position, size - position) / max(overlap, 1), 1e-3, 1)


def _deepest(position: float, size: int, count: int, step: int) -> tuple[int, int]:
    """Number and start of the tile along one axis whose nearer edge is farthest from a position."""
    number = max(range(count), key=lambda tile: min(position - tile * step, tile * step + size - position))
    return number, number * step


def _step(length: int, overlap: float) -> int:
    return max(STEP, int(length * (1 - overlap)) // STEP * STEP)
