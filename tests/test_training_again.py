"""A training into a folder that holds a model: what is there stays whole, goes together, and can be brought back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import ROOT, blemish
from runs import SMALL, fitted, model_of, scores
from test_versions import updated
from textures import plate, write_all
from tiny_model import tiny_info, tiny_network

from blemish.config import load_config
from blemish.errors import BlemishError, BusyError, UsageError
from blemish.fitting import fit
from blemish.models import bring_back, kept_versions, load_model, replace_model, save_model, set_false_alarm_rate
from blemish.models.run_folder import MODEL, RECORDS
from blemish.run_output import open_output
from blemish.updating import update

HERE = Path(__file__).resolve().parent


def trained(folder: Path, bias: float, *, keeps: bool = True, checkpoints: tuple[int, ...] = ()) -> list[str]:
    """What a training of the model `bias` does with the folder; every file names the bias."""
    with open_output(folder, keeps=keeps) as output:
        output.begin(None)
        for step in checkpoints:
            place = folder / f"iter_{step}"
            place.mkdir()
            (place / "state.json").write_text(json.dumps({"step": step, "run": f"run-{bias}"}))
        (folder / "train.log").write_text(f"log of {bias}")
        result = {"done_flag": True, "bias": bias, "run": f"run-{bias}"}
        weights = None if bias == 3 else lambda path: _write(path, f"weights of {bias}")
        return output.finish(tiny_network(bias), tiny_info(), None, (result, f"config of {bias}", weights))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def described(folder: Path) -> set[Any]:
    """Which models the model and the records in a folder are of; one alone, if all is well."""
    network = load_model(folder / MODEL).model
    found: set[Any] = {bias for bias in range(9) if network == tiny_network(bias)}
    for name in RECORDS:
        if (folder / name).is_file():
            text = (folder / name).read_text()
            found.add(json.loads(text)["bias"] if name.endswith("json") else int(text[-1]))
    return found


def files(folder: Path) -> set[str]:
    return {name for name in RECORDS if (folder / name).is_file()}


class TestChains:
    def test_model_and_records_go_and_come_back_together(self, tmp_path: Path) -> None:
        assert trained(tmp_path, 0) == []
        versions = [load_model(tmp_path).info.version[:12]]
        for bias in (1, 2):
            (line,) = trained(tmp_path, bias)
            assert versions[-1] in line and f"blemish update {tmp_path} --undo" in line
            versions.append(load_model(tmp_path).info.version[:12])
            assert described(tmp_path) == {bias} and files(tmp_path) == set(RECORDS)
            assert json.loads((tmp_path / "train_result.json").read_text())["version"] == versions[-1]
        assert set(kept_versions(tmp_path)) == set(versions[:2])
        for bias in (1, 0):
            bring_back(tmp_path)
            assert described(tmp_path) == {bias} and files(tmp_path) == set(RECORDS)
            assert (tmp_path / "train.log").read_text() == f"log of {bias}"
        with pytest.raises(UsageError, match=f"nothing to undo; kept are: .*{versions[2]}"):
            bring_back(tmp_path)
        bring_back(tmp_path, versions[2])
        assert described(tmp_path) == {2} and files(tmp_path) == set(RECORDS)

    def test_a_detector_without_weights_leaves_none_of_the_one_before(self, tmp_path: Path) -> None:
        trained(tmp_path, 1)
        trained(tmp_path, 3)
        assert described(tmp_path) == {3} and not (tmp_path / "best_model/model.safetensors").exists()
        bring_back(tmp_path)
        assert described(tmp_path) == {1} and files(tmp_path) == set(RECORDS)

    def test_the_command_that_the_line_gives_works(self, tmp_path: Path) -> None:
        folder = tmp_path / "a folder"
        trained(folder, 0)
        before = load_model(folder).info
        (line,) = trained(folder, 1)
        command = line.partition("To go back: blemish ")[2]
        assert subprocess.run(
            f"{sys.executable} -m blemish {command}", shell=True, check=False, cwd=ROOT, capture_output=True
        ).returncode == 0  # fmt: skip
        assert load_model(folder).info == before

    def test_the_same_model_again_is_not_kept(self, tmp_path: Path) -> None:
        trained(tmp_path, 0)
        trained(tmp_path, 1, checkpoints=(1,))
        first = kept_versions(tmp_path)
        for _ in range(3):
            assert trained(tmp_path, 1, checkpoints=(1,)) == []
            assert kept_versions(tmp_path) == first
        bring_back(tmp_path)
        assert described(tmp_path) == {0}

    def test_another_rate_and_updates_on_the_way(self, tmp_path: Path) -> None:
        trained(tmp_path, 0)
        old = load_model(tmp_path)
        replace_model(old, tiny_network(4), updated(old.info), lambda _: None)
        set_false_alarm_rate(tmp_path, 0.25)
        state = load_model(tmp_path).info
        trained(tmp_path, 1)
        set_false_alarm_rate(tmp_path, 0.5)
        assert bring_back(tmp_path).info == state
        assert files(tmp_path) == set(RECORDS) and json.loads((tmp_path / "train_result.json").read_text())["bias"] == 0
        assert bring_back(tmp_path).info == old.info and described(tmp_path) == {0}
        trained(tmp_path, 2)
        bring_back(tmp_path, state.version)
        assert load_model(tmp_path).info == state
        assert json.loads((tmp_path / "train_result.json").read_text())["bias"] == 0

    def test_without_keeping_nothing_piles_up(self, tmp_path: Path) -> None:
        for bias in (0, 1, 2):
            trained(tmp_path, bias, keeps=False, checkpoints=(2 - bias, 5 - bias))
            assert described(tmp_path) == {bias}
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            *("best_model", "config.yaml", "iter_0", "iter_3", "train.log", "train_result.json", "train_results.json"),
        ]
        assert sorted(path.name for path in (tmp_path / "best_model").iterdir()) == ["inference", "model.safetensors"]

    def test_a_model_that_cannot_be_read_is_kept_as_it_is(self, tmp_path: Path) -> None:
        trained(tmp_path, 0)
        (tmp_path / MODEL / "model.onnx").write_bytes(b"damaged, or of a newer version")
        (line,) = trained(tmp_path, 1)
        kept = Path(line.rpartition(": ")[2])
        assert (kept / "model.onnx").read_bytes().startswith(b"damaged") and described(tmp_path) == {1}


class TestTraces:
    def test_checkpoints_go_with_their_model_and_come_back(self, tmp_path: Path) -> None:
        trained(tmp_path, 0, checkpoints=(60, 80))
        version = load_model(tmp_path).info.version[:12]
        trained(tmp_path, 1, checkpoints=(20, 40))
        kept = tmp_path / "best_model" / "inference_history" / version / "run"
        assert sorted(path.name for path in kept.glob("iter_*")) == ["iter_60", "iter_80"]
        assert sorted(path.name for path in tmp_path.glob("iter_*")) == ["iter_20", "iter_40"]
        assert (kept / "train.log").read_text() == "log of 0"
        bring_back(tmp_path)
        assert sorted(path.name for path in tmp_path.glob("iter_*")) == ["iter_60", "iter_80"]
        assert not list(kept.glob("iter_*")) and (tmp_path / "train.log").read_text() == "log of 0"

    def test_those_of_an_interrupted_training_stay_out_of_charge(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        trained(tmp_path, 0, checkpoints=(60,))
        with open_output(tmp_path) as output:
            output.begin(None)
            (tmp_path / "iter_7").mkdir()
            (tmp_path / "iter_7" / "state.json").write_text('{"run": "cut", "step": 7}')
        assert described(tmp_path) == {0}
        trained(tmp_path, 1, checkpoints=(20,))
        assert [path.name for path in tmp_path.glob("iter_*")] == ["iter_20"]
        assert (tmp_path / "interrupted" / "cut" / "iter_7" / "state.json").is_file()
        assert f"Train.resume_path={tmp_path / 'interrupted' / 'cut' / 'iter_7'}" in caplog.text
        bring_back(tmp_path)
        assert [path.name for path in tmp_path.glob("iter_*")] == ["iter_60"]

    def test_an_undo_leaves_an_interrupted_training_in_charge(self, tmp_path: Path) -> None:
        trained(tmp_path, 0, checkpoints=(60,))
        trained(tmp_path, 1, checkpoints=(20,))
        with open_output(tmp_path) as output:
            output.begin(None)
            (tmp_path / "iter_7").mkdir()
            (tmp_path / "iter_7" / "state.json").write_text('{"run": "cut", "step": 7}')
        bring_back(tmp_path)
        assert described(tmp_path) == {0} and [path.name for path in tmp_path.glob("iter_*")] == ["iter_7"]


# Ends the process, as a power cut would, before the n-th change of the file system; repeats with n + 1.
_CRASH_AT_EVERY_STEP = """
import json, os, shutil, sys
from pathlib import Path
from test_training_again import described, files, trained
from blemish.models import bring_back, kept_versions, load_model
from blemish.models.run_folder import RECORDS
from blemish.run_output import open_output
root, way = Path(sys.argv[1]), sys.argv[2]

def until(steps, action):
    def count(event, arguments):
        nonlocal steps
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            steps -= 1
            if steps < 0:
                os._exit(9)
    sys.addaudithook(count)
    action()
    os._exit(0)

def again():
    trained(root, 1, checkpoints=(2, 4))

for step in range(400):
    shutil.rmtree(root, ignore_errors=True)
    trained(root, 0, checkpoints=(6, 8))
    if way == "back":
        again()
    child = os.fork()
    if child == 0:
        until(step, again if way == "forth" else lambda: bring_back(root))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = described(root)  # before anything tidies up: nothing contradicts the model
    with open_output(root):
        pass
    now = described(root)
    whole = files(root) == set(RECORDS) and not list(root.glob(".*.run"))
    old = {path.name for path in root.rglob("iter_*")} >= {"iter_6", "iter_8"}  # wherever they are, they are
    back = now == {0} or len(kept_versions(root)) > 0
    print(code, *sorted(found), found == now, whole, old, back, flush=True)
    if code == 0:
        break
"""


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
@pytest.mark.parametrize(("way", "last"), [("forth", 1), ("back", 0)])
def test_a_crash_at_any_step_leaves_one_model_with_its_own_records(tmp_path: Path, way: str, last: int) -> None:
    start = f"import sys; sys.path[:0] = {[str(HERE), str(ROOT)]!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", start + _CRASH_AT_EVERY_STEP, str(tmp_path / "run"), way],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = [line.split() for line in done.stdout.splitlines()]
    assert len(steps) > 40 and all(len(step) == 6 for step in steps), done.stdout
    assert steps[-1][:2] == ["0", str(last)]
    assert all(code == "9" for code, *_ in steps[:-1])
    assert all(checks == ["True"] * 4 for _, _, *checks in steps), done.stdout
    order = [int(model) for _, model, *_ in steps]
    assert order == sorted(order, reverse=way == "back") and set(order) == {0, 1}


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("limit", [0, 200, 700])
def test_a_full_disk_leaves_the_model_before_with_its_records(tmp_path: Path, limit: int) -> None:
    trained(tmp_path, 0, checkpoints=(6,))
    program = f"""
import resource, signal, sys
sys.path[:0] = {[str(HERE), str(ROOT)]!r}
from pathlib import Path
from test_training_again import trained
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    trained(Path({str(tmp_path)!r}), 1)
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "cannot be written" in done.stdout and "Traceback" not in done.stderr, done.stdout + done.stderr
    assert described(tmp_path) == {0} and files(tmp_path) == set(RECORDS)
    trained(tmp_path, 1)
    assert described(tmp_path) == {1}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only_is_refused_in_one_line(good: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    done = blemish("train", good, "--output", tmp_path / "out")
    assert done.code == 2 and len(done.stderr.splitlines()) == 1 and "cannot be written" in done.stderr


class TestOlderFolders:
    """Folders that an earlier Blemish has left: no version in the records, no records in the history."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        save_model(tmp_path / MODEL, tiny_network(0), tiny_info())
        for name in ("train_result.json", "train_results.json"):
            (tmp_path / name).write_text('{"done_flag": true, "bias": 0}')
        _write(tmp_path / "config.yaml", "config of 0")
        _write(tmp_path / "train.log", "log of 0")
        _write(tmp_path / "iter_40" / "state.json", '{"step": 40}')
        return tmp_path

    def test_a_training_keeps_them(self, folder: Path) -> None:
        version = load_model(folder).info.version[:12]
        trained(folder, 1, checkpoints=(10,))
        assert kept_versions(folder) == [version] and [path.name for path in folder.glob("iter_*")] == ["iter_10"]
        bring_back(folder)
        assert described(folder) == {0} and files(folder) == {"train_result.json", "train_results.json", "config.yaml"}
        assert [path.name for path in folder.glob("iter_*")] == ["iter_40"]

    def test_a_version_from_before_shares_the_records_of_its_training(self, folder: Path) -> None:
        old = load_model(folder)
        save_model(folder / "best_model" / "inference_history" / old.info.version[:12], old.model, old.info)
        save_model(folder / MODEL, tiny_network(1), updated(old.info))
        bring_back(folder)
        assert described(folder) == {0} and len(files(folder)) == 3

    def test_a_version_of_another_training_does_not_get_these(self, folder: Path) -> None:
        save_model(folder / "best_model" / "inference_history" / ("f" * 12), tiny_network(5), tiny_info())
        bring_back(folder, "f" * 12)
        assert described(folder) == {5} and files(folder) == set()
        assert load_model(folder).model == tiny_network(5)


class TestTwoAtOnce:
    def test_the_second_is_refused(self, tmp_path: Path) -> None:
        trained(tmp_path, 0)
        trained(tmp_path, 1)
        with open_output(tmp_path) as output:
            output.begin(None)
            for action in (lambda: trained(tmp_path, 2), lambda: bring_back(tmp_path)):
                with pytest.raises(BusyError, match="another training is running in"):
                    action()
            assert described(tmp_path) == {1}
        trained(tmp_path, 2)

    @pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
    def test_in_processes_and_the_lock_ends_with_a_kill(self, good: Path, tmp_path: Path) -> None:
        overrides = [f"Global.dataset_dir={good}", f"Global.output={tmp_path / 'out'}", *SMALL]
        with subprocess.Popen(*_paused("features", overrides), stdout=subprocess.PIPE, env=_environment()) as run:
            assert run.stdout is not None and run.stdout.readline() == b"there\n"
            keys = [part for key in ("Global.mode=train", *overrides) for part in ("-o", key)]
            for command in (["train", good, *keys[2:]], ["run", *keys]):
                done = blemish(*command)
                assert done.code == 2 and len(done.stderr.splitlines()) == 1, done.stderr
                assert "another training is running in" in done.stderr
            assert not list((tmp_path / "out").glob("train_*.json"))
            run.send_signal(signal.SIGKILL)
        assert blemish("train", good, *keys[2:]).code == 0

    def test_a_model_that_was_updated_during_the_training_is_kept_as_it_is_then(self, tmp_path: Path) -> None:
        trained(tmp_path, 0)
        with open_output(tmp_path) as output:
            output.begin(None)
            info = set_false_alarm_rate(tmp_path, 0.3)
            output.finish(tiny_network(1), tiny_info(), None, ({"done_flag": True, "bias": 1}, "config of 1", None))
        assert bring_back(tmp_path).info == info


def _paused(stage: str, overrides: list[str]) -> tuple[list[str]]:
    """A training that says `there` and waits when it comes to a stage."""
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
    return ([sys.executable, "-c", code, *overrides],)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


class TestRealTrainings:
    @pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
    @pytest.mark.parametrize("stage", ["images", "memory bank", "good patches"])
    def test_a_killed_training_leaves_model_and_records(self, stage: str, good: Path, tmp_path: Path) -> None:
        report = fitted(good, tmp_path / "out")
        before = {name: (tmp_path / "out" / name).read_bytes() for name in files(tmp_path / "out")}
        expected = scores(report.folder, [plate(500)])
        write_all(tmp_path / "in", [plate(seed) for seed in range(30, 60)])
        overrides = [f"Global.dataset_dir={tmp_path / 'in'}", f"Global.output={tmp_path / 'out'}", *SMALL]
        with subprocess.Popen(*_paused(stage, overrides), stdout=subprocess.PIPE, env=_environment()) as run:
            assert run.stdout is not None and run.stdout.readline() == b"there\n"
            run.send_signal(signal.SIGKILL)
        assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before
        assert np.array_equal(scores(report.folder, [plate(500)]), expected)
        assert fit(load_config(None, overrides)).lines[-1].startswith("The model before (PatchCore, 24 images) is kept")
        bring_back(tmp_path / "out")
        assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before
        assert np.array_equal(scores(report.folder, [plate(500)]), expected)

    def test_the_verb_says_so_once_and_an_update_fits_in(self, good: Path, tmp_path: Path) -> None:
        write_all(tmp_path / "few", [plate(seed) for seed in range(5)])
        write_all(tmp_path / "more", [plate(seed) for seed in range(40, 46)])
        command = ("train", tmp_path / "few", *(part for key in SMALL for part in ("-o", key)))
        first = blemish(*command, cwd=tmp_path)
        assert first.code == 0 and "is kept" not in first.stderr
        folder = tmp_path / "output" / "train"
        update(folder, tmp_path / "more")
        before = load_model(folder).info
        second = blemish("train", good, *command[2:], cwd=tmp_path)
        assert second.code == 0 and second.stderr.count("is kept") == 1
        assert f"output/train/best_model/inference_history/{before.version[:12]}" in second.stderr
        assert blemish("update", "output/train", "--undo", cwd=tmp_path).code == 0
        assert load_model(folder).info == before and before.data.images == 11
        assert blemish("update", "output/train", "--undo", cwd=tmp_path).code == 0
        assert load_model(folder).info.data.images == 5

    def test_a_failure_leaves_the_record_of_the_model_alone(self, good: Path, tmp_path: Path) -> None:
        fitted(good, tmp_path / "out")
        before = {name: (tmp_path / "out" / name).read_bytes() for name in files(tmp_path / "out")}
        _write(tmp_path / "unread" / "a.png", "")
        keys = ("Global.mode=train", f"Global.dataset_dir={tmp_path / 'unread'}")
        failing = [part for key in (*keys, f"Global.output={tmp_path / 'out'}") for part in ("-o", key)]
        assert blemish("run", *failing).code == 2
        assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before
        failure = json.loads((tmp_path / "out" / "train_failure.json").read_text())
        assert failure["done_flag"] is False and "can be read" in failure["err_msg"]
        fitted(good, tmp_path / "out")
        assert not (tmp_path / "out" / "train_failure.json").exists()

    def test_a_failure_without_a_model_is_recorded_under_both_names(self, tmp_path: Path) -> None:
        _write(tmp_path / "unread" / "a.png", "")
        keys = ("Global.mode=train", f"Global.dataset_dir={tmp_path / 'unread'}", f"Global.output={tmp_path / 'out'}")
        assert blemish("run", *(part for key in keys for part in ("-o", key))).code == 2
        texts = {(tmp_path / "out" / name).read_text() for name in ("train_result.json", "train_results.json")}
        assert len(texts) == 1 and json.loads(texts.pop())["done_flag"] is False

    def test_resume_is_refused_where_nothing_learns_by_gradient(self, good: Path, tmp_path: Path) -> None:
        _write(tmp_path / "iter_7" / "state.json", '{"step": 7, "run": "cut"}')
        with pytest.raises(UsageError, match="PatchCore does not learn by gradient"):
            fitted(good, tmp_path, f"Train.resume_path={tmp_path / 'iter_7'}")
        assert (tmp_path / "iter_7" / "state.json").is_file()

    def test_a_file_that_cannot_be_read_is_not_called_the_output(self, good: Path, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError), open_output(tmp_path / "out"):
            (good / "nowhere.png").read_bytes()

    def test_another_error_keeps_everything(self, good: Path, tmp_path: Path) -> None:
        fitted(good, tmp_path)
        shutil.rmtree(tmp_path / "best_model" / "inference_history", ignore_errors=True)
        with pytest.raises(BlemishError):
            fitted(good, tmp_path, r"Calibrate.group_by=nothing")
        assert files(tmp_path) == {"train_result.json", "train_results.json", "config.yaml"}


def test_the_report_of_a_model_is_the_one_on_the_disk(usual: Any) -> None:
    record = json.loads((usual.output / "train_result.json").read_text())
    assert model_of(usual).info.version.startswith(record["version"]) and record["replaced"] is None
