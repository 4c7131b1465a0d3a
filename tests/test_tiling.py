"""Tiles: cut at fixed places, blended without seams, for any size of image and of map."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.images import Frame, InputGeometry, Tiling

GRIDS = st.builds(
    Tiling.of,
    width=st.sampled_from([32, 64, 96, 160]),
    height=st.sampled_from([32, 64, 128]),
    columns=st.integers(1, 5),
    rows=st.integers(1, 5),
    overlap=st.sampled_from([0, 0.05, 0.1, 0.25, 0.5]),
)
CELLS = st.sampled_from([4, 8, 14, 16, 32])  # pixels; 14 divides no tile


def cells_of(tiling: Tiling, cell: int) -> tuple[int, int]:
    return max(1, tiling.height // cell), max(1, tiling.width // cell)


def coordinates(tiling: Tiling, cell: int) -> npt.NDArray[np.float32]:
    """Maps `(count, h, w)` that say where a cell lies along x in the whole, in pixels."""
    rows, columns = cells_of(tiling, cell)
    maps = []
    for tile in range(tiling.count):
        x = (np.arange(columns) + 0.5) * tiling.width / columns + tile % tiling.columns * tiling.step_x
        maps.append(np.tile(x, (rows, 1)))
    return np.array(maps, np.float32)


@given(tiling=GRIDS)
def test_every_pixel_is_in_a_tile_and_where_it_belongs(tiling: Tiling) -> None:
    width, height = tiling.size
    whole = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    tiles = tiling.cut(whole)
    assert tiles.shape == (tiling.count, tiling.height, tiling.width, 3)
    again = np.zeros_like(whole)
    covered = np.zeros((height, width), bool)
    for number, tile in enumerate(tiles):
        top, left = number // tiling.columns * tiling.step_y, number % tiling.columns * tiling.step_x
        again[top : top + tiling.height, left : left + tiling.width] = tile
        covered[top : top + tiling.height, left : left + tiling.width] = True
    assert covered.all() and np.array_equal(again, whole)


@given(tiling=GRIDS, overlap=st.sampled_from([0.05, 0.1, 0.3, 0.5]))
def test_the_overlap_is_what_was_asked_for_or_more(tiling: Tiling, overlap: float) -> None:
    asked = Tiling.of(tiling.width, tiling.height, 2, 2, overlap)
    assert overlap * tiling.width <= asked.width - asked.step_x < overlap * tiling.width + 8
    assert overlap * tiling.height <= asked.height - asked.step_y < overlap * tiling.height + 8


@given(tiling=GRIDS, cell=CELLS)
def test_a_constant_stays_constant(tiling: Tiling, cell: int) -> None:
    whole = tiling.blend(np.full((tiling.count, *cells_of(tiling, cell)), 3.7, np.float32))
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, 3.7, rtol=1e-6)


@given(tiling=GRIDS, cell=CELLS)
def test_cells_of_the_whole_are_hardly_smaller_than_those_of_a_tile(tiling: Tiling, cell: int) -> None:
    rows, columns = cells_of(tiling, cell)
    found = tiling.blend(np.zeros((tiling.count, rows, columns), np.float32)).shape
    assert 0 <= found[0] - tiling.size[1] * rows / tiling.height < 1
    assert 0 <= found[1] - tiling.size[0] * columns / tiling.width < 1


@given(tiling=GRIDS, cell=CELLS)
def test_every_tile_speaks_of_its_own_place(tiling: Tiling, cell: int) -> None:
    """Maps that name the position of their cells blend to a map that names the position of its cells."""
    whole = tiling.blend(coordinates(tiling, cell))
    columns = whole.shape[1]
    want = (np.arange(columns) + 0.5) * tiling.size[0] / columns
    size = tiling.width / cells_of(tiling, cell)[1]
    assert (np.abs(whole - want) <= size / 2 + 1e-3).all(), "beyond the outermost centres the nearest cell counts"
    if cell in (4, 8) or tiling.count == 1:
        np.testing.assert_allclose(whole, np.tile(want, (whole.shape[0], 1)), rtol=1e-5)


@given(tiling=GRIDS, at=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)), data=st.data())
@settings(max_examples=60)
def test_an_impulse_comes_back_at_its_place(tiling: Tiling, at: tuple[float, float], data: st.DataObject) -> None:
    """From a bright pixel of an image of any size, through resize, tiles and blending, back to the image."""
    grow = data.draw(st.floats(1.0, 3.0))
    width, height = round(tiling.size[0] * grow) + 1, round(tiling.size[1] * grow)
    frame = Frame(InputGeometry(*tiling.size, width / height), tiling)
    x, y = int(at[0] * width), int(at[1] * height)
    image = np.zeros((height, width, 3), np.uint8)
    image[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = 255
    tiles = frame.inputs(image)[..., 0].astype(np.float32)
    rows, columns = tiling.height // 8, tiling.width // 8
    maps = tiles.reshape(tiling.count, rows, 8, columns, 8).max(axis=(2, 4))  # (tiles, rows, columns)
    score, grid = frame.judge(maps.max(axis=(1, 2)), maps, width, height)
    assert score == grid.max() > 0
    full = frame.full_map(grid, width, height, 0.0)
    assert full.shape == (height, width)
    row, column = np.unravel_index(full.argmax(), full.shape)
    reach = 8 * grow + 4
    assert abs(row - y) <= reach and abs(column - x) <= reach


def test_in_an_overlap_the_shares_fall_towards_the_edge() -> None:
    tiling = Tiling.of(64, 64, 2, 1, 0.5)
    maps = np.zeros((2, 8, 8), np.float32)
    maps[1] = 1
    np.testing.assert_allclose(tiling.blend(maps)[0], [0] * 4 + [0.125, 0.375, 0.625, 0.875] + [1] * 4, atol=1e-6)


@pytest.mark.parametrize(("width", "height"), [(96, 64), (40, 64), (200, 20), (1, 500)])
def test_what_lies_beside_a_letterboxed_image_does_not_count(width: int, height: int) -> None:
    """The mirrored filling may look odd; the score and the map know nothing of it."""
    frame = Frame.whole(InputGeometry(96, 64, 1.5))
    rows, columns = frame.geometry.cells_of(width, height, 8, 12)
    maps = np.ones((1, 8, 12), np.float32)
    maps[0, rows:], maps[0, :, columns:] = 9, 9
    score, grid = frame.judge(maps.max(axis=(1, 2)), maps, width, height)
    assert score == 1 and (grid == 1).all()
    assert (frame.full_map(grid, width, height, 0.0) == 1).all()


def test_a_score_of_its_own_is_the_largest_of_the_tiles() -> None:
    """Where the network's score is not the largest value of its map, blending must not replace it."""
    tiling = Tiling.of(64, 64, 2, 1, 0.1)
    frame = Frame(InputGeometry(*tiling.size, 2.0), tiling)
    maps = np.random.default_rng(0).random((2, 8, 8), np.float32)
    assert frame.judge(np.array([5, 7], np.float32), maps, 400, 200)[0] == 7
