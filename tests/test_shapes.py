"""Shapes painted into masks, against pixels counted by hand and against definitions pixel by pixel."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.datasets.annotations import shapes
from blemish.errors import DatasetError


def painted(fill, points, *more, size=(12, 16)):
    mask = np.zeros(size, np.uint8)
    fill(mask, np.array(points, np.float64), *more)
    assert set(np.unique(mask)) <= {0, 255}
    return mask > 0


def rows(mask):
    return ["".join("#" if marked else "." for marked in row) for row in mask]


def test_polygon_by_hand():
    triangle = painted(shapes.fill_polygon, [[1, 1], [5, 1], [1, 5]], size=(7, 7))
    assert rows(triangle) == [".......", ".#####.", ".####..", ".###...", ".##....", ".#.....", "......."]


def test_polygon_includes_its_vertices_and_is_clipped():
    assert painted(shapes.fill_polygon, [[2, 3], [6, 3], [6, 8], [2, 8]]).sum() == 5 * 6
    assert painted(shapes.fill_polygon, [[-50, -50], [50, -50], [50, 5], [-50, 5]]).sum() == 16 * 6
    # the diagonal's course must not change when its ends lie outside
    wide = painted(shapes.fill_polygon, [[-100, -100], [100, 100], [-100, 100]])
    assert np.array_equal(wide, np.tri(12, 16, dtype=bool))


@pytest.mark.parametrize("points", [[[2, 3], [6, 8]], [[6, 8], [2, 3]], [[2, 8], [6, 3]]])
def test_box_in_any_order(points):
    mask = painted(shapes.fill_box, points)
    assert mask[3:9, 2:7].all() and mask.sum() == 5 * 6


def test_box_rounds_and_clips():
    assert painted(shapes.fill_box, [[1.4, 1.5], [2.6, 2.4]]).sum() == 3  # columns 1 to 3, row 2
    assert painted(shapes.fill_box, [[-9, -9], [1, 2]]).sum() == 2 * 3
    assert not painted(shapes.fill_box, [[-9, -9], [-1, -2]]).any()
    assert not painted(shapes.fill_box, [[16, 12], [99, 99]]).any()


def test_disc_by_hand():
    disc = painted(shapes.fill_disc, [3, 3], 2.0, size=(7, 7))
    assert rows(disc) == [".......", "...#...", "..###..", ".#####.", "..###..", "...#...", "......."]


def test_line_by_hand():
    line = painted(shapes.fill_line, [[2, 3], [5, 3]], 2.0, size=(7, 9))
    assert rows(line) == [".........", ".........", "..####...", ".######..", "..####...", ".........", "........."]


coordinate = st.floats(-30, 40, allow_nan=False)


@given(st.lists(st.tuples(coordinate, coordinate), min_size=2, max_size=4), st.floats(0, 12))
@settings(max_examples=80, deadline=None)
def test_line_is_the_distance_to_its_segments(points, width):
    mask = painted(shapes.fill_line, points, width)
    for y, x in [(0, 0), (5, 7), (11, 15), (3, 12), (10, 2)]:
        distances = []
        for (x0, y0), (x1, y1) in pairwise(points):
            length = (x1 - x0) ** 2 + (y1 - y0) ** 2
            share = min(max(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0), 1) if length else 0
            distances.append(np.hypot(x - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0)))
        if abs(min(distances) - width / 2) > 1e-9:
            assert mask[y, x] == (min(distances) < width / 2)


def test_outline_counts_from_the_corner():
    mask = painted(shapes.fill_outline, [[2, 3], [6, 3], [6, 8], [2, 8]])
    assert mask[3:8, 2:6].all() and mask.sum() == 4 * 5
    assert painted(shapes.fill_outline, [[-9, -9], [99, -9], [99, 99], [-9, 99]]).all()
    assert not painted(shapes.fill_outline, [[20, 20], [30, 20], [30, 30]]).any()
    assert not painted(shapes.fill_outline, [[-20, -20], [-30, -20], [-30, -30]]).any()


def is_inside(points, x, y):
    """Even-odd by the crossings of a ray to the right."""
    odd = False
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            odd = not odd
    return odd


@given(st.lists(st.tuples(st.integers(-40, 60), st.integers(-40, 60)), min_size=3, max_size=8))
@settings(max_examples=120, deadline=None)
def test_outline_is_even_odd_at_pixel_centres(corners):
    points = [(x / 3 + 0.017, y / 3 + 0.013) for x, y in corners]  # no centre lies on an edge
    mask = painted(shapes.fill_outline, points)
    expected = [[is_inside(points, x + 0.5, y + 0.5) for x in range(16)] for y in range(12)]
    assert np.array_equal(mask, np.array(expected))


@pytest.mark.parametrize(("left", "top", "pixels"), [(2, 3, 6), (-1, -1, 2), (15, 11, 1), (16, 3, 0), (-3, 0, 0)])
def test_paste_is_clipped(left, top, pixels):
    mask = np.zeros((12, 16), np.uint8)
    shapes.paste(mask, left, top, np.ones((2, 3), bool))
    assert (mask == 255).sum() == pixels


NO_POINTS = [None, "x", [[1, 2]], [[1, 2], [3]], [[1, 2], [3, "4"]], [[1, 2], [3, None]], [[1, 2], [3, float("nan")]]]
FAR_OFF = [[[1, 2], [3, float("inf")]], [[1, 2], [3, 1e300]], [[1, 2], [True, 4]], [[1, 2], [10**400, 4]]]


@pytest.mark.parametrize("points", [*NO_POINTS, *FAR_OFF, [[0, 0]] * 100_001])
def test_points_that_are_none(points):
    with pytest.raises(DatasetError, match="line"):
        shapes.read_points(points, 2, "line")
