"""Regions against a flood fill and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from blemish.pipeline.regions import find_regions


def flood_fill(anomaly_map, threshold):
    """Slow and plain: the sets of pixels that touch each other, corners included."""
    left = {(int(y), int(x)) for y, x in np.argwhere(anomaly_map > np.float32(threshold))}
    components = []
    while left:
        stack = [left.pop()]
        found = list(stack)
        while stack:
            y, x = stack.pop()
            for near in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if near in left:
                    left.remove(near)
                    stack.append(near)
                    found.append(near)
        components.append(found)
    return components


def described(component, anomaly_map):
    ys, xs = np.array(component).T
    box = (int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1)
    return box, len(xs), float(anomaly_map[ys, xs].max()), (float(xs.mean()), float(ys.mean()))


maps = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([-1.0, 0.0, 0.5, 0.75, 2.0]),
)


@given(maps, st.sampled_from([-2.0, 0.0, 0.5, 1.0, 2.0]))
@settings(max_examples=150, deadline=None)
def test_regions_are_those_of_a_flood_fill(anomaly_map, threshold):
    regions = find_regions(anomaly_map, threshold)
    expected = sorted(described(c, anomaly_map) for c in flood_fill(anomaly_map, threshold))
    found = sorted((r.box, r.area, r.peak, r.centroid) for r in regions)
    assert found == expected  # centroids too, to the last digit
    assert [r.area for r in regions] == sorted((r.area for r in regions), reverse=True)
    assert all(r.share == r.area / anomaly_map.size for r in regions)


def test_ten_thousand_components_match_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    anomaly_map = np.random.default_rng(0).random((640, 640), np.float32)
    threshold = 0.965
    regions = find_regions(anomaly_map, threshold)
    labels, count = ndimage.label(anomaly_map > threshold, np.ones((3, 3)))
    assert len(regions) == count > 9_000
    numbers = np.arange(1, count + 1)
    assert sorted(r.area for r in regions) == sorted(np.bincount(labels.ravel())[1:].tolist())
    assert sorted(r.peak for r in regions) == sorted(ndimage.maximum(anomaly_map, labels, numbers).tolist())


def test_corners_connect_and_ties_go_by_position():
    anomaly_map = np.zeros((6, 8), np.float32)
    anomaly_map[0, 5] = anomaly_map[1, 6] = 3  # touching at a corner: one region
    anomaly_map[3, 1] = anomaly_map[3, 6] = 2
    anomaly_map[5, 0] = 4
    regions = find_regions(anomaly_map, 1.0)
    assert [r.box for r in regions] == [(5, 0, 2, 2), (1, 3, 1, 1), (6, 3, 1, 1), (0, 5, 1, 1)]
    assert regions[0].centroid == (5.5, 0.5)
    assert [r.peak for r in regions] == [3, 2, 2, 4]


@pytest.mark.parametrize("threshold", [1.0, 1.5, float("inf")])
def test_a_map_at_or_below_the_threshold_has_no_region(threshold):
    assert find_regions(np.ones((5, 7), np.float32), threshold) == ()


def test_a_map_wholly_above_is_one_region():
    (region,) = find_regions(np.ones((5, 7), np.float32).T, -1.0)
    assert (region.box, region.area, region.share) == ((0, 0, 5, 7), 35, 1.0)
