"""What a newcomer does wrong in the first ten minutes, and what is said of it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import ROOT, blemish

from blemish.cli import main
from blemish.datasets import generate_sample
from blemish.demo import quickstart


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A folder with blanks and umlauts of six good images and a text file named .png, and the model of it."""
    root = tmp_path_factory.mktemp("erste Schritte")
    good = generate_sample(root / "sample", train=6, good=0, per_defect=1, size=96) / "train" / "good"
    images = root / "Nüsse, gut"
    good.rename(images)
    (images / "text.png").write_text("no image")
    (images / "notes.txt").write_text("no image either")
    return images, root / "Modell", blemish("train", images, "--output", root / "Modell", "--preset", "fast")


def in_process(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_train_says_what_was_left_out(first):
    images, output, done = first
    assert done.code == 1
    assert f"{images / 'text.png'}: is not an image" in done.stderr
    assert "1 image was left out" in done.stderr and "6 good images" in done.stderr and "notes" not in done.stderr
    assert "learned: 6 images of the folder itself; left out: 1 not readable" in done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("To train without what cannot be read: "))
    again = blemish(*shlex.split(line.partition("read: ")[2])[1:], "--output", output.with_name("whole"))
    assert again.code == 0 and "left out: 1 by name" in again.stderr


def test_an_unreadable_image_is_named_once(first, capsys):
    images, model, _ = first
    code, out, err = in_process(capsys, "predict", model, images)
    assert code == 1 and len(out.splitlines()) == 6
    lines = err.splitlines()
    assert lines[0].count("text.png") == 1 and lines[1] == "blemish: 1 of 7 inputs failed."


def test_several_results_never_share_one_file(first, capsys, tmp_path):
    images, model, _ = first
    code, out, err = in_process(capsys, "predict", model, images, "--save_path", tmp_path / "all.png")
    assert code == 2 and "names one file" in err and len(out.splitlines()) == 1
    one = images / "000.png"
    assert in_process(capsys, "predict", model, one, "--save_path", tmp_path / "one.png")[0] == 0
    assert cv2.imread(str(tmp_path / "one.png")).shape == cv2.imread(str(one)).shape


def test_a_rate_that_the_images_cannot_support_is_said(first, capsys):
    images, model, _ = first
    code, _, err = in_process(capsys, "predict", model, images / "000.png", "--false-alarm-rate", "0.001")
    assert code == 0 and "at best, not 0.1 %" in err
    assert in_process(capsys, "predict", model, images / "000.png", "--false-alarm-rate", "0.5")[2] == ""


@pytest.mark.parametrize(("asked", "kept"), [(0.001, 1 / 7), (0.5, 0.5)])
def test_a_result_states_the_rate_that_the_images_support(first, capsys, asked, kept):
    images, model, _ = first
    _, out, _ = in_process(capsys, "predict", model, images / "000.png", "--json", "--false-alarm-rate", asked)
    record = json.loads(out)
    assert record["false_alarm_rate"] == asked and record["supported_rate"] == pytest.approx(kept)
    by_hand = in_process(capsys, "predict", model, images / "000.png", "--json", "--threshold", "1")[1]
    assert json.loads(by_hand)["supported_rate"] is None


def test_an_argument_written_as_an_option(capsys):
    code, _, err = in_process(capsys, "predict", "--model", "m", "image.png")
    assert code == 2 and "MODEL stands without a flag: blemish predict MODEL INPUT" in err


@pytest.mark.parametrize("name", ["plain", "below/it"])
def test_a_file_where_a_folder_is_needed(name, first, capsys, tmp_path):
    images, model, _ = first
    (tmp_path / name.split("/")[0]).write_text("")
    for arguments in (
        ("predict", model, images / "000.png", "--save_path", tmp_path / name),
        ("train", images, "--output", tmp_path / name),
    ):
        code, _, err = in_process(capsys, *arguments)
        assert code == 2 and "a file stands" in err and name in err


def test_a_folder_that_is_no_model_is_told_by_its_content(first, capsys):
    images, _, _ = first
    code, _, err = in_process(capsys, "predict", images.parent, images)
    assert code == 2 and "Nüsse, gut" in err


def test_interrupted_is_said_without_a_traceback(tmp_path):
    for number in range(300):  # work for far longer than the signal needs
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((32, 32), number % 256, np.uint8))
    output = tmp_path / "out"
    command = [sys.executable, "-m", "blemish", "train", str(tmp_path), "--output", str(output), "--preset", "accurate"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True) as process:
        while not process.stderr.readline().startswith("features"):
            pass
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130 and rest.endswith("blemish: interrupted\n"), rest
    assert "Traceback" not in rest and not (output / "best_model").exists()


def noise_in(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (64, 96, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), noise)


class TestQuickstart:
    def test_of_own_images_with_a_test_folder(self, tmp_path):
        data = generate_sample(tmp_path / "data", train=8, good=2, per_defect=2, size=96)
        (data / "test" / "hole" / "broken.png").write_bytes(b"")
        said: list[str] = []
        summary = quickstart(data, tmp_path / "out", said.append)
        rows = [line.split() for line in summary.splitlines()]
        assert [row[0] for row in rows[1:6]] == ["good", "crack", "hole", "print", "scratch"]  # good ones first
        assert [row[1] for row in rows[1:6]] == ["2"] * 5
        assert "1 image got no verdict" in summary
        for _, found, more in (map(int, row[1:]) for row in rows[1:6]):
            assert found <= more
        for place in ("overview.png", "results", "model"):
            assert (tmp_path / "out" / place).exists() and str(tmp_path / "out" / place) in summary
        assert len(list((tmp_path / "out" / "results").rglob("*_res.png"))) == 10
        assert cv2.imread(str(tmp_path / "out" / "overview.png")).shape[1] > 1200

    def test_of_a_plain_folder_says_that_it_judges_what_it_learned(self, tmp_path):
        noise_in(tmp_path / "data")
        said: list[str] = []
        quickstart(tmp_path / "data", tmp_path / "out", said.append)
        assert any("has learned from are judged" in line for line in said)

    def test_without_test_images_there_is_all_but_the_report(self, tmp_path):
        noise_in(tmp_path / "data" / "train" / "good")
        summary = quickstart(tmp_path / "data", tmp_path / "out", lambda _: None)
        assert "report    none: " in summary and "training images only" in summary
        assert (tmp_path / "out" / "overview.png").exists()


class TestDemoModel:
    def test_is_made_once_and_says_what_it_knows(self, first, tmp_path):
        images, _, _ = first
        arguments = ("--pipeline", "anomaly_detection", "--input", images / "000.png")
        done = blemish(*arguments, BLEMISH_CACHE_HOME=str(tmp_path))
        assert done.code == 0 and "blemish train DIR" in done.stderr and "Making the demo model once" in done.stderr
        assert len(list(tmp_path.iterdir())) == 1  # nothing of the making is left
        again = blemish(*arguments, BLEMISH_CACHE_HOME=str(tmp_path))
        assert again.stdout == done.stdout and "only the generated hazelnut sample" in again.stderr
        assert "Making" not in again.stderr

    def test_a_cache_that_cannot_be_written(self, first, tmp_path):
        (tmp_path / "file").write_text("")
        done = blemish(
            *("--pipeline", "anomaly_detection", "--input", first[0]), BLEMISH_CACHE_HOME=str(tmp_path / "file")
        )
        assert done.code == 2 and "set BLEMISH_CACHE_HOME" in done.stderr
