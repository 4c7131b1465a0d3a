"""Features far from zero, as foreign backbones have them before a normalisation: everything as if they were near."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_coreset import plain

from blemish.detectors import Setting
from blemish.detectors.coreset import greedy_coreset
from blemish.detectors.patchcore import PatchCore
from blemish.engines import open_engine

SIZE = 96
OFFSETS = (0, 100, 1000, 10_000)


def noise(seed: int, count: int) -> list[npt.NDArray[np.uint8]]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8))


GOOD, NEW = noise(1, 12), noise(2, 3)


def backbone(folder: Path, offset: float) -> str:
    """Two taps of a deviation near 4 around the offset."""
    random = np.random.default_rng(0)
    nodes, weights = [], []
    for stride, tap in ((8, "fine"), (16, "coarse")):
        kernel = random.normal(0, 1, (4, 3, stride, stride))
        kernel -= kernel.mean((1, 2, 3), keepdims=True)
        kernel *= 4 / np.linalg.norm(kernel.reshape(4, -1), axis=1)[:, None, None, None]
        for values, name in ((kernel, f"{tap}_kernel"), (np.full(4, offset), f"{tap}_bias")):
            weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        sizes = {"kernel_shape": [stride] * 2, "strides": [stride] * 2}
        nodes.append(helper.make_node("Conv", ["image", f"{tap}_kernel", f"{tap}_bias"], [tap], name=tap, **sizes))
    nodes.append(helper.make_node("GlobalAveragePool", ["coarse"], ["pooled"], name="pool"))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("N", 3, "H", "W"))
    pooled = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [None] * 4)
    model = helper.make_model(
        helper.make_graph(nodes, "far", [image], [pooled], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    path = folder / f"far_{offset}.onnx"
    path.write_bytes(model.SerializeToString())
    Path(f"{path}.json").write_text(json.dumps({"taps": ["fine", "coarse"]}))
    return str(path)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, PatchCore]:
    folder = tmp_path_factory.mktemp("far")
    settings = {offset: Setting(SIZE, SIZE, backbone=backbone(folder, offset), device="cpu") for offset in OFFSETS}
    return {offset: PatchCore(setting).fit(GOOD) for offset, setting in settings.items()}


def scores(model: onnx.ModelProto, engine: str | None = None) -> npt.NDArray[np.float32]:
    return open_engine(model.SerializeToString(), "cpu", name=engine).run(np.stack(NEW))["score"]


@pytest.mark.parametrize("offset", OFFSETS)
def test_bank_and_scores_are_the_exact_ones(fitted: dict[int, PatchCore], offset: int) -> None:
    detector = fitted[offset]
    assert (detector.features.preparation.origin is None) == (offset == 0)
    patches = np.stack(list(detector.features.extract(GOOD, "cpu"))).astype(np.float64)  # (n, P, d)
    chosen = detector.bank.images * patches.shape[1] + detector.bank.cells
    np.testing.assert_array_equal(chosen, plain(patches.reshape(-1, 8), len(chosen)))
    rows = patches.reshape(-1, 8)[chosen]
    new = np.stack(list(detector.features.extract(NEW, "cpu"))).astype(np.float64)
    distances = np.linalg.norm(new[:, :, None] - rows, axis=3).min(axis=2)
    expected = [detector._smoothed(image.astype(np.float32)).max() for image in distances]
    np.testing.assert_allclose(scores(detector.graph()), expected, rtol=1e-5)


@pytest.mark.parametrize("offset", OFFSETS[2:])
def test_how_far_changes_no_score(fitted: dict[int, PatchCore], offset: int) -> None:
    """But for the digits that float32 has lost of the features before anybody sees them."""
    for found in (
        lambda detector: scores(detector.graph()),
        lambda detector: [score for score, _ in detector.left_out(np.arange(12))],
    ):
        np.testing.assert_allclose(found(fitted[offset]), found(fitted[100]), rtol=1e-3)


def test_a_far_model_is_restored_extended_and_shows_its_rows(fitted: dict[int, PatchCore]) -> None:
    detector = fitted[1000]
    model = detector.graph()
    restored = PatchCore.restored(model.SerializeToString(), detector.setting)
    np.testing.assert_array_equal(restored.features.preparation.origin, detector.features.preparation.origin)
    again = PatchCore.restored(restored.graph().SerializeToString(), detector.setting)
    np.testing.assert_allclose(again.bank.rows, restored.bank.rows, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores(restored.graph()), scores(model), rtol=1e-6)
    image, row, column = detector.row_origins[5]
    nearest, distance = restored.nearest_rows(GOOD[image], np.array([[row, column]]))
    assert nearest.tolist() == [5] and distance[0] < 1e-3
    assert (scores(restored.extend(NEW).graph()) <= scores(model) * (1 + 1e-6)).all()


def test_every_engine_agrees(fitted: dict[int, PatchCore]) -> None:
    pytest.importorskip("openvino")
    model = fitted[1000].graph()
    np.testing.assert_allclose(scores(model, "openvino"), scores(model), rtol=1e-4)


def test_the_embedded_backbone_needs_no_origin() -> None:
    grey: Any = [np.full((SIZE, SIZE, 3), 90, np.uint8)] * 2
    model = PatchCore(Setting(SIZE, SIZE, preset="fast", device="cpu")).fit(grey).graph()
    assert not any(tensor.name.startswith("patch_origin") for tensor in model.graph.initializer)


@pytest.mark.parametrize("offset", [0, 1000, 100_000])
def test_the_coreset_of_points_that_are_far(offset: float) -> None:
    points = (np.random.default_rng(0).normal(0, 1, (2000, 8)) + offset).astype(np.float32)
    np.testing.assert_array_equal(greedy_coreset(points, 150), plain(points.astype(np.float64), 150))
