"""The resize to a model's input and the way back, as properties."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.errors import UsageError
from blemish.images import InputGeometry

SIDES = st.one_of(st.integers(1, 40), st.integers(1, 900))
GEOMETRIES = st.builds(
    InputGeometry,
    st.integers(2, 10).map(lambda n: 32 * n),
    st.integers(2, 10).map(lambda n: 32 * n),
    st.one_of(st.none(), st.floats(-2.5, 2.5).map(math.exp)),  # without an aspect, all images are stretched
)
RNG = np.random.default_rng(3)


def noise(width: int, height: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def content_box(geometry: InputGeometry, width: int, height: int) -> tuple[int, int]:
    if geometry.aspect is None:
        return geometry.width, geometry.height
    ratio = width / height / geometry.aspect
    return max(1, round(geometry.width * min(1, ratio))), max(1, round(geometry.height * min(1, 1 / ratio)))


@pytest.mark.parametrize(
    "sizes, pixels, want",
    [
        ([(900, 900)], 256 * 256, (256, 256)),
        ([(900, 900)], 448 * 448, (448, 448)),
        ([(1280, 960), (640, 480), (10, 1000)], 320 * 320, (384, 288)),
        ([(1, 1)], 1, (64, 64)),
        ([(100_000, 1)], 256 * 256, (1280, 64)),
        ([(1, 100_000)], 256 * 256, (64, 1280)),
    ],
)
def test_input_size_is_near_budget_and_aspect(sizes: list[tuple[int, int]], pixels: int, want: tuple[int, int]) -> None:
    geometry = InputGeometry.for_images(sizes, pixels)
    assert (geometry.width, geometry.height) == want
    assert geometry.aspect == float(np.median([w / h for w, h in sizes]))


@given(sizes=st.lists(st.tuples(st.integers(1, 6000), st.integers(1, 6000)), min_size=1, max_size=5), root=SIDES)
def test_input_size_is_made_of_steps_and_bounded(sizes: list[tuple[int, int]], root: int) -> None:
    pixels = max(64, root) ** 2
    geometry = InputGeometry.for_images(sizes, pixels)
    assert geometry.width % 32 == geometry.height % 32 == 0
    assert geometry.width >= 64 and geometry.height >= 64
    assert geometry.width * geometry.height <= 1.25 * pixels
    if pixels >= 256**2 and 0.2 < geometry.aspect < 5:
        assert 0.8 < geometry.width * geometry.height / pixels < 1.25
        assert 0.7 < geometry.width / geometry.height / geometry.aspect < 1.4


def test_input_size_follows_a_long_part() -> None:
    geometry = InputGeometry.for_images([(500, 1260)] * 3, 256 * 256)
    assert (geometry.width, geometry.height) == (160, 416)
    assert geometry.fit(noise(500, 1260)).shape == (416, 160, 3)


def test_no_images_have_no_input_size() -> None:
    with pytest.raises(UsageError):
        InputGeometry.for_images([], 65536)


@settings(max_examples=60, deadline=None)
@given(geometry=GEOMETRIES, width=SIDES, height=SIDES)
def test_fit_fills_the_rest_by_mirroring(geometry: InputGeometry, width: int, height: int) -> None:
    fitted = geometry.fit(noise(width, height))
    assert fitted.shape == (geometry.height, geometry.width, 3) and fitted.dtype == np.uint8
    box_width, box_height = content_box(geometry, width, height)
    below, right = geometry.height - box_height, geometry.width - box_width
    mirrored = np.pad(fitted[:box_height, :box_width], ((0, below), (0, right), (0, 0)), mode="symmetric")
    assert np.array_equal(fitted, mirrored)


def averaging(size: int, target: int) -> np.ndarray:
    """Weights of area averaging along one axis, from overlaps."""
    step = size / target
    low = np.arange(target)[:, None] * step
    pixel = np.arange(size)[None, :]
    return np.clip(np.minimum(low + step, pixel + 1) - np.maximum(low, pixel), 0, None) / step


def growing(size: int, target: int) -> np.ndarray:
    """Weights of bilinear interpolation along one axis with half-pixel centres."""
    centre = np.clip((np.arange(target) + 0.5) * size / target - 0.5, 0, size - 1)
    return np.clip(1 - np.abs(centre[:, None] - np.arange(size)[None, :]), 0, None)


@settings(max_examples=60, deadline=None)
@given(geometry=GEOMETRIES, width=SIDES, height=SIDES)
def test_fit_averages_what_shrinks_and_interpolates_what_grows(
    geometry: InputGeometry, width: int, height: int
) -> None:
    image = noise(width, height)
    box_width, box_height = content_box(geometry, width, height)
    rows = (averaging if box_height < height else growing)(height, box_height)
    columns = (averaging if box_width < width else growing)(width, box_width)
    want = np.einsum("yi,ijc,xj->yxc", rows, image.astype(float), columns, optimize=True)
    got = geometry.fit(image)[:box_height, :box_width]
    assert np.abs(got - want).max() <= 1.6  # two roundings to uint8 where one axis shrinks and one grows


def test_an_image_of_the_input_size_passes_unchanged() -> None:
    image = noise(96, 64)
    assert np.array_equal(InputGeometry(96, 64, 1.5).fit(image), image)


@settings(max_examples=60, deadline=None)
@given(geometry=GEOMETRIES, width=SIDES, height=SIDES, cells=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_a_constant_map_stays_constant(
    geometry: InputGeometry, width: int, height: int, cells: tuple[int, int]
) -> None:
    out = geometry.map_to_image(np.full(cells, 3.7, np.float32), width, height)
    assert out.shape == (height, width) and out.dtype == np.float32
    assert np.allclose(out, 3.7, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), cells=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_without_letterbox_the_map_is_resized_bilinearly(width: int, height: int, cells: tuple[int, int]) -> None:
    geometry = InputGeometry(320, 256, width / height)
    grid = RNG.random(cells, dtype=np.float32)
    want = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
    assert np.allclose(geometry.map_to_image(grid, width, height), want, atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(geometry=GEOMETRIES, width=st.integers(2, 700), height=st.integers(2, 700), data=st.data())
def test_a_linear_map_comes_back_linear_in_any_letterbox(
    geometry: InputGeometry, width: int, height: int, data: st.DataObject
) -> None:
    h, w = geometry.height // 8, geometry.width // 8
    cell_x = (np.arange(w) + 0.5) * 8
    grid = np.broadcast_to(cell_x, (h, w)).astype(np.float32)
    box_width, _ = content_box(geometry, width, height)
    want = (np.arange(width) + 0.5) * box_width / width  # where each image pixel's centre lies in the input
    inside = (want > 4) & (want < geometry.width - 4)
    row = data.draw(st.integers(0, height - 1))
    assert np.allclose(geometry.map_to_image(grid, width, height)[row, inside], want[inside], atol=2e-3)


@settings(max_examples=120, deadline=None)
@given(
    geometry=GEOMETRIES,
    width=st.integers(1, 1200),
    height=st.integers(1, 1200),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_marked_spot_comes_back_where_it_was(
    geometry: InputGeometry, width: int, height: int, at: tuple[float, float]
) -> None:
    box_width, box_height = content_box(geometry, width, height)
    # a spot that covers at least four input pixels on either axis
    spot_width, spot_height = (min(s, math.ceil(4 * s / b)) for s, b in ((width, box_width), (height, box_height)))
    left, top = round(at[0] * (width - spot_width)), round(at[1] * (height - spot_height))
    image = np.zeros((height, width, 3), np.uint8)
    image[top : top + spot_height, left : left + spot_width] = 255
    grid = geometry.fit(image)[..., 0].astype(np.float32).reshape(geometry.height // 4, 4, geometry.width // 4, 4)
    back = geometry.map_to_image(grid.mean(axis=(1, 3)), width, height)
    peak_y, peak_x = (int(i.mean()) for i in np.nonzero(back >= back.max() - 1e-3))
    cell_width, cell_height = 4 * width / box_width, 4 * height / box_height
    assert left - cell_width - 1 <= peak_x <= left + spot_width + cell_width
    assert top - cell_height - 1 <= peak_y <= top + spot_height + cell_height


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (40_000, 3)])
def test_extreme_images_fit_and_come_back(size: tuple[int, int]) -> None:
    width, height = size
    geometry = InputGeometry(256, 256, 1.0)
    assert geometry.fit(noise(width, height)).shape == (256, 256, 3)
    assert geometry.map_to_image(RNG.random((32, 32), dtype=np.float32), width, height).shape == (height, width)
