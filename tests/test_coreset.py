"""The coreset is that of plain greedy selection: the same points in the same order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from blemish.detectors import coreset
from blemish.detectors.coreset import greedy_coreset

Floats = npt.NDArray[np.float32]


def plain(points: npt.NDArray[np.floating], count: int) -> list[int]:
    """Farthest point first, from the point farthest from the mean; ties go to the lowest index."""
    exact = points.astype(np.float64)
    chosen = [int(((exact - exact.mean(axis=0)) ** 2).sum(axis=1).argmax())]
    nearest = ((exact - exact[chosen[0]]) ** 2).sum(axis=1)  # (N,)
    nearest[chosen[0]] = -1
    while len(chosen) < count:
        best = int(nearest.argmax())
        chosen.append(best)
        nearest = np.minimum(nearest, ((exact - exact[best]) ** 2).sum(axis=1))
        nearest[best] = -1
    return chosen


@st.composite
def grids(draw: st.DrawFn) -> tuple[Floats, int, int]:
    """Points on a coarse grid, so that float32 is exact and ties and duplicates abound.

    They come with their mirror images: the mean is zero exactly.
    """
    rows, dimensions = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    half = draw(arrays(np.float32, (rows, dimensions), elements=st.integers(-3, 3).map(float)))
    points = np.concatenate([half, -half])
    order = draw(st.permutations(range(len(points))))
    return points[list(order)], draw(st.integers(1, len(points))), draw(st.integers(1, len(points) + 1))


@settings(max_examples=150, deadline=None)
@given(grids())
def test_same_points_in_the_same_order(case: tuple[Floats, int, int]) -> None:
    points, count, block = case
    assert greedy_coreset(points, count, block=block).tolist() == plain(points, count)


@pytest.mark.parametrize("block", [1, 7, 64, 500, 4096])
def test_real_values(block: int) -> None:
    points = np.random.default_rng(3).normal(size=(1500, 12)).astype(np.float32)
    assert greedy_coreset(points, 200, block=block).tolist() == plain(points, 200)


@pytest.mark.parametrize("shift", [0, 5])
def test_clustered_features_all_of_them(shift: float) -> None:
    random = np.random.default_rng(5)
    centres = random.normal(size=(9, 6))
    points = (shift + centres[random.integers(0, 9, 300)] + 0.01 * random.normal(size=(300, 6))).astype(np.float32)
    found = greedy_coreset(points, 300, block=32)
    assert sorted(found) == list(range(300))
    # Beyond the first rounds float32 may order near ties otherwise, yet never choose a clearly nearer point.
    assert set(found[:9].tolist()) == set(plain(points, 9))


def test_products_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(8).normal(size=(800, 5)).astype(np.float32)
    whole = greedy_coreset(points, 400, block=50)
    monkeypatch.setattr(coreset, "PRODUCTS", 300)
    assert greedy_coreset(points, 400, block=50).tolist() == whole.tolist() == plain(points, 400)


def test_duplicates_come_last() -> None:
    distinct = np.random.default_rng(1).permutation(np.arange(64, dtype=np.float32))[:20, None] * [1, 2]
    points = np.repeat(distinct.astype(np.float32), 3, axis=0)
    found = points[greedy_coreset(points, 60, block=8)]
    assert len(np.unique(found[:20], axis=0)) == 20


def test_constant_points_in_order_of_index() -> None:
    assert greedy_coreset(np.zeros((5, 2), np.float32), 5, block=2).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [0, -1, 11])
def test_refuses_another_count(count: int) -> None:
    with pytest.raises(ValueError, match=f"from 1 to 10, not {count}"):
        greedy_coreset(np.zeros((10, 2), np.float32), count)


def test_progress_rises_to_the_count() -> None:
    seen: list[int] = []
    greedy_coreset(
        np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32), 120, block=16, advance=seen.append
    )
    assert seen == sorted(seen) and seen[-1] == 120 and len(seen) > 2


def test_the_points_are_left_alone() -> None:
    points = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    before = points.copy()
    greedy_coreset(points, 50, block=16)
    np.testing.assert_array_equal(points, before)
