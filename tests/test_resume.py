"""Going on after an interruption, in a folder that has seen several trainings: only the last one goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import ROOT, blemish
from plates import write_set

pytest.importorskip("torch")

KEYS = (
    *("Global.device=cpu", "Model.width=64", "Model.height=64", "Train.batch_size=4", "Train.eval_interval=2"),
    *("Train.epochs_iters=8", "Model.good_patches=false"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("data"), train=8, good=1, defects=1)


def command(data: Path, output: Path, *more: str) -> list[str]:
    """The training of the tests; `more` are options, or keys that win over the usual ones."""
    keys = [*KEYS, *(key for key in more if "=" in key)]
    options = [option for option in more if "=" not in option]
    model = [] if "--model" in options else ["--model", "STFPM"]
    overrides = [part for key in keys for part in ("-o", key)]
    return ["train", str(data), "--output", str(output), *model, *options, *overrides]


def cut(data: Path, output: Path, *more: str) -> list[str]:
    """A training that is killed after its first checkpoint; the names of those that are there then."""
    before = {path: path.stat().st_mtime_ns for path in output.glob("iter_*/state.json")}
    start = [sys.executable, "-m", "blemish", *command(data, output, "Train.epochs_iters=4000", *more)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 200
        while process.poll() is None and time.monotonic() < until:
            found = {path: path.stat().st_mtime_ns for path in output.glob("iter_[24]/state.json")}
            if found and all(before.get(path) != changed for path, changed in found.items()):
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    return steps(output)


def steps(output: Path) -> list[str]:
    return sorted((path.name for path in output.glob("iter_*")), key=lambda name: int(name[5:]))


def refused(data: Path, output: Path, *more: str) -> str:
    done = blemish(*command(data, output, *more))
    lines = [line for line in done.stderr.splitlines() if not line.startswith("images: ")]
    assert done.code == 2 and len(lines) == 1, done.stderr
    return lines[0]


def record(output: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((output / "train_result.json").read_text())
    assert (output / "train_results.json").read_text() == (output / "train_result.json").read_text()
    return found


def test_a_shorter_training_keeps_its_own_checkpoints_and_lists_no_others(data: Path, tmp_path: Path) -> None:
    assert blemish(*command(data, tmp_path)).code == 0
    assert steps(tmp_path) == ["iter_2", "iter_4", "iter_6", "iter_8"]
    done = blemish(*command(data, tmp_path, "Train.epochs_iters=4", "Train.learning_rate=0.1"))
    assert done.code == 0 and done.stderr.count("is kept") == 1, done.stderr
    assert steps(tmp_path) == ["iter_2", "iter_4"]
    models = record(tmp_path)["models"]
    assert isinstance(models, dict) and models["last_3"] == {}
    assert [models[f"last_{i}"]["pdparams"] for i in (1, 2)] == ["iter_4/model.safetensors", "iter_2/model.safetensors"]
    assert all(isinstance(models[f"last_{i}"]["score"], float) for i in (1, 2))
    assert "has ended and was not interrupted" in refused(data, tmp_path, "--resume")
    (kept,) = (tmp_path / "best_model" / "inference_history").iterdir()
    assert {path.name for path in (kept / "run").glob("iter_*")} == {"iter_2", "iter_4", "iter_6", "iter_8"}
    assert blemish("update", tmp_path, "--undo").code == 0
    assert steps(tmp_path) == ["iter_2", "iter_4", "iter_6", "iter_8"] and record(tmp_path)["iterations"] == 8


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_only_the_training_that_was_interrupted_last_goes_on(data: Path, tmp_path: Path) -> None:
    """A whole one, one that is killed, one of another detector that is killed, in one folder."""
    output = tmp_path / "out"
    assert blemish(*command(data, output)).code == 0
    model = (output / "best_model" / "inference" / "model.json").read_bytes()
    found = cut(data, output)
    assert "iter_8" not in found or len(found) == 5  # none of the whole one
    assert (output / "best_model" / "inference" / "model.json").read_bytes() == model
    assert record(output)["iterations"] == 8 and "epochs_iters: 8" in (output / "config.yaml").read_text()

    assert "Train.epochs_iters was 4000 and is 8" in refused(data, output, "--resume")
    assert "Global.model was 'STFPM' and is 'FastFlow'" in refused(
        data, output, "--resume", "--model", "FastFlow", "Train.epochs_iters=4000"
    )
    others = write_set(tmp_path / "others", train=9, good=1, defects=1)
    assert "the training images was" in refused(others, output, "--resume", "Train.epochs_iters=4000")
    assert "PatchCore does not learn by gradient" in blemish("train", data, "--output", output, "--resume").stderr
    assert steps(output) == found and record(output)["iterations"] == 8

    first = found[-1]
    done = blemish(*command(data, output, "Train.epochs_iters=12", "Train.learning_rate=0.2"))
    assert done.code == 0 and done.stderr.count("Checkpoints of an interrupted training were moved") == 1
    assert steps(output) == ["iter_4", "iter_6", "iter_8", "iter_10", "iter_12"]
    (aside,) = (output / "interrupted").iterdir()
    assert (aside / first / "model.safetensors").is_file() and (aside / "train.log").is_file()

    assert cut(data, output, "Train.learning_rate=0.3")
    for path in output.glob("iter_*"):  # as if it had been 12 iterations long: what is checked is that it goes on
        state = json.loads((path / "state.json").read_text())
        state["identity"]["Train.epochs_iters"] = state["step"] + 2
        (path / "state.json").write_text(json.dumps(state))
    last = int(steps(output)[-1][5:]) + 2
    again = command(data, output, "--resume", f"Train.epochs_iters={last}", "Train.learning_rate=0.3")
    done = blemish(*again)
    assert done.code == 0 and "going on from" in (output / "train.log").read_text(), done.stderr
    assert record(output)["iterations"] == last and steps(output)[-1] == f"iter_{last}"
    assert "has ended" in refused(data, output, "--resume", f"Train.epochs_iters={last}", "Train.learning_rate=0.3")


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_killed_beside_a_model_it_goes_on_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    whole, output = tmp_path / "whole", tmp_path / "out"
    keys = ("Train.epochs_iters=40", "Train.learning_rate=0.2")
    assert blemish(*command(data, whole, *keys)).code == 0
    assert blemish(*command(data, output)).code == 0
    start = [sys.executable, "-m", "blemish", *command(data, output, *keys)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (output / "iter_10").exists():
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    if process.returncode == 0:
        pytest.skip("it was through before it could be killed")
    assert blemish(*command(data, output, "--resume", *keys)).code == 0
    weights = "best_model/model.safetensors"
    assert (output / weights).read_bytes() == (whole / weights).read_bytes()
    assert [json.loads((output / name / "state.json").read_text())["step"] for name in steps(output)][-1] == 40


def test_another_detector_in_the_folder_and_back(data: Path, tmp_path: Path) -> None:
    assert blemish(*command(data, tmp_path)).code == 0
    before = {
        path.relative_to(tmp_path): path.read_bytes()
        for path in sorted(tmp_path.rglob("*"))
        if path.is_file() and path.name != "train.log"
    }
    small = ("-o", "Model.width=64", "-o", "Model.height=64", "-o", "Global.device=cpu")
    assert blemish("train", data, "--output", tmp_path, *small).code == 0
    assert not steps(tmp_path) and not (tmp_path / "best_model" / "model.safetensors").exists()
    assert not (tmp_path / "tensorboard").exists() and record(tmp_path)["model_name"] == "PatchCore"
    assert "there is no checkpoint iter_N" in refused(data, tmp_path, "--resume")
    assert blemish("update", tmp_path, "--undo").code == 0
    assert {path: (tmp_path / path).read_bytes() for path in before} == before


def test_an_interrupted_training_that_was_moved_can_still_go_on(data: Path, tmp_path: Path) -> None:
    found = cut(data, tmp_path)
    assert blemish(*command(data, tmp_path)).code == 0
    (aside,) = (tmp_path / "interrupted").iterdir()
    state = aside / found[-1] / "state.json"
    content = json.loads(state.read_text())
    last = content["step"] + 2
    content["identity"]["Train.epochs_iters"] = last
    state.write_text(json.dumps(content))
    done = blemish(*command(data, tmp_path, f"Train.resume_path={aside / found[-1]}", f"Train.epochs_iters={last}"))
    assert done.code == 0 and record(tmp_path)["iterations"] == last, done.stderr
    assert steps(tmp_path) == [f"iter_{last}"]


def test_from_an_earlier_checkpoint_the_later_ones_are_made_again(data: Path, tmp_path: Path) -> None:
    keys = ("Train.epochs_iters=14",)
    assert blemish(*command(data, tmp_path, *keys)).code == 0
    weights = (tmp_path / "best_model" / "model.safetensors").read_bytes()
    assert steps(tmp_path) == [f"iter_{step}" for step in (6, 8, 10, 12, 14)]
    assert blemish(*command(data, tmp_path, *keys, f"Train.resume_path={tmp_path / 'iter_8'}")).code == 0
    assert steps(tmp_path) == [f"iter_{step}" for step in (6, 8, 10, 12, 14)]
    assert (tmp_path / "best_model" / "model.safetensors").read_bytes() == weights
    assert not list((tmp_path / "best_model" / "inference_history").iterdir())
