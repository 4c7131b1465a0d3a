"""Distances to the nearest row, in numpy and as a graph, against plain double precision."""

from __future__ import annotations

import numpy as np
import pytest

from blemish.detectors import coreset
from blemish.detectors.coreset import nearest_squared
from blemish.detectors.metric import ResidualMetric
from blemish.detectors.nearest_row import append_nearest
from blemish.detectors.patch_features import PatchFeatures
from blemish.engines import open_engine
from blemish.graph import GraphBuilder


def true_distances(points, rows):
    differences = points[:, None].astype(np.float64) - rows[None].astype(np.float64)
    return np.sqrt((differences**2).sum(axis=2).min(axis=1))


@pytest.mark.parametrize("products", [1, 7, 40, 10_000])
def test_blocks_of_any_size_give_the_nearest_centre(products, monkeypatch):
    monkeypatch.setattr(coreset, "PRODUCTS", products)
    random = np.random.default_rng(3)
    points, centres = random.normal(size=(50, 9)).astype(np.float32), random.normal(size=(7, 9)).astype(np.float32)
    nearest = nearest_squared(points, np.einsum("nd,nd->n", points, points), centres)
    np.testing.assert_allclose(np.sqrt(nearest), true_distances(points, centres), rtol=1e-5)


def test_a_point_that_is_a_centre_is_never_at_a_negative_distance():
    points = np.random.default_rng(5).normal(100, 1, (300, 20)).astype(np.float32)
    nearest = nearest_squared(points, np.einsum("nd,nd->n", points, points), points[:60])
    assert (nearest >= 0).all()


@pytest.mark.parametrize(("height", "width", "rows"), [(64, 64, 5), (64, 96, 300), (96, 64, 9000)])
@pytest.mark.parametrize("is_mapped", [False, True])
def test_the_graph_measures_each_cell_against_the_whole_bank(height, width, rows, is_mapped):
    random = np.random.default_rng(height + width)
    images = random.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    features = PatchFeatures("efficientnet_lite0", height, width)
    if is_mapped:
        features = features.measured(ResidualMetric(np.stack(list(features.extract(images, "cpu"))), 0).matrix)
    patches = np.stack(list(features.extract(images, "cpu")))  # (2, P, d)
    bank = (patches.reshape(-1, features.dimensions)[random.integers(0, patches[..., 0].size, rows)] * 0.9).astype(
        np.float32
    )
    graph = GraphBuilder()
    distances = append_nearest(graph, features, bank)
    graph.output(distances, "distances", np.float32, ["N", features.rows, features.columns])
    found = open_engine(graph.model("distances").SerializeToString(), "cpu").run(images)["distances"]
    expected = [true_distances(image, np.unique(bank, axis=0)) for image in patches]
    np.testing.assert_allclose(found.reshape(2, -1), expected, rtol=1e-4)
