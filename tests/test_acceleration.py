"""The choice of an engine, lower precision, and what it is refused for."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from runs import fitted
from textures import plate

from blemish.acceleration import accelerate, choice, quantised
from blemish.acceleration.bounds import figures
from blemish.acceleration.held_out import HeldOut, Scores, judge_held_out
from blemish.acceleration.planted import planted
from blemish.acceleration.timing import disagreement, median_times, probe_images
from blemish.calibration import Calibration
from blemish.config import HpiConfig, choose_engine, read_hpi_config
from blemish.datasets import find_good_images
from blemish.engines import open_engine
from blemish.engines.openvino import load_openvino
from blemish.errors import DatasetError, DeviceError, ModelError, UsageError
from blemish.images import Frame, InputGeometry
from blemish.models import LoadedModel, load_model
from blemish.pipeline import open_model
from blemish.sample_range import SampleRange
from blemish.training_images import TrainingImages

if find_spec("openvino") is None:
    pytest.skip('needs pip install "blemish[openvino]"', allow_module_level=True)

BF16 = HpiConfig(precision="bf16", num_threads=1)
SIDE = 96
FRAME = Frame.whole(InputGeometry(SIDE, SIDE, 1.0))


def draw(folder: Path, seeds: range) -> Path:
    folder.mkdir(parents=True)
    for seed in seeds:
        cv2.imwrite(str(folder / f"{seed:03}.png"), plate(seed, SIDE))
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("acceleration")
    return fitted(draw(root / "good", range(40)), root / "run").output


@pytest.fixture
def model(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
    monkeypatch.setenv("BLEMISH_CACHE_HOME", str(tmp_path / "cache"))
    return load_model(run_folder)


@pytest.fixture
def bf16() -> None:
    """Some processors compute in float32 whatever is asked for."""
    if "BF16" not in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16")


def training_images(folder: Path) -> TrainingImages:
    return TrainingImages(find_good_images(folder), FRAME, SampleRange.of(16), 1 << 24, lambda *_: None)


class TestChoice:
    def test_auto_times_what_is_installed_and_remembers(self, model: LoadedModel, tmp_path: Path) -> None:
        lines: list[str] = []
        first = accelerate(model, "cpu", HpiConfig(num_threads=1), lines.append)
        again = accelerate(model, "cpu", HpiConfig(num_threads=1), lines.append)
        assert first.engines[0].name == again.engines[0].name and again.model is model
        assert all("onnxruntime" in line and "openvino" in line and "ms" in line for line in lines)
        assert ["(remembered)" in line for line in lines] == [False, True]
        accelerate(model, "cpu", HpiConfig(num_threads=2), lines.append)
        assert "(remembered)" not in lines[2] and len(lines) == 3

    def test_the_fastest_is_taken(self, model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(choice, "_remembered", lambda *_: None)
        for times in ({"onnxruntime": 1.0, "openvino": 2.0}, {"onnxruntime": 2.0, "openvino": 1.0}):
            monkeypatch.setattr(choice, "median_times", lambda *_, times=times: times)
            assert times[accelerate(model, "cpu", HpiConfig(), print).engines[0].name] == 1.0

    @pytest.mark.parametrize(
        "text",
        [
            *("", "{", "[]", '"x"', "{}", '{"engine": "openvino"}', '{"engine": "openvino", "times_ms": {}}'),
            *(
                '{"engine": "paddle", "times_ms": {"paddle": 1}}',
                '{"engine": "openvino", "times_ms": {"openvino": NaN}}',
            ),
            *('{"engine": ["openvino"], "times_ms": {"openvino": 1}}', "[" * 60_000),
        ],
    )
    def test_a_damaged_memory_is_ignored_and_replaced(
        self, model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        lines: list[str] = []
        monkeypatch.setattr(choice, "median_times", partial(median_times, seconds=0.0))
        accelerate(model, "cpu", HpiConfig(), lines.append)
        (place,) = (tmp_path / "cache" / "engines").iterdir()
        place.write_text(text)
        accelerate(model, "cpu", HpiConfig(), lines.append)
        assert "(remembered)" not in lines[1] and "engine" in json.loads(place.read_text())

    def test_a_cache_that_cannot_be_written_is_no_error(self, model: LoadedModel, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("a file in its place")
        assert accelerate(model, "cpu", HpiConfig(), print).engines[0].device == "cpu"

    @pytest.mark.usefixtures("bf16")
    def test_an_engine_that_disagrees_is_not_used(
        self, model: LoadedModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        real = choice.engines_for

        def off(network: bytes, device: str, *, num_threads: int | None, name: str) -> list[object]:
            precision = "bf16" if name == "openvino" else "fp32"
            return real(network, device, num_threads=num_threads, name=name, precision=precision)

        monkeypatch.setattr(choice, "engines_for", off)
        assert accelerate(model, "cpu", HpiConfig(), print).engines[0].name == "onnxruntime"
        assert "openvino: its results differ by" in capsys.readouterr().out
        with pytest.raises(DeviceError, match="no engine can be used on `cpu`: openvino: its results differ"):
            accelerate(model, "cpu", HpiConfig(backend="openvino"), print)

    def test_a_backend_that_is_not_there(self, model: LoadedModel) -> None:
        with pytest.raises(DeviceError, match="TensorrtExecutionProvider"):
            accelerate(model, "auto", HpiConfig(backend="tensorrt"), print)

    @pytest.mark.usefixtures("bf16")
    def test_times_are_of_all_engines(self, model: LoadedModel) -> None:
        engines = {name: open_engine(model.model, "cpu", name=name) for name in ("onnxruntime", "openvino")}
        images = probe_images(SIDE, SIDE)
        assert images.shape == (2, SIDE, SIDE, 3) and images.dtype == np.uint8
        assert all(ms > 0 for ms in median_times(engines, images, seconds=0.1).values())
        assert (
            disagreement(*engines.values(), images)
            < 1e-4
            < disagreement(
                open_engine(model.model, "cpu", name="openvino", precision="bf16"), engines["onnxruntime"], images
            )
        )


@pytest.mark.usefixtures("bf16")
class TestLowerPrecision:
    def test_a_model_calibrated_again_is_kept(self, model: LoadedModel, tmp_path: Path) -> None:
        lines: list[str] = []
        lower = accelerate(model, "cpu", BF16, lines.append)
        assert len(lines) == 3 and "within its bounds" in lines[1] and "at bf16" in lines[2]
        before, after = (Calibration.from_json(m.info.calibration.model_dump()) for m in (model, lower.model))
        assert after.kind == f"{before.kind}, bf16" and (after.scores != before.scores).any()
        np.testing.assert_allclose(after.scores, before.scores, rtol=0.1)
        np.testing.assert_array_equal(after.parts, before.parts)
        (folder,) = (tmp_path / "cache" / "precision").iterdir()
        assert load_model(folder).info == lower.model.info
        again = accelerate(model, "cpu", BF16, lines.append)
        assert len(lines) == 4 and again.model.info == lower.model.info
        (folder / "model.onnx").write_bytes(b"damaged")
        assert accelerate(model, "cpu", BF16, lines.append).model.info.calibration == lower.model.info.calibration
        assert len(lines) == 7

    def test_predictions_use_its_calibration(self, run_folder: Path, model: LoadedModel) -> None:
        image = plate(77, SIDE)[..., ::-1]
        plain = next(open_model(run_folder, "cpu").predict(image))
        lower = next(open_model(run_folder, "cpu", engine=BF16).predict(image))
        assert plain.score != lower.score == pytest.approx(plain.score, rel=0.1)
        assert plain.threshold != lower.threshold == pytest.approx(plain.threshold, rel=0.1)

    def test_what_is_judged_was_not_learned_from(self, run_folder: Path, model: LoadedModel) -> None:
        """The same precision twice changes nothing; each image is judged by the other half's model."""
        images = training_images(run_folder.parent / "good")
        same, ranges = judge_held_out(
            model, images, "efficientnet_lite0", lambda network, _: open_engine(network, "cpu")
        )
        np.testing.assert_array_equal(same.calibration(0.01).scores, np.array(model.info.calibration.scores))
        own = np.array([open_engine(model.model, "cpu").run(image[None])["score"][0] for image in images])
        assert (same.exact.good > own).mean() > 0.9 and len(ranges) == 40
        assert figures(same, 0.05).faults == ()

    def test_training_images_in_another_order_are_not_taken_for_it(
        self, run_folder: Path, model: LoadedModel, tmp_path: Path
    ) -> None:
        """The calibration knows its images by their order alone, which other names change, and updates too."""
        renamed = Path(shutil.copytree(run_folder.parent / "good", tmp_path / "renamed"))
        (renamed / "000.png").rename(renamed / "zzz.png")
        with pytest.raises(UsageError, match="all of its training images unchanged"):
            accelerate(model, "cpu", BF16.model_copy(update={"good": str(renamed)}), print)

    def test_new_images_calibrate_by_themselves(self, model: LoadedModel, run_folder: Path, tmp_path: Path) -> None:
        new = draw(tmp_path / "new", range(100, 140))
        for name in ("000.png", "001.png"):
            shutil.copy(run_folder.parent / "good" / name, new)  # seen in training: judged by nobody
        lower = accelerate(model, "cpu", BF16.model_copy(update={"good": str(new)}), print)
        assert lower.model.info.calibration.kind == "new good images, bf16"
        engine = lower.engines[0]
        scores = {float(engine.run(image[None])["score"][0]) for image in training_images(new)}
        assert 20 <= len(lower.model.info.calibration.scores) < 40 and {*lower.model.info.calibration.scores} <= scores

    @pytest.mark.parametrize(
        ("device", "hpi", "error", "message"),
        [
            ("gpu", BF16, UsageError, "for the CPU"),
            ("cpu", HpiConfig(precision="bf16", backend="onnxruntime"), UsageError, "computed by openvino"),
            ("cpu", HpiConfig(precision="int8", backend="openvino"), UsageError, "computed by onnxruntime"),
            ("cpu", HpiConfig(precision="bf16", good="/not/there"), DatasetError, "/not/there: no such folder"),
        ],
    )
    def test_refusals(self, model: LoadedModel, device: str, hpi: HpiConfig, error: type, message: str) -> None:
        with pytest.raises(error, match=message):
            accelerate(model, device, hpi, print)

    def test_too_few_new_images(self, model: LoadedModel, tmp_path: Path) -> None:
        few = BF16.model_copy(update={"good": str(draw(tmp_path / "few", range(200, 212)))})
        with pytest.raises(UsageError, match="20 or more are needed"):
            accelerate(model, "cpu", few, print)

    def test_without_its_training_images(self, model: LoadedModel, tmp_path: Path) -> None:
        alone = load_model(shutil.copytree(model.folder, tmp_path / "alone"))
        with pytest.raises(UsageError, match="--good-images DIR"):
            accelerate(alone, "cpu", BF16, print)

    def test_harm_is_refused_with_the_figures(self, model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
        """A network whose lower precision answers at random."""
        from blemish.acceleration import recalibrate

        class Random:
            def __init__(self, network: bytes) -> None:
                self.engine, self.random = open_engine(network, "cpu"), np.random.default_rng(0)

            def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
                outputs = self.engine.run(image)
                return {name: value * self.random.uniform(0.5, 2) for name, value in outputs.items()}

        monkeypatch.setattr(recalibrate, "_lower", lambda _: lambda network, _: Random(network))
        with pytest.raises(ModelError, match=r"bf16 is refused .*rank correlation .*float32.*use fp32") as error:
            accelerate(model, "cpu", BF16, print)
        assert "\n" not in str(error.value)


class TestBounds:
    @staticmethod
    def held_out(change: object = None, seed: int = 0) -> HeldOut:
        random = np.random.default_rng(seed)
        good, bad = random.normal(10, 1, 100), random.normal(14, 2, 100)
        exact = Scores(good, good, bad)
        lower = exact if change is None else change(exact, random)  # type: ignore[operator]
        return HeldOut(exact, lower, Calibration(good, good, np.arange(100)))

    def test_no_change_and_a_common_shift_are_fine(self) -> None:
        assert figures(self.held_out(), 0.05).faults == ()
        shifted = self.held_out(lambda s, _: Scores(s.good * 3 + 50, s.peaks * 3 + 50, s.planted * 3 + 50))
        assert figures(shifted, 0.05).faults == ()

    def test_lost_order(self) -> None:
        noisy = self.held_out(
            lambda s, r: Scores(s.good + r.normal(0, 3, 100), s.peaks, s.planted + r.normal(0, 3, 100))
        )
        faults = " ".join(figures(noisy, 0.05).faults)
        assert "rank correlation" in faults and "AUROC" in faults

    def test_lost_defects(self) -> None:
        weak = self.held_out(lambda s, _: Scores(s.good, s.peaks, np.where(s.planted > 12, 11.0, s.planted)))
        assert any("planted defects are lost" in fault for fault in figures(weak, 0.05).faults)

    def test_false_alarms_that_come_in_one_half(self) -> None:
        def one_half_higher(s: Scores, _: object) -> Scores:
            return Scores(s.good + 8 * (np.arange(100) % 4 < 2), s.peaks, s.planted)

        assert any("false alarms" in fault for fault in figures(self.held_out(one_half_higher), 0.05).faults)

    def test_a_shift_moves_the_calibration(self) -> None:
        shifted = self.held_out(lambda s, _: Scores(s.good + 2, s.peaks + 3, s.planted + 2))
        base = shifted.stated.scores - 1
        calibration = replace(shifted, stated=replace(shifted.stated, scores=base)).calibration(0.02)
        np.testing.assert_allclose(calibration.scores, base + 2)
        assert calibration.false_alarm_rate == 0.02


class TestQuantised:
    def test_convolutions_become_whole_numbers_and_the_head_stays(self, model: LoadedModel) -> None:
        import onnx

        images = [plate(seed, SIDE) for seed in range(6)]
        before = onnx.load_from_string(model.model)
        network = quantised(model.model, images)
        after = onnx.load_from_string(network)
        assert model.model == before.SerializeToString()
        kinds = {tensor.name: tensor.data_type for tensor in after.graph.initializer}
        assert sum(kind == onnx.TensorProto.INT8 for kind in kinds.values()) >= 20
        count = [sum(node.op_type == "MatMul" for node in m.graph.node) for m in (before, after)]
        assert count[0] == count[1] and {entry.domain for entry in after.opset_import} == {""}
        scores = [open_engine(m, "cpu").run(np.stack(images))["score"] for m in (model.model, network)]
        assert (scores[0] != scores[1]).any()

    def test_nothing_to_quantise(self) -> None:
        from tiny_model import tiny_network

        with pytest.raises(ModelError, match="no convolution"):
            quantised(tiny_network(), [np.zeros((8, 16, 3), np.uint8)])

    def test_the_loggers_are_left_alone(self, model: LoadedModel) -> None:
        import logging

        before = list(logging.root.handlers), logging.root.manager.disable
        quantised(model.model, [plate(0, SIDE)])
        assert (list(logging.root.handlers), logging.root.manager.disable) == before


def test_planted_defects_are_local_and_repeatable() -> None:
    image = plate(3, SIDE)
    spot = planted(image, 5)
    np.testing.assert_array_equal(spot, planted(image, 5))
    changed = (spot != image).any(axis=2)
    assert 0 < changed.mean() < 0.2 and (spot != planted(image, 6)).any()


class TestSettings:
    def test_hpi_config(self, caplog: pytest.LogCaptureFixture) -> None:
        assert read_hpi_config(None) == HpiConfig()
        assert read_hpi_config('{"backend": "openvino", num_threads: 2}') == HpiConfig(
            backend="openvino", num_threads=2
        )
        with caplog.at_level("WARNING", "blemish"):
            assert read_hpi_config({"auto_config": True, "precision": "int8"}) == HpiConfig(precision="int8")
        assert "auto_config" in caplog.text

    @pytest.mark.parametrize(
        "data", [{"backen": "auto"}, {"precision": "fp16"}, {"num_threads": 0}, "[1]", "{a: b: c}"]
    )
    def test_refusals(self, data: object) -> None:
        with pytest.raises(UsageError, match="hpi_config") as error:
            read_hpi_config(data)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)

    def test_an_engine_is_a_name_or_a_way_to_choose(self) -> None:
        assert choose_engine(None, False, None) is None
        assert choose_engine("openvino", None, None) == "openvino"
        assert choose_engine("auto", False, None) == choose_engine(None, True, {}) == choose_engine("hpi", None, None)
        assert choose_engine("openvino", True, {"num_threads": 1}) == HpiConfig(backend="openvino", num_threads=1)


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from blemish.cache import cache_home

    monkeypatch.delenv("BLEMISH_CACHE_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_home() == tmp_path / "blemish"
    monkeypatch.setenv("BLEMISH_CACHE_HOME", os.fspath(tmp_path / "own"))
    assert cache_home() == tmp_path / "own"
