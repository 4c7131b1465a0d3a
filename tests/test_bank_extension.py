"""A memory bank that goes on growing does so as plain greedy selection would, and is read back from its network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_leave_out import bank_of, textures
from textures import brighter, plate
from tiny_model import tiny_network

from blemish.detectors import Setting
from blemish.detectors.leave_out import left_out_distances
from blemish.detectors.memory_bank import MemoryBank, Selection, extended_bank
from blemish.detectors.patchcore import PatchCore
from blemish.detectors.stored_bank import stored_bank
from blemish.engines import open_engine
from blemish.errors import ModelError

Floats = npt.NDArray[np.float32]
GOOD = [plate(seed) for seed in range(6)]
NEW = [brighter(plate(seed)) for seed in range(50, 54)]
SETTING = Setting(96, 96, preset="fast", device="cpu")
ANY = Selection(1.0, 1, 10_000)


def plainly(rows: npt.NDArray[np.float64], points: npt.NDArray[np.float64], most: int, covered: float) -> list[int]:
    """The farthest point, one by one, until none is farther than `covered`."""
    away = ((points[:, None] - rows) ** 2).sum(2).min(axis=1)
    chosen: list[int] = []
    while len(chosen) < most and away.max() > covered:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, ((points - points[chosen[-1]]) ** 2).sum(1))
    return chosen


@given(seed=st.integers(0, 1000), most=st.integers(0, 50), covered=st.floats(0, 30))
def test_it_is_greedy_selection_going_on(seed: int, most: int, covered: float) -> None:
    features = textures(seed, 12)
    bank = bank_of(features[:6], 40)
    points = features[6:].reshape(-1, features.shape[2])
    grown = extended_bank(bank, features[6:], 0, ANY, most=most, covered=covered)
    expected = plainly(bank.rows.astype(np.float64), points.astype(np.float64), most, covered)
    assert (grown.rows[:40] == bank.rows).all()
    assert (grown.images[40:] * 60 + grown.cells[40:]).tolist() == expected
    assert (grown.rows[40:] == points[expected]).all()


@given(seed=st.integers(0, 1000), count=st.integers(1, 60))
def test_the_spacing_is_that_of_the_nearest_two_rows(seed: int, count: int) -> None:
    bank = bank_of(textures(seed, 4), count)
    rows = bank.rows.astype(np.float64)
    squares = ((rows[:, None] - rows) ** 2).sum(2)[~np.eye(count, dtype=bool)]
    assert bank.spacing() == pytest.approx(squares.min() if count > 1 else 0, rel=1e-3, abs=1e-3)


def test_the_spacing_across_blocks_of_rows() -> None:
    rows = np.random.default_rng(0).normal(size=(1300, 4)).astype(np.float32)
    rows[1200] = rows[3] + np.float32(1e-2)
    assert MemoryBank.of_before(rows).spacing() == pytest.approx(4e-4, rel=1e-2)


def test_patches_that_the_bank_was_selected_from_are_covered() -> None:
    features = textures(3, 8)
    bank = bank_of(features, 60)
    assert len(extended_bank(bank, features, 0, ANY, most=100, covered=bank.spacing())) == 60


def test_left_out_scores_beside_rows_of_before() -> None:
    """The rows of before stay; those of the part go, and selection goes on among the other new patches."""
    features, parts = textures(5, 12), np.array([0, 0, 1, 2, 3, 3])
    before = MemoryBank.of_before(bank_of(features[:6], 40).rows)
    new, covered = features[6:], 6.0
    bank = extended_bank(before, new, 0, ANY, most=60, covered=covered)
    found = left_out_distances(new, bank, parts, covered=covered)
    points = new.astype(np.float64)
    for part in range(4):
        keep = bank.parts_of(parts) != part
        assert keep[:40].all() and not keep.all()
        rows = bank.rows[keep].astype(np.float64)
        others = points[parts != part].reshape(-1, points.shape[2])
        rows = np.concatenate([rows, others[plainly(rows, others, int((~keep).sum()), covered)]])
        for i in np.flatnonzero(parts == part):
            expected = np.sqrt(((points[i][:, None] - rows) ** 2).sum(2).min(axis=1))
            np.testing.assert_allclose(found[i], expected, rtol=2e-3, atol=2e-3)


class TestStored:
    def test_bank_and_backbone_come_back(self) -> None:
        detector = PatchCore(SETTING).fit(GOOD)
        model = detector.graph().SerializeToString()
        restored = PatchCore.restored(model, SETTING)
        np.testing.assert_allclose(restored.bank.rows, detector.bank.rows, rtol=1e-5, atol=1e-4)
        images = np.stack(NEW)
        found, expected = (
            open_engine(network, "cpu").run(images)["anomaly_map"]
            for network in (restored.graph().SerializeToString(), model)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)

    def test_again_and_again_the_network_stays_the_same(self) -> None:
        """Names in it do not grow with every update."""
        once = PatchCore.restored(PatchCore(SETTING).fit(GOOD).graph().SerializeToString(), SETTING).graph()
        twice = PatchCore.restored(once.SerializeToString(), SETTING).graph()
        assert [node.output for node in once.graph.node] == [node.output for node in twice.graph.node]
        assert [tensor.name for tensor in once.graph.initializer] == [tensor.name for tensor in twice.graph.initializer]

    def test_a_bank_in_several_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from blemish.detectors import nearest_row

        monkeypatch.setattr(nearest_row, "DISTANCES", 144 * 100)
        detector = PatchCore(SETTING).fit(GOOD)
        model = detector.graph()
        assert sum(tensor.name.startswith("bank_stride8") for tensor in model.graph.initializer) > 3
        rows = stored_bank(model.SerializeToString())[1]
        np.testing.assert_allclose(rows, detector.bank.rows, rtol=1e-5, atol=1e-4)

    @pytest.mark.parametrize(
        ("memory", "noise"), [(1, 0.0), (2_000_000_000, 0.0), (2_000_000_000, 0.05)], ids=["stream", "whole", "noise"]
    )
    def test_extended_in_memory_or_in_a_stream(self, memory: int, noise: float) -> None:
        model = PatchCore(SETTING).fit(GOOD).graph().SerializeToString()
        setting = Setting(96, 96, preset="fast", device="cpu", memory_budget=memory)
        restored = PatchCore.restored(model, setting, PatchCore.Parameters(noise_share=noise))
        before = restored.size
        new = [brighter(plate(seed)) for seed in range(50, 70)]
        restored.extend(new)
        assert before < restored.size <= before + 512
        scores = [score for score, _ in restored.left_out(np.arange(20))]
        engine = open_engine(restored.graph().SerializeToString(), "cpu")
        seen = engine.run(np.stack(new))["score"]
        assert len(scores) == 20 and (seen <= scores).all() and len(restored.sketches) == 20

    @pytest.mark.parametrize("light", [True, False])
    def test_left_out_scores_are_those_of_an_update_without_the_image(self, light: bool) -> None:
        """Exact where the bank covers the new images; under other light, right on average."""
        model = PatchCore(SETTING).fit([plate(seed) for seed in range(24)]).graph().SerializeToString()
        new = [brighter(plate(seed)) if light else plate(seed) for seed in range(200, 208)]
        found = PatchCore.restored(model, SETTING).extend(new).left_out(np.arange(8))
        assert found is not None
        ratios = []
        for i, (score, _) in enumerate(found):
            without = PatchCore.restored(model, SETTING).extend([*new[:i], *new[i + 1 :]]).graph()
            engine = open_engine(without.SerializeToString(), "cpu")
            ratios.append(score / engine.run(new[i][None])["score"][0])
        assert np.mean(ratios) == pytest.approx(1, abs=0.03 if light else 1e-4)

    @pytest.mark.parametrize("fault", ["no bank", "one tap", "other rows", "not finite", "no pooling"])
    def test_networks_that_are_not_ours(self, fault: str) -> None:
        from onnx import numpy_helper

        model = PatchCore(SETTING).fit(GOOD[:1]).graph()
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        if fault == "no bank":
            model = onnx.load_from_string(tiny_network())
        elif fault == "one tap":
            node = next(node for node in model.graph.node if "bank_stride16" in node.input)
            node.op_type = "Gemm"
        elif fault == "other rows":
            tensors["bank_stride8"].CopyFrom(numpy_helper.from_array(np.zeros((40, 3), np.float32), "bank_stride8"))
        elif fault == "not finite":
            rows = numpy_helper.to_array(tensors["bank_stride8"]).copy()
            rows[0, 0] = np.nan
            tensors["bank_stride8"].CopyFrom(numpy_helper.from_array(rows, "bank_stride8"))
        else:
            for node in model.graph.node:
                node.op_type = "MaxPool" if node.op_type == "AveragePool" else node.op_type
        with pytest.raises(ModelError, match=r"cannot be read: .*; train the model again"):
            stored_bank(model.SerializeToString())
