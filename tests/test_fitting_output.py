"""Other backbones, places that cannot be written, fits that are killed, and what is told meanwhile."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from runs import SMALL, fitted, model_of, scores
from textures import plate, write, write_all

from blemish.config import load_config
from blemish.errors import BackboneError, BlemishError, ModelError, UsageError
from blemish.fitting import FitReport, fit
from blemish.run_output import open_output
from blemish.training.checkpoints import checkpoints

ROOT = Path(__file__).resolve().parent.parent


def tiny_backbone(path: Path, height: int | str = "H", width: int | str = "W", strides: int = 4) -> Path:
    """Convolutions of stride 2 with random weights: features at strides 2, 4, 8, 16."""
    random = np.random.default_rng(0)
    nodes, weights, source, channels = [], [], "image", 3
    for i in range(strides):
        kernel = random.normal(0, 0.5 / np.sqrt(channels), (8, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"k{i}"))
        shape = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}
        nodes += [
            helper.make_node("Conv", [source, f"k{i}"], [f"c{i}"], **shape),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"]),
        ]
        source, channels = f"r{i}", 8
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, height, width])],
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, [None] * 4)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    sidecar = {"licence": "CC0-1.0\n" + "x" * 3000, "source": "made here", "mean": [0.5] * 3, "std": [0.5] * 3}
    Path(f"{path}.json").write_text(json.dumps(sidecar))
    return path


class TestBackbones:
    def test_an_onnx_file(self, good: Path, tmp_path: Path) -> None:
        net = tiny_backbone(tmp_path / "net.onnx")
        report = fitted(good, tmp_path / "out", f"Model.backbone={net}")
        backbone = model_of(report).info.backbone
        assert backbone is not None and (backbone.name, backbone.source) == ("net.onnx", "made here")
        assert backbone.licence.startswith("CC0-1.0?") and backbone.mean == [0.5] * 3
        assert str(tmp_path) not in (report.folder / "model.json").read_text()
        bad = scores(report.folder, [plate(seed, defect=True) for seed in range(200, 210)])
        fine = scores(report.folder, [plate(seed) for seed in range(100, 110)])
        assert bad.min() > fine.max()

    @pytest.mark.parametrize("size", [(64, 96), (72, 104), (50, 70)])
    def test_one_size_only(self, size: tuple[int, int], good: Path, tmp_path: Path) -> None:
        """A network of fixed input gives a model of that input, or says why not before the work."""
        net = tiny_backbone(tmp_path / "net.onnx", *size)
        config = [f"Global.dataset_dir={good}", f"Global.output={tmp_path / 'out'}", f"Model.backbone={net}"]
        try:
            report = fit(load_config(None, config))
        except BlemishError as error:
            assert str(net) in str(error) or "net.onnx" in str(error)
            assert size != (64, 96)
            return
        assert (model_of(report).info.input.height, model_of(report).info.input.width) == size
        assert np.isfinite(scores(report.folder, [plate(1)])).all()

    def test_another_size_than_the_only_one(self, good: Path, tmp_path: Path) -> None:
        net = tiny_backbone(tmp_path / "net.onnx", 64, 96)
        with pytest.raises(UsageError, match="96x64 only"):
            fitted(good, tmp_path / "out", f"Model.backbone={net}")
        assert not (tmp_path / "out" / "best_model" / "inference").exists()

    def test_without_the_strides_that_are_needed(self, good: Path, tmp_path: Path) -> None:
        net = tiny_backbone(tmp_path / "net.onnx", strides=1)
        with pytest.raises(BlemishError, match="no feature map at a stride of 4 to 32"):
            fitted(good, tmp_path / "out", f"Model.backbone={net}")

    @pytest.mark.parametrize("value", [3e38, np.inf, np.nan])
    def test_values_that_are_not_finite(self, value: float, good: Path, tmp_path: Path) -> None:
        net = tiny_backbone(tmp_path / "net.onnx")
        model = onnx.load(net)
        model.graph.initializer[0].CopyFrom(
            numpy_helper.from_array(np.full((8, 3, 3, 3), np.float32(value)), model.graph.initializer[0].name)
        )
        onnx.save(model, net)
        with pytest.raises(BackboneError, match="not finite"):
            fitted(good, tmp_path / "out", f"Model.backbone={net}")
        assert not (tmp_path / "out" / "best_model" / "inference").exists()


class TestOutput:
    def test_a_folder_with_something_else_is_left_alone(self, good: Path, tmp_path: Path) -> None:
        other = tmp_path / "best_model" / "inference"
        write(other / "holiday.png", plate(0))
        with pytest.raises(ModelError, match=r"holds holiday\.png"):
            fitted(good, tmp_path)
        assert [path.name for path in other.iterdir()] == ["holiday.png"]

    @pytest.mark.parametrize("blocked", [".", "best_model", "train.log", "config.yaml", "train_result.json"])
    def test_places_that_cannot_be_written(self, blocked: str, good: Path, tmp_path: Path) -> None:
        """A file where a folder must be, or the reverse; before the work where the model itself could not be saved."""
        place = tmp_path / "out" / blocked
        if blocked in (".", "best_model"):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("a file")
        else:
            place.mkdir(parents=True)
        stages: list[str] = []
        config = load_config(None, [f"Global.dataset_dir={good}", f"Global.output={tmp_path / 'out'}", *SMALL])
        with pytest.raises(UsageError, match=r"out.* cannot be (written|made)"):
            fit(config, lambda stage, *rest: stages.append(stage))
        assert not stages or blocked in ("config.yaml", "train_result.json")

    def test_a_second_fit_replaces_the_model_and_keeps_the_first(
        self, good: Path, usual: FitReport, tmp_path: Path
    ) -> None:
        write_all(tmp_path / "in", [plate(seed) for seed in range(5)])
        fitted(tmp_path / "in", tmp_path / "out")
        report = fitted(good, tmp_path / "out")
        assert model_of(report).model == model_of(usual).model
        names = sorted(path.name for path in (tmp_path / "out" / "best_model").iterdir())
        assert names == ["inference", "inference_history"]

    @pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
    @pytest.mark.parametrize("stage", ["images", "features", "calibration"])
    def test_a_killed_fit_leaves_the_old_model(self, stage: str, good: Path, usual: FitReport, tmp_path: Path) -> None:
        report = fitted(good, tmp_path / "out")
        write_all(tmp_path / "in", [plate(seed) for seed in range(30, 60)])
        code = f"""
import sys, time
from blemish.config import load_config
from blemish.fitting import fit
def progress(stage, *rest):
    if stage == {stage!r}:
        print("there", flush=True)
        time.sleep(60)
fit(load_config(None, sys.argv[1:]), progress)
"""
        overrides = [f"Global.dataset_dir={tmp_path / 'in'}", f"Global.output={tmp_path / 'out'}", *SMALL]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen([sys.executable, "-c", code, *overrides], stdout=subprocess.PIPE, env=environment) as run:
            assert run.stdout is not None and run.stdout.readline() == b"there\n"
            run.send_signal(signal.SIGKILL)
        assert model_of(report).model == model_of(usual).model
        again = fit(load_config(None, overrides))
        assert model_of(again).info.data.images == 30

    def test_a_fit_that_fails_leaves_the_earlier_one_with_its_record(self, good: Path, tmp_path: Path) -> None:
        report = fitted(good, tmp_path / "out")
        record = (tmp_path / "out" / "train_result.json").read_text()
        write(tmp_path / "in" / "a.png", plate(0)).write_bytes(b"")
        with pytest.raises(BlemishError, match="can be read"):
            fitted(tmp_path / "in", tmp_path / "out")
        assert (tmp_path / "out" / "train_result.json").read_text() == record
        assert model_of(report).info.data.images == 24

    @pytest.mark.parametrize(
        ("number", "named", "told"),
        [
            (errno.EIO, None, "the system refuses to read or write: "),
            (errno.EACCES, "out/train.log", "the system refuses .*train.log: "),
            (errno.ENOSPC, None, "the output folder .*out cannot be written: "),
        ],
    )
    def test_what_the_system_refuses_is_named_as_it_is(
        self, number: int, named: str | None, told: str, tmp_path: Path
    ) -> None:
        file = None if named is None else str(tmp_path / named)
        with pytest.raises(UsageError, match=f"^{told}{os.strerror(number)}$"), open_output(tmp_path / "out"):
            raise OSError(number, os.strerror(number), file)

    def test_an_old_checkpoint_is_whole_until_it_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that is killed while it deletes one leaves nothing that passes for a checkpoint."""
        place = tmp_path / "iter_5"
        place.mkdir()
        (place / "state.json").write_text("{}")
        monkeypatch.setattr(shutil, "rmtree", lambda *_args, **_settings: None)
        with open_output(tmp_path, keeps=False) as output:
            output.begin(None)
        assert checkpoints(tmp_path) == []
        monkeypatch.undo()
        with open_output(tmp_path) as output:
            output.begin(None)
        assert [path.name for path in tmp_path.iterdir()] == ["train.log"]

    def test_nothing_is_logged_twice_after_a_failure(self, good: Path, tmp_path: Path) -> None:
        """A failed fit takes its log file off again."""
        before = list(logging.getLogger("blemish").handlers)
        with pytest.raises(BlemishError):
            fitted(good, tmp_path, r"Calibrate.group_by=nothing")
        assert logging.getLogger("blemish").handlers == before


@pytest.mark.parametrize("key", ["Model.coreset_rato=0.1", "Model.noise_share=0.7", "Model.coreset_ratio=0"])
def test_the_detectors_own_keys_are_checked(key: str, good: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=key.split("=", maxsplit=1)[0].split(".")[1]):
        fitted(good, tmp_path / "out", key)
    assert not (tmp_path / "out").exists()


def test_progress_tells_every_stage_in_order(good: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    config = load_config(None, [f"Global.dataset_dir={good}", f"Global.output={tmp_path}", *SMALL])
    fit(config, lambda *call: told.append(call[:3]))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["images", "features", "memory bank", "calibration", "good patches"]
    for stage in stages:
        done = [(done, total) for name, done, total in told if name == stage]
        assert done == sorted(done) and done[-1][0] == done[-1][1] and len({total for _, total in done}) == 1
