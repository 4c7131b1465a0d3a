"""What goes wrong before a training: one clear line with the way out, exit code 2, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from command import ROOT, Done, blemish
from plates import write_set

torch = pytest.importorskip("torch")

TRAINING = ("torch", "timm", "safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set") / "data", train=3, good=1, defects=1)


def train(data: Path, output: Path, *options: str, **environment: str) -> Done:
    small = ["Model.width=64", "Model.height=64", "Train.epochs_iters=2"]
    command = ("train", data, "--model", "FastFlow", "--output", output, "--device", "cpu")
    return blemish(*command, *(part for option in [*small, *options] for part in ("-o", option)), **environment)


def told(done: Done) -> str:
    """The one line that a failed command ends with."""
    assert done.code == 2, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("blemish: error") or "rror:" in line)
    return line


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


def test_an_unknown_backbone_is_refused_with_the_closest(tmp_path: Path, data: Path) -> None:
    done = train(data, tmp_path / "output", "Model.backbone=deit_tiny_patch16_244")
    assert "no backbone `deit_tiny_patch16_244`. Did you mean `deit_tiny_patch16_224`" in told(done)
    assert not (tmp_path / "output").exists()


def test_a_hub_that_cannot_be_reached_is_told_with_the_way_without(tmp_path: Path, data: Path) -> None:
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
    done = train(data, tmp_path / "output", "Model.backbone=test_resnet", **nobody)
    line = told(done)
    assert "fetching the weights of test_resnet from timm/test_resnet.r160_in1k, licence apache-2.0" in done.stderr
    assert "cannot be fetched from timm/test_resnet.r160_in1k" in line
    assert "Train.pretrain_weight_path=FILE" in line and "Model.backbone=efficientnet_lite0" in line


def test_a_transformer_is_refused_where_several_levels_are_needed(tmp_path: Path, data: Path) -> None:
    command = ("train", data, "--model", "STFPM", "--output", tmp_path / "output")
    done = blemish(*command, "-o", "Model.backbone=vit_tiny_patch16_224")
    assert "no feature maps at strides 4, 8, 16, only at 16: choose a convolutional one" in told(done)
    assert not (tmp_path / "output").exists()


def test_a_training_without_end_is_stopped_with_the_reason(tmp_path: Path, data: Path) -> None:
    done = train(data, tmp_path / "output", "Train.learning_rate=1e30", "Train.epochs_iters=9", "Train.warmup_steps=0")
    assert "set Train.learning_rate lower" in done.stderr and done.code == 2
    assert not (tmp_path / "output" / "train_result.json").exists()
    assert not (tmp_path / "output" / "best_model").exists()


def test_a_batch_larger_than_the_set_and_another_configuration(tmp_path: Path, data: Path) -> None:
    output = tmp_path / "output"
    done = train(data, output, "Train.batch_size=64", "Train.eval_interval=1")
    assert done.code == 0 and "Train.batch_size 64: there are 2 images to learn from" in done.stderr, done.stderr
    done = train(
        data,
        output,
        "Train.batch_size=64",
        "Train.eval_interval=1",
        "Model.flow_step=3",
        f"Train.resume_path={output}/iter_1",
    )
    assert "is of another training: Model.flow_step was 4 and is 3. Set it back, or start anew" in told(done)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, data: Path) -> None:
    """A limit on the size of files stands in for the end of the disk: writing beyond it fails in the same call."""
    output = tmp_path / "output"
    arguments = [
        *("train", data, "--model", "FastFlow", "--output", output, "--device", "cpu", "-o", "Model.width=64"),
        *("-o", "Model.height=64", "-o", "Train.epochs_iters=3", "-o", "Train.eval_interval=1"),
    ]
    program = f"""
import resource, signal, sys, threading, time
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from blemish.cli import main
from blemish.training import checkpoints
whole = checkpoints.write_checkpoint
def filling(folder, *content):
    place = whole(folder, *content)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    return place
import blemish.training.loop
blemish.training.loop.write_checkpoint = filling
sys.exit(main({[str(argument) for argument in arguments]!r}))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "iter_2 cannot be written: File too large. Earlier checkpoints are whole" in done.stderr
    assert [path.name for path in output.glob("*iter_*")] == ["iter_1"]
    resumed = blemish(*arguments, "-o", f"Train.resume_path={output}/iter_1")
    assert resumed.code == 0 and (output / "iter_3").is_dir(), resumed.stderr
