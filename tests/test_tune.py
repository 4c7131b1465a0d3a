"""A study on small plates: what is compared, with which images, and what an interruption leaves."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import ROOT, blemish
from textures import plate, write, write_all

from blemish.errors import DatasetError, UsageError
from blemish.models import load_model
from blemish.pipeline import open_model
from blemish.tuning import Table, ask, tune
from blemish.tuning.criterion import Yardstick
from blemish.tuning.plot import save_plot
from blemish.tuning.proposals import open_proposals
from blemish.tuning.trials import Trial

SMALL = ["Model.width=64", "Model.height=64", "Global.device=cpu", "Calibrate.near_duplicates=false"]
RATIOS = "Model.coreset_ratio=0.02,0.50"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten good plates to learn from; what lies in `test` is no image at all."""
    root = tmp_path_factory.mktemp("tune") / "plates"
    write_all(root / "train" / "good", [plate(seed) for seed in range(10)])
    for kind in ("good", "hole"):
        (root / "test" / kind).mkdir(parents=True)
        (root / "test" / kind / "000.png").write_text("whoever reads this fails")
    return root


@pytest.fixture(scope="session")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and defective plates to choose by."""
    root = tmp_path_factory.mktemp("tune") / "split"
    write_all(root / "test" / "good", [plate(seed) for seed in range(50, 54)])
    write_all(root / "test" / "hole", [plate(seed, defect=True) for seed in range(60, 64)])
    return root


def study(data: Path, output: Path, *overrides: str, split: Path | None = None, **options: object) -> Table:
    question = ask([*SMALL, *overrides], model="PatchCore", **options)  # type: ignore[arg-type]
    return tune(data, output, question, lambda *_: None, split, lambda _: None)


def made(output: Path) -> dict[str, int]:
    """When each trial's model was written; another fit gives another time."""
    return {path.parts[-4]: path.stat().st_mtime_ns for path in output.glob("trials/*/best_model/inference/model.json")}


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table]:
    output = tmp_path_factory.mktemp("finished")
    return output, study(data, output, RATIOS)


@pytest.fixture
def output(finished: tuple[Path, Table], tmp_path: Path) -> Path:
    """A copy of a finished study."""
    return shutil.copytree(finished[0], tmp_path / "out")


class TestStudy:
    def test_every_value_is_in_the_table_as_it_was_written(self, finished):
        text = finished[1].text()
        assert [line.split()[-4] for line in text.splitlines()[1:]] == ["0.02", "0.50"]
        assert text.count("*") == 1 and len({len(line) for line in text.splitlines()}) == 1

    def test_all_trials_learn_from_the_same_images_and_none_is_measured_with(self, finished, data):
        learned = [load_model(trial.folder).info.data for trial in finished[1].trials]
        assert [info.images for info in learned] == [8, 8] and len({info.fingerprint for info in learned}) == 1

    def test_the_figure_is_the_auroc_of_the_planted_images(self, finished, data):
        from sklearn.metrics import roc_auc_score

        config = ask([*SMALL, RATIOS], model="PatchCore").config({})
        pictures = list(Yardstick(data, None, config, lambda *_: None).pictures())
        trial = finished[1].trials[1]
        predict = open_model(trial.folder, "cpu").predict
        good = [result.score for image, _ in pictures for result in predict(image[..., ::-1])]
        bad = [result.score for _, pairs in pictures for image, _ in pairs for result in predict(image[..., ::-1])]
        assert len(good) == 2 and len(bad) >= 96
        expected = roc_auc_score([0] * len(good) + [1] * len(bad), good + bad)
        assert trial.criterion == trial.figures["planted_auroc"] == pytest.approx(expected) and 0.5 < expected < 1

    def test_the_files(self, finished):
        output, table = finished
        record = json.loads((output / "tune.json").read_text())
        assert record["done_flag"] and record["best"] == table.best.number and len(record["trials"]) == 2
        rows = list(csv.DictReader((output / "tune.csv").read_text().splitlines()))
        assert [row["Model.coreset_ratio"] for row in rows] == ["0.02", "0.50"]
        assert float(rows[0]["criterion"]) == table.trials[0].criterion
        assert cv2.imread(str(output / "planted.png")).shape[2] == 3
        database = sqlite3.connect(output / "study.db")
        assert database.execute("select count(*) from trials").fetchone() == (2,)
        database.close()

    def test_the_same_seed_gives_the_same_figures(self, finished, data, tmp_path):
        again = study(data, tmp_path / "out", RATIOS)
        assert [trial.figures for trial in again.trials] == [trial.figures for trial in finished[1].trials]


class TestGoingOn:
    def test_nothing_is_repeated(self, data, output):
        before = made(output)
        table = study(data, output, RATIOS)
        assert made(output) == before and len(table.trials) == 2

    def test_a_value_more_is_one_trial_more(self, data, output):
        before = made(output)
        table = study(data, output, RATIOS + ",0.2")
        assert {name: when for name, when in made(output).items() if name in before} == before
        assert [trial.values["Model.coreset_ratio"] for trial in table.trials] == ["0.02", "0.50", "0.2"]

    def test_a_trial_whose_folder_is_gone_is_tried_again(self, data, output):
        shutil.rmtree(output / "trials" / "000")
        study(data, output, RATIOS)
        assert len(made(output)) == 2

    @pytest.mark.parametrize(
        ("overrides", "said"),
        [((RATIOS, "Global.seed=3"), "Global.seed"), (("Model.max_rows=5,9",), "the keys that vary")],
    )
    def test_another_question_is_refused_by_what_differs(self, overrides, said, data, output):
        before = made(output)
        with pytest.raises(UsageError, match=f"{said}.*--output"):
            study(data, output, *overrides)
        assert made(output) == before

    def test_other_images_are_refused(self, data, output, tmp_path):
        other = shutil.copytree(data, tmp_path / "other")
        write(other / "train" / "good" / "999.png", plate(999))
        with pytest.raises(UsageError, match=r"the good images.*--output"):
            study(other, output, RATIOS)

    def test_two_at_once_are_refused(self, data, output):
        lock = sqlite3.connect(output / ".lock.db", isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UsageError, match="another tune is at work"):
            study(data, output, RATIOS)
        lock.close()
        study(data, output, RATIOS)

    def test_a_file_that_is_no_study_is_refused(self, data, tmp_path):
        (tmp_path / "study.db").write_text("no database" * 100)
        with pytest.raises(UsageError, match=r"study\.db cannot be used"):
            study(data, tmp_path, RATIOS)


def test_a_trial_that_fails_is_recorded_and_the_others_go_on(data, tmp_path):
    keys = ("Model.backbone=missing.onnx,efficientnet_lite0",)
    table = study(data, tmp_path, *keys)
    assert "missing.onnx" in table.failed[0].error and table.best.values["Model.backbone"] == "efficientnet_lite0"
    assert "failed" in table.text() and "missing.onnx" in (tmp_path / "tune.csv").read_text()
    before = (tmp_path / "trials" / "000" / "trial.json").stat().st_mtime_ns
    assert len(study(data, tmp_path, *keys).failed) == 1
    assert (tmp_path / "trials" / "000" / "trial.json").stat().st_mtime_ns == before


class TestTuningSplit:
    def test_it_decides(self, data, split, tmp_path):
        table = study(data, tmp_path, RATIOS, split=split)
        assert table.best.criterion == table.best.figures["tuning_auroc"] > 0.8
        assert "tuning AUROC" in table.text() and "planted AUROC" in table.text()
        with pytest.raises(UsageError, match="the tuning split"):
            study(data, tmp_path, RATIOS)

    @pytest.mark.parametrize("kind", ["train/good", "test/hole"])
    def test_one_that_shares_an_image_with_the_data_set_is_refused(self, kind, data, split, tmp_path):
        shared = shutil.copytree(split, tmp_path / "shared")
        shutil.copy(data / kind / "000.png", shared / "test" / "good" / "copy.png")
        with pytest.raises(DatasetError, match=r"shares 1 image .*copy\.png"):
            study(data, tmp_path / "out", RATIOS, split=shared)

    @pytest.mark.parametrize(("kind", "said"), [("good", "no good image"), ("hole", "no defect")])
    def test_one_without_either_is_refused(self, kind, said, data, split, tmp_path):
        shutil.rmtree(shutil.copytree(split, tmp_path / "half") / "test" / kind)
        with pytest.raises(DatasetError, match=said):
            study(data, tmp_path / "out", RATIOS, split=tmp_path / "half")


class TestTpe:
    def test_it_draws_from_ranges_and_interrupting_it_changes_nothing(self, data, tmp_path):
        key = "Model.coreset_ratio=0.01..0.5"
        whole = study(data, tmp_path / "whole", key, sampler="tpe", trials=3)
        study(data, tmp_path / "parts", key, sampler="tpe", trials=1)
        parts = study(data, tmp_path / "parts", key, sampler="tpe", trials=3)
        values = [trial.values["Model.coreset_ratio"] for trial in whole.trials]
        assert len(set(values)) == 3 and all(0.01 <= float(value) <= 0.5 for value in values)
        assert [trial.values for trial in parts.trials] == [trial.values for trial in whole.trials]
        assert whole.trials[0].values["Model.coreset_ratio"] in whole.text()

    def test_listed_values_are_tried_once_each(self, data, tmp_path):
        table = study(data, tmp_path, RATIOS, sampler="tpe", trials=9)
        assert sorted(trial.values["Model.coreset_ratio"] for trial in table.trials) == ["0.02", "0.50"]


@pytest.mark.parametrize("killed_at", range(3))
def test_a_grid_that_was_killed_in_a_trial_still_gets_every_combination(killed_at, tmp_path):
    wanted = [{"Model.coreset_ratio": text} for text in ("0.02", "0.1", "0.5")]
    question = ask([*SMALL, "Model.coreset_ratio=0.02,0.1,0.5"], model="PatchCore")
    with open_proposals(tmp_path, question, {}, 0) as proposals:
        for values in wanted[: killed_at + 1]:
            assert proposals.next(values) == values
            if values != wanted[killed_at]:
                proposals.tell(0.5)
    with open_proposals(tmp_path, question, {}, 0) as proposals:
        for values in wanted[killed_at:]:
            assert proposals.next(values) == values
            proposals.tell(0.5)


def test_images_of_one_part_are_refused(tmp_path):
    write_all(tmp_path / "good", [plate(0)])
    with pytest.raises(DatasetError, match="one part"):
        study(tmp_path / "good", tmp_path / "out", RATIOS)


def test_without_optuna_the_command_is_named(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r'pip install "blemish\[tune\]"'):
        study(data, tmp_path / "out", RATIOS)
    assert not (tmp_path / "out").exists()


class TestCommand:
    def arguments(self, data: Path, output: Path, *more: str) -> list[str]:
        settings = [part for override in SMALL for part in ("-o", override)]
        return ["tune", str(data), "--output", str(output), *settings, *more]

    def test_it_prints_the_table_and_a_command_that_works(self, data, tmp_path):
        done = blemish(*self.arguments(data, tmp_path / "out", "-o", "Model.coreset_ratio=.02,.5"))
        assert done.code == 0, done.stderr
        assert ".02" in done.stdout and ".5" in done.stdout and str(tmp_path / "out" / "tune.png") in done.stdout
        program, *train = shlex.split(done.stdout.splitlines()[-1])
        assert program == "blemish"
        assert blemish(*train, "--output", tmp_path / "model").code == 0
        assert load_model(tmp_path / "model").info.data.images == 10
        best = json.loads((tmp_path / "out" / "tune.json").read_text())
        ratio = best["trials"][best["best"]]["values"]["Model.coreset_ratio"]
        assert load_model(tmp_path / "model").info.detector.parameters["coreset_ratio"] == float(ratio)

    def test_a_failed_trial_gives_code_1(self, data, tmp_path):
        done = blemish(*self.arguments(data, tmp_path / "out", "-o", "Model.backbone=missing.onnx,gone.onnx"))
        assert done.code == 1 and "missing.onnx" in done.stderr and not (tmp_path / "out" / "tune.png").exists()

    def test_killed_in_the_middle_of_a_training_it_goes_on_there(self, data, tmp_path):
        pytest.importorskip("torch")
        keys = ["-o", "Train.learning_rate=0.2,0.4", "-o", "Train.epochs_iters=24", "-o", "Train.eval_interval=3"]
        arguments = self.arguments(data, tmp_path / "out", "--model", "STFPM", *keys)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "blemish", *arguments]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        second = tmp_path / "out" / "trials" / "001"
        until = time.monotonic() + 200
        while not list(second.glob("iter_*")) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (second / "train_result.json").exists()
        before = made(tmp_path / "out")
        done = blemish(*arguments)
        assert done.code == 0, done.stderr
        assert list(before) == ["000"] and made(tmp_path / "out")["000"] == before["000"]
        assert "going on from" in (second / "train.log").read_text()
        assert "trial 1 (2 of 2)" in done.stderr and len(list((tmp_path / "out" / "trials").iterdir())) == 2
        assert "0.2" in done.stdout and "0.4" in done.stdout and "held-out loss" in done.stdout


def trial(number: int, criterion: float | None, **values: str) -> Trial:
    figures = {} if criterion is None else {"planted_auroc": criterion, "planted_ci95": (criterion - 0.1, 1.0)}
    keys = {f"Train.{key}": value for key, value in values.items()}
    return Trial(Path(f"{number:03}"), "", keys, "finished" if figures else "failed", criterion, figures, 1.0)


class TestTable:
    def test_of_equal_trials_the_first_is_the_best_and_rivals_lie_in_its_interval(self):
        trials = [trial(0, 0.5, a="1"), trial(1, 0.9, a="2"), trial(2, 0.9, a="3"), trial(3, 0.85, a="4")]
        table = Table(["Train.a"], [*trials, trial(4, None, a="5")], True, False)
        assert table.best is trials[1] and table.rivals == trials[2:] and len(table.failed) == 1

    def test_the_command_quotes_what_a_shell_would_read(self):
        table = Table(["Train.a"], [trial(0, 0.5, a="x y")], True, False)
        assert shlex.split(table.command(Path("my data"), ["--model", "STFPM"]))[2:] == [
            "my data", "--model", "STFPM", "-o", "Train.a=x y",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "trials",
        [
            [trial(0, 0.5, a="0.01"), trial(1, 0.7, a="0.4")],
            [trial(0, 0.5, a="fast"), trial(1, 0.7, a="$x"), trial(2, None, a="z")],
            [trial(i, 0.5 + i / 50, a=str(i % 3), b=str(i // 3)) for i in range(9)],
            [trial(0, 0.5, a="1", b="1"), trial(1, None, a="1", b="2"), trial(2, 0.5, a="2", b="2")],
            [trial(i, 1.0, a=str(i), b="1", c="2") for i in range(40)],
            [trial(0, 1.0, a="1")],
        ],
        ids=["curve", "bars", "grid", "holes", "many", "one"],
    )
    def test_a_plot_for_every_kind_of_study(self, trials, tmp_path):
        save_plot(Table(list(trials[-1].values), trials, True, False), tmp_path / "tune.png")
        picture = cv2.imread(str(tmp_path / "tune.png"))
        assert min(picture.shape[:2]) > 400 and np.unique(picture).size > 20
