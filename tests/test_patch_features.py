"""What is done to a backbone's taps before patches are compared: average, border, metric; and reading it back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.linalg import fractional_matrix_power
from scipy.ndimage import convolve
from textures import plate

from blemish.detectors import Setting
from blemish.detectors import metric as metrics
from blemish.detectors.metric import ResidualMetric, representative
from blemish.detectors.nearest_row import append_nearest
from blemish.detectors.patch_features import PatchFeatures, Preparation
from blemish.detectors.patchcore import PatchCore, PatchCoreParameters
from blemish.engines import open_engine
from blemish.graph import GraphBuilder

SIZE = 96
SETTING = Setting(SIZE, SIZE, device="cpu")
GOOD, NEW = [plate(seed, SIZE) for seed in range(8)], [plate(50, SIZE, defect=True), plate(51, SIZE)]


def taps(features: PatchFeatures, image: npt.NDArray[np.uint8], *, averaged: bool) -> list[npt.NDArray[np.float32]]:
    """Both taps of an image `(channels, height, width)`, as they come or as they are compared."""
    graph = GraphBuilder()
    for name, value in zip(
        "ab", features.append_taps(graph) if averaged else features._append_maps(graph), strict=True
    ):
        graph.output(value, name, np.float32, ["N", "C", "H", "W"])
    found = open_engine(graph.model("taps").SerializeToString(), "cpu").run(image[None])
    return [found[name][0] for name in "ab"]


@pytest.mark.parametrize("kernel", ["binomial", "mean"])
def test_neighbours_are_averaged_with_zeros_outside_and_a_border_that_counts_less(kernel: str) -> None:
    features = PatchFeatures("efficientnet_lite0", SIZE, SIZE, Preparation(kernel))  # type: ignore[arg-type]
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16 if kernel == "binomial" else np.full((3, 3), 1 / 9)
    for tap, found in zip(taps(features, GOOD[0], averaged=False), taps(features, GOOD[0], averaged=True), strict=True):
        border = np.ones(tap.shape[1:])
        if kernel == "binomial":
            border[[0, -1]] *= 2 / 3
            border[:, [0, -1]] *= 2 / 3
        expected = convolve(tap.astype(np.float64), weights[None], mode="constant") * border
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


class TestMetric:
    def features(self, seed: int = 0, images: int = 5) -> npt.NDArray[np.float32]:
        """Patches `(n, 40, 6)` that differ a thousand times as much in some directions as in others."""
        random = np.random.default_rng(seed)
        mixed = random.normal(size=(6, 6)) * 10.0 ** np.linspace(-1.5, 1.5, 6)
        return (random.normal(size=(images, 40, 6)) @ mixed).astype(np.float32)

    def test_it_is_the_fourth_root_of_the_moments_of_nearest_differences(self) -> None:
        features = self.features()
        differences = []
        for i, patches in enumerate(features.astype(np.float64)):
            others = np.concatenate([features[j] for j in range(len(features)) if j != i])
            for patch in patches:
                differences.append(patch - others[np.linalg.norm(others - patch, axis=1).argmin()])
        moments = np.array(differences).T @ np.array(differences)
        relative = moments / (np.trace(moments) / 6) + 0.001 * np.eye(6)
        expected = fractional_matrix_power(relative, -0.25)
        np.testing.assert_allclose(ResidualMetric(features, 0).matrix, expected, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("factor", [1e-3, 1e4])
    def test_the_unit_of_features_does_not_matter(self, factor: float) -> None:
        features = self.features()
        np.testing.assert_allclose(
            ResidualMetric(features * np.float32(factor), 0).matrix,
            ResidualMetric(features, 0).matrix,
            rtol=1e-3,
            atol=1e-3,
        )

    @pytest.mark.parametrize("left_out", [[0], [4], [1, 3], [0, 1, 2]])
    def test_without_images_it_is_what_the_others_give(self, left_out: list[int]) -> None:
        features = self.features()
        mask = np.isin(np.arange(len(features)), left_out)
        found, expected = ResidualMetric(features, 0).without(mask), ResidualMetric(features[~mask], 0).matrix
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        assert ResidualMetric(features, 0).without(np.arange(len(features)) > 0) is None

    @pytest.mark.parametrize("features", [np.zeros((1, 9, 3), np.float32), np.zeros((4, 9, 3), np.float32)])
    def test_one_image_and_equal_ones_have_none(self, features: npt.NDArray[np.float32]) -> None:
        assert ResidualMetric(features, 0).matrix is None

    def test_the_same_images_are_looked_at_in_any_order(self) -> None:
        images = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 3), dtype=np.uint8)
        chosen = representative(images)
        assert len(chosen) == metrics.IMAGES and max(chosen) > 50
        np.testing.assert_array_equal(images[list(chosen)], list(chosen.values()))
        np.testing.assert_array_equal(list(representative(images[::-1]).values()), list(chosen.values()))


def test_left_out_scores_do_not_know_the_image_that_is_left_out() -> None:
    """Nor any of its part: not in the bank, and not in the metric either. Else few images promise far too much."""
    whole = PatchCore(SETTING, PatchCoreParameters(coreset_ratio=1.0)).fit(GOOD)
    parts = np.array([0, 0, 1, 2, 3, 4, 5, 5])
    found = whole.left_out(parts)
    assert found is not None
    scores = [score for score, _ in found]
    for part in range(6):
        rest = [GOOD[i] for i in np.flatnonzero(parts != part)]
        engine = open_engine(
            PatchCore(SETTING, PatchCoreParameters(coreset_ratio=1.0)).fit(rest).graph().SerializeToString(), "cpu"
        )
        for i in np.flatnonzero(parts == part):
            # the metric of the others has other random patches of them
            assert scores[i] == pytest.approx(float(engine.run(GOOD[i][None])["score"][0]), rel=0.01)


def test_of_many_dimensions_several_images_are_left_out_of_the_metric_together(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = PatchCore(SETTING).fit(GOOD)
    exact = [score for score, _ in detector.left_out(np.arange(8)) or ()]
    taken: list[int] = []
    without = ResidualMetric.without

    def counted(self: ResidualMetric, left_out: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32] | None:
        taken.append(int(left_out.sum()))
        return without(self, left_out)

    monkeypatch.setattr(metrics, "MANY_DIMENSIONS", 1)
    monkeypatch.setattr(metrics, "FEW_GROUPS", 4)
    monkeypatch.setattr(ResidualMetric, "without", counted)
    found = [score for score, _ in detector.left_out(np.arange(8)) or ()]
    assert taken == [2] * 4
    np.testing.assert_allclose(found, exact, rtol=0.2)


def test_a_detector_without_some_images_is_one_of_the_others() -> None:
    parameters = PatchCoreParameters(coreset_ratio=1.0)
    left_out = np.arange(len(GOOD)) % 3 == 0
    rest = [image for image, out in zip(GOOD, left_out, strict=True) if not out]
    without = PatchCore(SETTING, parameters).fit(GOOD).without(left_out, rest)
    fitted = PatchCore(SETTING, parameters).fit(rest)
    assert without is not None
    images = np.stack(NEW)
    found, expected = (
        open_engine(detector.graph().SerializeToString(), "cpu").run(images)["score"] for detector in (without, fitted)
    )
    np.testing.assert_allclose(found, expected, rtol=0.01)
    scores = [[score for score, _ in one.left_out(np.arange(len(rest))) or ()] for one in (without, fitted)]
    np.testing.assert_allclose(*scores, rtol=0.02)


def test_scores_are_of_the_metric_that_the_images_gave() -> None:
    detector = PatchCore(SETTING).fit(GOOD)
    plain = np.stack(list(PatchFeatures("efficientnet_lite0", SIZE, SIZE).extract(GOOD, "cpu")))
    metric = ResidualMetric(plain[list(representative(GOOD))], SETTING.seed).matrix
    np.testing.assert_array_equal(detector.features.preparation.metric, metric)
    rows = plain[detector.bank.images, detector.bank.cells] @ metric
    np.testing.assert_allclose(detector.bank.rows, rows, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["of today", "without a metric", "of before"])
def test_what_is_read_back_from_a_network_is_what_it_was_written_from(kind: str) -> None:
    """The rows, the average, the metric: an update goes on in the space that the rows are in."""
    detector = PatchCore(SETTING).fit(GOOD)
    if kind != "of today":
        kernel = "mean" if kind == "of before" else "binomial"
        detector.features = PatchFeatures("efficientnet_lite0", SIZE, SIZE, Preparation(kernel))  # type: ignore[arg-type]
        patches = np.stack(list(detector.features.extract(GOOD, "cpu")))
        bank = detector.bank
        detector._bank = replace(bank, rows=patches[bank.images, bank.cells])
    network = detector.graph().SerializeToString()
    again = PatchCore.restored(network, SETTING)
    assert again.features.preparation.kernel == detector.features.preparation.kernel
    metric = detector.features.preparation.metric
    if metric is None:
        assert again.features.preparation.metric is None
        np.testing.assert_array_equal(again.bank.rows, detector.bank.rows)
    else:
        np.testing.assert_array_equal(again.features.preparation.metric, metric)
        np.testing.assert_allclose(again.bank.rows, detector.bank.rows, atol=1e-4)
    images = np.stack(NEW)
    first, second = (open_engine(model, "cpu").run(images) for model in (network, again.graph().SerializeToString()))
    np.testing.assert_allclose(second["score"], first["score"], rtol=1e-5)
    np.testing.assert_allclose(second["anomaly_map"], first["anomaly_map"], atol=1e-3)


def test_sketches_are_of_what_was_there_before_the_map() -> None:
    """So that check, which learns no metric, finds the same parts."""
    from blemish.detectors.patch_features import sketches_of

    fitted = PatchCore(SETTING).fit(GOOD)
    extended = PatchCore.restored(fitted.graph().SerializeToString(), SETTING).extend(GOOD)
    expected = sketches_of(GOOD, "efficientnet_lite0", SETTING).astype(np.float32)
    for found in (fitted.sketches, extended.sketches):
        np.testing.assert_allclose(found.astype(np.float32), expected, rtol=0.01, atol=0.02)


def test_the_graph_has_few_layers_more() -> None:
    """A metric is two convolutions of single cells; there is no product of the features with it on the fine grid."""
    plain = PatchFeatures("efficientnet_lite0", SIZE, SIZE)
    mapped = plain.measured(ResidualMetric(np.stack(list(plain.extract(GOOD, "cpu"))), 0).matrix)
    kinds = []
    for features in (plain, mapped):
        graph = GraphBuilder()
        append_nearest(graph, features, np.zeros((5, features.dimensions), np.float32))
        kinds.append([node.op_type for node in graph.nodes])
    assert kinds[1].count("Conv") == kinds[0].count("Conv") + 2 and kinds[1].count("MatMul") == kinds[0].count("MatMul")
