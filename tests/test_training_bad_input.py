"""What goes wrong before a training: one clear line with the way out, exit code 2, and nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from command import ROOT, blemish
from plates import write_set

from blemish.config import RunConfig, load_config
from blemish.detectors.fastflow import FastFlowParameters
from blemish.errors import BackboneError, UsageError
from blemish.fitting import fit

torch = pytest.importorskip("torch")
from blemish.training.loop import TrainingError  # noqa: E402

TRAINING = ("torch", "timm", "safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set") / "data", train=3, good=1, defects=1)


def packages_without(folder: Path, names: tuple[str, ...]) -> Path:
    """All installed packages but these, as links: an installation in which they cannot be found or imported."""
    folder.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.name.split("-")[0].split(".")[0] not in names and entry.suffix not in (".pth", ".egg-link"):
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.mark.parametrize("detector", ["STFPM", "FastFlow"])
def test_without_torch_the_install_command_is_said(tmp_path: Path, data: Path, detector: str) -> None:
    packages = packages_without(tmp_path / "packages", TRAINING)
    program = (
        "import sys; sys.path[:0] = sys.argv[1:3]; del sys.argv[1:3]; from blemish.cli import main; "
        "import importlib.util as u; assert u.find_spec('torch') is None; sys.exit(main(sys.argv[1:]))"
    )
    output = tmp_path / "output"
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            program,
            ROOT,
            packages,
            "train",
            data,
            "--model",
            detector,
            "--output",
            output,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert 'needs torch, timm, safetensors: pip install "blemish[train]"' in done.stderr and not output.exists()


def settings(data: Path, output: Path, *overrides: str) -> RunConfig:
    where = [f"Global.dataset_dir={data}", f"Global.output={output}", "Global.device=cpu"]
    small = ["Model.width=64", "Model.height=64", "Train.epochs_iters=2"]
    return load_config("FastFlow", [*where, *small, *overrides])


def test_an_unknown_backbone_is_refused_with_the_closest(tmp_path: Path, data: Path) -> None:
    config = settings(data, tmp_path / "output", "Model.backbone=deit_tiny_patch16_244")
    with pytest.raises(
        BackboneError, match=r"no backbone `deit_tiny_patch16_244`\. Did you mean `deit_tiny_patch16_224`"
    ):
        fit(config)
    assert not (tmp_path / "output").exists()


def test_a_hub_that_cannot_be_reached_is_told_with_the_way_without(tmp_path: Path, data: Path) -> None:
    nobody = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    command = ("train", data, "--model", "FastFlow", "--output", tmp_path / "output", "--device", "cpu")
    done = blemish(*command, "-o", "Model.width=64", "-o", "Model.backbone=test_resnet", **nobody)
    line = done.stderr.splitlines()[-1]
    assert (
        done.code == 2
        and "fetching the weights of test_resnet from timm/test_resnet.r160_in1k, licence apache-2.0" in done.stderr
    )
    assert "cannot be fetched from timm/test_resnet.r160_in1k" in line
    assert "Model.backbone_weights=FILE" in line and "Model.backbone=efficientnet_lite0" in line


def test_a_loss_that_is_no_number_leaves_no_model(tmp_path: Path, data: Path) -> None:
    wild = ("Train.learning_rate=1e30", "Train.epochs_iters=9", "Train.warmup_steps=0")
    with pytest.raises(TrainingError, match=r"set Train\.learning_rate lower"):
        fit(settings(data, tmp_path / "output", *wild))
    assert not (tmp_path / "output" / "train_result.json").exists()
    assert not (tmp_path / "output" / "best_model").exists()


def test_a_large_batch_is_told_and_another_configuration_refused(
    tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output, plan = tmp_path / "output", ("Train.batch_size=64", "Train.eval_interval=1")
    fit(settings(data, output, *plan))
    assert "Train.batch_size 64: there are 2 images to learn from" in caplog.text
    going_on = (*plan, f"Train.resume_path={output}/iter_1")
    with pytest.raises(
        UsageError, match=r"another training: Model\.flow_step was 4 and is 3\. Set it back, or start anew"
    ):
        fit(settings(data, output, *going_on, "Model.flow_step=3"))


def test_the_record_has_the_fields_that_readers_of_paddlex_look_up(tmp_path: Path, data: Path) -> None:
    """Also from a run file that states next to nothing."""
    output, file = tmp_path / "output", tmp_path / "own.yaml"
    file.write_text("Global: {model: FastFlow, device: cpu}\nModel: {width: 64, height: 64}\n", encoding="utf-8")
    fit(load_config(file, [f"Global.dataset_dir={data}", f"Global.output={output}", "Train.epochs_iters=2"]))
    record = json.loads((output / "train_results.json").read_text())
    assert record == json.loads((output / "train_result.json").read_text())
    fields = {"model_name", "label_dict", "train_log", "visualdl_log", "config", "models", "done_flag"}
    assert fields <= set(record) and record["model_name"] == "FastFlow" and record["done_flag"] is True
    models = record["models"]
    assert list(models) == ["last_1", "last_2", "last_3", "last_4", "last_5", "best"] and models["last_2"] == {}
    entry = {"score", "pdparams", "pdstates", "inference_config", "pdmodel", "pdiparams", "pdiparams.info"}
    assert entry <= set(models["best"]) and entry | {"pdopt"} <= set(models["last_1"])
    paths = [value for model in models.values() for key, value in model.items() if key != "score" and value]
    assert all((output / path).exists() for path in [*paths, record["train_log"], record["visualdl_log"]])
    resolved = load_config(output / record["config"])
    assert FastFlowParameters.model_validate(resolved.Model.detector_parameters()) == FastFlowParameters()
    assert set(resolved.Model.detector_parameters()) == set(FastFlowParameters.model_fields)
