"""Train, predict and everything that can go wrong, through the command line, as its users do it."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import ROOT, blemish

SIZE = (120, 160)  # rows, columns


def picture(seed: int, defect: bool = False) -> np.ndarray:
    """A brushed plate (H, W, 3), BGR, every one a little different; the defect is a dark scratch."""
    random = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(random.normal(0, 30, SIZE).astype(np.float32), (31, 1), 0)  # (H, W)
    plate = np.clip(150 + grain + random.normal(0, 3), 0, 255).astype(np.uint8)
    plate = cv2.merge([plate, plate, np.clip(plate.astype(int) + 15, 0, 255).astype(np.uint8)])
    if defect:
        cv2.line(plate, (60, 40), (100, 80), (10, 10, 10), 6)
    return plate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MVTec-style folder: 16 good images, and a test set of 4 good and 2 scratched ones, named alike."""
    root = tmp_path_factory.mktemp("data") / "plate with blank"
    for folder, seeds, defect in (
        ("train/good", range(16), False),
        ("test/good", range(100, 104), False),
        ("test/scratch", range(200, 202), True),
    ):
        (root / folder).mkdir(parents=True)
        for number, seed in enumerate(seeds):
            cv2.imwrite(str(root / folder / f"{number:03}.png"), picture(seed, defect))
    return root


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory):
    """The output folder of `blemish train`, and what the command said."""
    output = tmp_path_factory.mktemp("trained") / "out put"
    return output, blemish("train", data, "--output", output, "--preset", "fast", "--false-alarm-rate", "0.1")


@pytest.fixture(scope="module")
def model(trained) -> Path:
    return trained[0]


def rows(stdout: str) -> list[dict]:
    """Every line of stdout is a JSON object: nothing else is printed there."""
    return [json.loads(line) for line in stdout.splitlines()]


def refused(*arguments, **kwargs) -> str:
    done = blemish(*arguments, **kwargs)
    assert (done.code, done.stdout) == (2, ""), done
    assert done.stderr.splitlines()[-1].startswith("blemish: error: ")
    return done.stderr


class TestTrain:
    def test_prints_the_model_folder_and_the_next_command(self, trained):
        output, done = trained
        assert done.code == 0, done.stderr
        folder, command = done.stdout.splitlines()
        assert Path(folder) == output / "best_model" / "inference"
        assert command == f"blemish predict '{output}' INPUT"

    def test_says_on_stderr_what_the_calibration_can_promise(self, trained):
        assert re.search(r"\b16\b", trained[1].stderr) and "%" in trained[1].stderr

    def test_writes_everything(self, model):
        for name in ("model.onnx", "model.json", "inference.yml"):
            assert (model / "best_model" / "inference" / name).is_file()
        assert (model / "config.yaml").is_file() and (model / "train_result.json").is_file()

    def test_the_written_configuration_is_the_resolved_one(self, model, data):
        from blemish.config import load_config

        config = load_config(model / "config.yaml")
        assert (config.Model.preset, config.Calibrate.false_alarm_rate) == ("fast", 0.1)
        assert Path(config.Global.dataset_dir).name == data.name

    def test_the_run_file_does_the_same(self, data, model, tmp_path):
        overrides = [f"Global.dataset_dir={data}", f"Global.output={tmp_path}", "Model.preset=fast"]
        arguments = [part for override in overrides for part in ("-o", override)]
        name = "blemish/configs/modules/image_anomaly_detection/PatchCore.yaml"
        done = blemish("-c", name, "-o", "Global.mode=train", *arguments, program=ROOT / "main.py", cwd=tmp_path)
        assert done.code == 0, done.stderr
        graph = Path("best_model/inference/model.onnx")
        assert (tmp_path / graph).read_bytes() == (model / graph).read_bytes()


class TestPredict:
    def test_a_line_an_image_sorted(self, model, data):
        done = blemish("predict", model, data / "test")
        assert done.code == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 6
        for line, path in zip(lines, sorted((data / "test").rglob("*.png")), strict=True):
            verdict = re.fullmatch(re.escape(str(path)) + r"  (Normal|Anomaly) - score:  (\d+\.\d{3})", line)
            assert verdict, line
            assert verdict[1] == "Anomaly" or "good" in line

    def test_json_lines_are_short_and_complete(self, model, data):
        done = blemish("predict", model, data / "test", "--json", "--batch_size", "4")
        assert done.code == 0, done.stderr
        for line, row in zip(done.stdout.splitlines(), rows(done.stdout), strict=True):
            assert {"input_path", "score", "p_value", "threshold", "is_anomalous", "label", "regions"} <= set(row)
            assert "pred" not in row and len(line) < 4000
            assert row["is_anomalous"] == (row["score"] > row["threshold"])

    def test_saves_without_overwriting(self, model, data, tmp_path):
        done = blemish("predict", model, data / "test", "--save_path", tmp_path)
        assert done.code == 0, done.stderr
        saved = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
        assert len([name for name in saved if name.endswith("_res.json")]) == 6
        assert len([name for name in saved if name.endswith("_res.png")]) == 6

    def test_rate_and_threshold_move_the_verdict_alone(self, model, data):
        def verdicts(*flags):
            found = rows(blemish("predict", model, data / "test", "--json", *flags).stdout)
            return [row["is_anomalous"] for row in found], [row["score"] for row in found]

        strict, scores = verdicts("--false-alarm-rate", "0.06")
        loose, same = verdicts("--false_alarm_rate", "0.9")
        assert sum(strict) < sum(loose) and scores == same
        assert verdicts("--threshold", "1e9")[0] == [False] * 6
        assert verdicts("--threshold", "-1")[0] == [True] * 6

    def test_the_inner_folder_is_the_same_model(self, model, data):
        image = data / "test" / "good" / "000.png"
        outer = rows(blemish("predict", model, image, "--json").stdout)
        inner = rows(blemish("predict", model / "best_model" / "inference", image, "--json").stdout)
        assert outer[0]["score"] == inner[0]["score"]

    def test_run_predict_saves_into_the_output(self, model, data, tmp_path):
        done = blemish(
            *("run", "-o", "Global.mode=predict", "-o", f"Predict.model_dir={model}"),
            *("-o", f"Predict.input={data / 'test' / 'scratch'}", "-o", f"Global.output={tmp_path / 'results'}"),
        )
        assert done.code == 0 and len(done.stdout.splitlines()) == 2, done.stderr
        assert len(list((tmp_path / "results").rglob("*_res.json"))) == 2

    def test_a_reader_that_goes_away_ends_it_quietly(self, model, data):
        command = [sys.executable, "-m", "blemish", "predict", str(model), str(data / "test"), "--json"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 141


class TestPaddleXFlags:
    def test_pipeline_with_a_model_folder(self, model, data, tmp_path):
        image = data / "test" / "scratch" / "000.png"
        for flag in ("--model", "--model_dir", "--model-dir"):
            done = blemish("--pipeline", "anomaly_detection", flag, model, "--input", image, "--save_path", tmp_path)
            assert done.code == 0 and "Anomaly - score:" in done.stdout, done.stderr
        assert (tmp_path / "000_res.json").is_file() and (tmp_path / "000_res.png").is_file()

    def test_both_dialects_of_the_pipeline_file(self, model, data, tmp_path):
        folder = model / "best_model" / "inference"
        new = {"AnomalyDetection": {"model_name": "PatchCore", "model_dir": str(folder), "batch_size": 2}}
        (tmp_path / "new.yaml").write_text(json.dumps({"pipeline_name": "anomaly_detection", "SubModules": new}))
        old = {"Global": {"pipeline_name": "anomaly_detection"}, "Pipeline": {"model": str(folder), "batch_size": 2}}
        (tmp_path / "old.yaml").write_text(json.dumps(old))
        found = [blemish("--pipeline", tmp_path / name, "--input", data / "test") for name in ("new.yaml", "old.yaml")]
        assert found[0].code == 0 and found[0].stdout == found[1].stdout and len(found[0].stdout.splitlines()) == 6

    def test_use_hpip_says_what_it_chose(self, model, data, tmp_path, monkeypatch):
        monkeypatch.setenv("BLEMISH_CACHE_HOME", str(tmp_path))
        image = data / "test" / "good" / "000.png"
        arguments = ("--pipeline", "anomaly_detection", "--model_dir", model, "--input", image, "--device", "cpu")
        plain, fast = blemish(*arguments), blemish(*arguments, "--use_hpip", "--hpi_config", "{num_threads: 1}")
        assert fast.code == 0 and fast.stdout == plain.stdout and len(fast.stderr.splitlines()) == 1
        assert re.search(r"inference: \w+ at fp32 on cpu; an image takes .*onnxruntime [\d.]+ ms", fast.stderr)
        assert "(remembered)" in blemish(*arguments, "--use_hpip", "--hpi_config", "{num_threads: 1}").stderr

    def test_an_engine_by_name(self, model, data):
        image = data / "test" / "good" / "000.png"
        found = {blemish("predict", model, image, "--engine", name).stdout for name in ("onnxruntime", "openvino")}
        assert len(found) == 1 and "score:" in found.pop()
        assert "Did you mean `openvino`?" in refused("predict", model, image, "--engine", "openvin")
        assert "add --precision" in refused("predict", model, image, "--good", data)
        assert "not by openvino" in refused("predict", model, image, "--precision", "int8", "--engine", "openvino")
        assert "hpi_config.backend" in refused(
            "--pipeline", "anomaly_detection", "--model_dir", model, "--input", image, "--use_hpip",
            "--hpi_config", "{backend: paddle}",
        )  # fmt: skip

    def test_a_misspelt_model(self, data):
        assert "Did you mean `PatchCore`?" in refused(
            "--pipeline", "anomaly_detection", "--model", "PatchCor", "--input", data
        )


def test_models_lists_patchcore():
    done = blemish("models")
    assert done.code == 0 and any(line.startswith("PatchCore ") for line in done.stdout.splitlines())
    cards = json.loads(blemish("models", "--json").stdout)
    assert {"name", "summary", "requires", "reference"} <= set(cards[0])
    assert "PatchCore" in [card["name"] for card in cards]


def huge_png() -> bytes:
    """The header of a 30,000 x 30,000 PNG and nothing more."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


class TestBadInput:
    @pytest.fixture
    def bad(self, tmp_path_factory) -> Path:
        """A folder with one fine image, a 1x1 image, and five files that are no images."""
        folder = tmp_path_factory.mktemp("bad")
        jpeg = cv2.imencode(".jpg", picture(1))[1].tobytes()
        (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 3])
        (folder / "empty.jpg").write_bytes(b"")
        (folder / "fine.jpg").write_bytes(jpeg)
        (folder / "huge.png").write_bytes(huge_png())
        (folder / "text.png").write_text("not an image")
        cv2.imwrite(str(folder / "tiny.png"), np.full((1, 1, 3), 128, np.uint8))
        return folder

    def test_each_is_named_and_the_others_are_done(self, model, bad, tmp_path):
        done = blemish("predict", model, bad, "--json", "--save_path", tmp_path)
        assert done.code == 1
        found = {Path(row["input_path"]).name: row for row in rows(done.stdout)}
        assert set(found) == {"cut.jpg", "empty.jpg", "fine.jpg", "huge.png", "text.png", "tiny.png"}
        for name in ("cut.jpg", "empty.jpg", "huge.png", "text.png"):
            assert found[name]["error"] and found[name]["score"] is None
            assert len([line for line in done.stderr.splitlines() if name in line]) == 1
        for name in ("fine.jpg", "tiny.png"):
            assert found[name]["error"] is None and found[name]["score"] is not None
            assert (tmp_path / f"{Path(name).stem}_res.json").is_file()

    def test_without_json_stdout_has_the_good_ones_alone(self, model, bad):
        done = blemish("predict", model, bad)
        assert done.code == 1
        assert [Path(line.split("  ")[0]).name for line in done.stdout.splitlines()] == ["fine.jpg", "tiny.png"]

    def test_a_missing_input_among_others(self, model, data, tmp_path):
        done = blemish("predict", model, tmp_path / "nowhere.png", data / "test" / "good", "--json")
        assert done.code == 1 and "nowhere.png" in done.stderr
        assert len([row for row in rows(done.stdout) if row["error"] is None]) == 4

    def test_a_folder_without_images(self, model, tmp_path):
        (tmp_path / "void").mkdir()
        done = blemish("predict", model, tmp_path / "void")
        assert done.code in (1, 2) and done.stdout == "" and done.stderr.count("\n") in (1, 2)

    def test_train_on_a_missing_or_empty_folder(self, tmp_path):
        (tmp_path / "void").mkdir()
        assert "nowhere" in refused("train", tmp_path / "nowhere", "--output", tmp_path / "never")
        assert "void" in refused("train", tmp_path / "void", "--output", tmp_path / "never")
        assert not (tmp_path / "never" / "best_model").exists()

    def test_train_on_an_unknown_model_or_key(self, data, tmp_path):
        output = ("--output", tmp_path / "never")
        assert "PatchCore" in refused("train", data, "--model", "PatchCor", *output)
        assert "Did you mean" in refused("train", data, "-o", "Model.coreset_rato=0.1", *output)
        assert "Did you mean" in refused("train", data, "-o", "Calibrate.false_alarm_rat=0.1", *output)

    def test_a_device_that_is_not_there(self, model, data):
        assert "gpu" in refused("predict", model, data / "test", "--device", "gpu:0")

    def test_a_changed_byte(self, model, data, tmp_path):
        for name in ("model.onnx", "model.json"):
            broken = tmp_path / name.replace(".", "_")
            shutil.copytree(model / "best_model" / "inference", broken)
            content = bytearray((broken / name).read_bytes())
            content[len(content) // 2] ^= 1
            (broken / name).write_bytes(bytes(content))
            assert str(broken) in refused("predict", broken, data / "test" / "good")

    def test_no_model_there(self, data, tmp_path):
        assert "nowhere" in refused("predict", tmp_path / "nowhere", data / "test")

    @pytest.mark.parametrize("rate", ["0", "1.5", "-0.1", "nan"])
    def test_a_rate_that_is_no_rate(self, rate, model, data):
        assert rate in refused("predict", model, data / "test", f"--false-alarm-rate={rate}")
