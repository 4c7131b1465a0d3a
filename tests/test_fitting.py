"""From a folder to a model: layouts, files that are no images, parts, budgets, other backbones, and what can break."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import binom
from textures import exposure, plate, write, write_all

from blemish.calibration import Calibration
from blemish.config import load_config
from blemish.errors import BlemishError, DatasetError, ModelError, UsageError
from blemish.fitting import FitReport, fit
from blemish.models import LoadedModel, load_model
from blemish.pipeline import open_model

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("Model.preset=fast", "Model.width=96", "Model.height=96", "Global.device=cpu")


def fitted(data: Path, output: Path, *overrides: str) -> FitReport:
    return fit(load_config(None, [f"Global.dataset_dir={data}", f"Global.output={output}", *SMALL, *overrides]))


def scores(folder: Path, images: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]:
    """Scores of RGB images."""
    found = open_model(folder, "cpu", 4).predict([image[..., ::-1] for image in images])
    return np.array([result.score for result in found])


def calibration(folder: Path) -> Calibration:
    return Calibration.from_json(load_model(folder).info.calibration.model_dump())


@pytest.fixture(scope="module")
def plates() -> list[npt.NDArray[np.uint8]]:
    return [plate(seed) for seed in range(24)]


@pytest.fixture(scope="module")
def good(plates: list[npt.NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("good"), plates)


@pytest.fixture(scope="module")
def usual(good: Path, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    return fitted(good, tmp_path_factory.mktemp("usual") / "out", "Calibrate.false_alarm_rate=0.1")


def model_of(report: FitReport) -> LoadedModel:
    return load_model(report.folder)


class TestWhatIsWritten:
    def test_the_run_folder(self, usual: FitReport) -> None:
        names = {path.relative_to(usual.output).as_posix() for path in usual.output.rglob("*") if path.is_file()}
        inference = {f"best_model/inference/{name}" for name in ("model.onnx", "model.json", "inference.yml")}
        assert names == inference | {"config.yaml", "train.log", "train_result.json"}

    def test_the_record(self, usual: FitReport, good: Path) -> None:
        info = model_of(usual).info
        assert (info.detector.name, info.input.width, info.input.height) == ("PatchCore", 96, 96)
        assert (info.data.images, info.data.parts, info.data.folder) == (24, 24, good.name)
        assert info.data.sizes == {"96x96": 24}
        assert info.detector.parameters["preset"] == "fast" and info.detector.parameters["seed"] == 0
        assert info.backbone is not None and info.backbone.licence == "Apache-2.0"
        assert (info.calibration.false_alarm_rate, info.calibration.kind) == (0.1, "leave-one-part-out")
        assert len(info.calibration.scores) == 24

    def test_the_report(self, usual: FitReport) -> None:
        result = json.loads((usual.output / "train_result.json").read_text())
        assert result["done_flag"] is True and result["failed"] == []
        assert result["threshold"] == calibration(usual.folder).threshold()
        assert result["statement"] == usual.lines[0] == calibration(usual.folder).statement()
        assert {"images", "features", "memory bank", "calibration"} <= set(result["seconds"])
        assert all(seconds >= 0 for seconds in result["seconds"].values())
        assert usual.lines[0] in (usual.output / "train.log").read_text()

    def test_the_written_configuration_gives_the_same_model(self, usual: FitReport, tmp_path: Path) -> None:
        again = fit(load_config(usual.output / "config.yaml", [f"Global.output={tmp_path}"]))
        assert model_of(again).model == model_of(usual).model

    def test_same_seed_same_bytes(self, usual: FitReport, good: Path, tmp_path: Path) -> None:
        again = fitted(good, tmp_path, "Calibrate.false_alarm_rate=0.1")
        assert model_of(again).model == model_of(usual).model
        assert model_of(again).info.calibration == model_of(usual).info.calibration
        assert model_of(again).info.data.fingerprint == model_of(usual).info.data.fingerprint

    def test_the_fingerprint_is_that_of_the_files(self, usual: FitReport, good: Path, tmp_path: Path) -> None:
        """The same files elsewhere have the same fingerprint; one changed pixel gives another."""
        images = [cv2.imread(str(path)) for path in sorted(good.iterdir())]
        for number, path in enumerate(sorted(good.iterdir())):
            write(tmp_path / "a" / path.name, images[number][..., ::-1])
        same = fitted(tmp_path / "a", tmp_path / "one")
        images[3][5, 5] ^= 1
        write(tmp_path / "a" / "003.png", images[3][..., ::-1])
        changed = fitted(tmp_path / "a", tmp_path / "two")
        first, second, third = (model_of(report).info.data.fingerprint for report in (usual, same, changed))
        assert first == second != third

    def test_it_judges_new_images(self, usual: FitReport) -> None:
        bad = scores(usual.folder, [plate(seed, defect=True) for seed in range(200, 210)])
        fine = scores(usual.folder, [plate(seed) for seed in range(100, 120)])
        assert bad.min() > max(fine.max(), calibration(usual.folder).threshold())


class TestLayouts:
    def test_mvtec(self, good: Path, usual: FitReport, plates: list[npt.NDArray[np.uint8]], tmp_path: Path) -> None:
        """Only train/good counts; the defects beside it are never looked at."""
        write_all(tmp_path / "set" / "train" / "good", plates)
        for other in ("test/hole", "test/good", "ground_truth/hole", "train/odd"):
            write_all(tmp_path / "set" / other, [plate(seed, defect=True) for seed in range(3)])
        assert model_of(fitted(tmp_path / "set", tmp_path / "out")).model == model_of(usual).model

    def test_sub_folders_of_a_plain_folder(self, tmp_path: Path) -> None:
        for number in range(6):
            write(tmp_path / "in" / f"day{number % 2}" / f"{number}.png", plate(number))
        (tmp_path / "in" / ".hidden").mkdir()
        write(tmp_path / "in" / ".hidden" / "7.png", plate(7))
        (tmp_path / "in" / "notes.txt").write_text("no image")
        assert model_of(fitted(tmp_path / "in", tmp_path / "out")).info.data.images == 6

    @pytest.mark.parametrize(
        "line",
        [
            "images/my {i}.png\tmasks/{i}.png",
            "'images/my {i}.png' masks/{i}.png",
            '"images/my {i}.png" "masks/{i}.png"',
            '"images/my {i}.png"\t"masks/{i}.png"',
            '"images/my {i}.png"',
            "images/my {i}.png\t",
            "  images/my {i}.png \t masks/{i}.png  \r",
        ],
    )
    def test_lists(self, line: str, tmp_path: Path) -> None:
        for number in range(4):
            write(tmp_path / "in" / "images" / f"my {number}.png", plate(number))
        text = "\n".join(line.format(i=number) for number in (0, 1, 3)) + "\n\n"
        (tmp_path / "in" / "train.txt").write_text("\ufeff" + text, encoding="utf-8")
        report = fitted(tmp_path / "in", tmp_path / "out", r"Calibrate.group_by=my (\d)\.png$")
        assert report.failed == [] and model_of(report).info.data.images == 3

    def test_a_backslash_is_a_part_of_a_name(self, tmp_path: Path) -> None:
        from blemish.datasets import find_good_images

        (tmp_path / "train.txt").write_text("images\\a.png masks\\a.png\n")
        assert find_good_images(tmp_path).paths[0].name.endswith("a.png")
        assert "\\" in str(find_good_images(tmp_path).paths[0])

    @pytest.mark.parametrize("line", ["my image.png mask.png", "a\tb\tc", "\tmask.png", "it's.png mask.png"])
    def test_lists_that_cannot_be_read(self, line: str, tmp_path: Path) -> None:
        (tmp_path / "train.txt").write_text(f"fine.png mask.png\n{line}\n")
        with pytest.raises(DatasetError, match=r"train\.txt, line 2: .*quote paths with blanks"):
            fitted(tmp_path, tmp_path / "out")

    def test_a_list_that_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(DatasetError, match="UTF-8"):
            fitted(tmp_path, tmp_path / "out")

    @pytest.mark.parametrize(
        ("folders", "message"),
        [
            (["bottle/train/good", "screw/train/good"], "several products.*such as .*bottle"),
            (["test/good"], "has test but neither train/good nor train.txt"),
            ([], "there is nothing in it"),
            (["a", "b"], "there is a/, b/"),
        ],
    )
    def test_folders_that_are_no_training_set(self, folders: list[str], message: str, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        for folder in folders:
            (tmp_path / "in" / folder).mkdir(parents=True)
        with pytest.raises(DatasetError, match=message):
            fitted(tmp_path / "in", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="no such folder"):
            fitted(tmp_path / "in", tmp_path / "out")
        write(tmp_path / "a.png", plate(0))
        with pytest.raises(DatasetError, match="is a file"):
            fitted(tmp_path / "a.png", tmp_path / "out")
        with pytest.raises(UsageError, match="dataset_dir"):
            fit(load_config(None, [f"Global.output={tmp_path / 'out'}"]))


class TestImages:
    def test_what_cannot_be_read_is_left_out_and_named(
        self, usual: FitReport, plates: list[npt.NDArray[np.uint8]], tmp_path: Path
    ) -> None:
        write_all(tmp_path / "in", plates)
        (tmp_path / "in" / "000_empty.png").write_bytes(b"")
        (tmp_path / "in" / "005_text.jpg").write_text("no image")
        (tmp_path / "in" / "zz.png").symlink_to(tmp_path / "nowhere.png")
        report = fitted(tmp_path / "in", tmp_path / "out")
        assert [Path(line.split(": ")[0]).name for line in report.failed] == ["000_empty.png", "005_text.jpg", "zz.png"]
        assert report.lines[1].startswith("3 images were left out")
        assert json.loads((report.output / "train_result.json").read_text())["failed"] == report.failed
        assert "005_text.jpg" in (report.output / "train.log").read_text()
        assert model_of(report).model == model_of(usual).model
        assert model_of(report).info.data.images == 24

    def test_none_can_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        for number in range(40):
            (tmp_path / "in" / f"{number:02}.png").write_bytes(b"")
        with pytest.raises(DatasetError, match=r"none of its 40 images can be read"):
            fitted(tmp_path / "in", tmp_path / "out")

    def test_only_the_last_can_be_read(self, tmp_path: Path) -> None:
        """The sample that decides the input's shape sees none of it."""
        for number in range(40):
            (tmp_path / "in").mkdir(exist_ok=True)
            (tmp_path / "in" / f"{number:02}.png").write_bytes(b"")
        write(tmp_path / "in" / "39.png", plate(0))
        report = fitted(tmp_path / "in", tmp_path / "out")
        assert len(report.failed) == 39 and "too few for any" in report.lines[0]

    def test_mixed_sizes(self, tmp_path: Path) -> None:
        shapes = [(96, 128)] * 5 + [(192, 256), (96, 96), (50, 200), (1, 1), (31, 7)]
        for number, (height, width) in enumerate(shapes):
            write(tmp_path / "in" / f"{number}.png", plate(number, 256)[:height, :width])
        config = [f"Global.dataset_dir={tmp_path / 'in'}", f"Global.output={tmp_path / 'out'}", "Model.preset=fast"]
        info = model_of(fit(load_config(None, config))).info
        assert info.input.aspect == pytest.approx(4 / 3) and info.data.images == 10
        assert info.data.sizes["128x96"] == 5 and info.data.sizes["1x1"] == 1
        assert abs(np.log(info.input.width / info.input.height / (4 / 3))) < 0.15

    def test_16_bit_files(self, plates: list[npt.NDArray[np.uint8]], tmp_path: Path) -> None:
        """A 12-bit camera's files are scaled by their own 12 bits, in training and ever after."""
        grey = [image[..., 0] for image in plates[:8]]
        write_all(tmp_path / "8", grey)
        for number, image in enumerate(grey):
            write(tmp_path / "12" / f"{number:03}.png", np.round(image.astype(float) * 4095 / 255).astype(np.uint16))
        eight = fitted(tmp_path / "8", tmp_path / "one")
        twelve = fitted(tmp_path / "12", tmp_path / "two", "Model.bit_depth=12")
        assert model_of(twelve).info.input.bit_depth == 12
        assert model_of(twelve).model == model_of(eight).model
        by_path = next(open_model(twelve.folder, "cpu").predict(tmp_path / "12" / "000.png"))
        assert by_path.score == next(open_model(eight.folder, "cpu").predict(tmp_path / "8" / "000.png")).score

    def test_pages_of_a_document_are_images(self, plates: list[npt.NDArray[np.uint8]], tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        cv2.imwritemulti(str(tmp_path / "in" / "all.tiff"), [image[..., ::-1] for image in plates[:6]])
        report = fitted(tmp_path / "in", tmp_path / "out", r"Calibrate.group_by=\[(\d)\]")
        assert (model_of(report).info.data.images, model_of(report).info.data.parts) == (6, 6)

    def test_images_that_change_during_training(self, plates: list[npt.NDArray[np.uint8]], tmp_path: Path) -> None:
        """A second pass over images that are not held finds one gone."""
        write_all(tmp_path / "in", plates)
        config = load_config(
            None,
            [f"Global.dataset_dir={tmp_path / 'in'}", f"Global.output={tmp_path}", *SMALL, "Model.memory_budget=1KB"],
        )

        def progress(stage: str, done: int, total: int) -> None:
            if (stage, done) == ("images", total):
                (tmp_path / "in" / "020.png").unlink()

        with pytest.raises(DatasetError, match=r"020\.png.*Do not change the images during training"):
            fit(config, progress)

    def test_one_image_works(self, tmp_path: Path) -> None:
        write(tmp_path / "in" / "a.png", plate(0))
        report = fitted(tmp_path / "in", tmp_path / "out")
        assert calibration(report.folder).kind == "one part"
        assert scores(report.folder, [plate(0, defect=True)])[0] > calibration(report.folder).threshold() > 0

    def test_identical_constant_images(self, tmp_path: Path) -> None:
        """Nothing differs but rounding; the very same image must still not be an anomaly."""
        write_all(tmp_path / "in", [np.full((96, 96, 3), 90, np.uint8)] * 12)
        report = fitted(tmp_path / "in", tmp_path / "out")
        assert model_of(report).info.data.parts == 1
        spot = np.full((96, 96, 3), 90, np.uint8)
        spot[40:56, 40:56] = 200
        same, odd = scores(report.folder, [np.full((96, 96, 3), 90, np.uint8), spot])
        assert odd > calibration(report.folder).threshold() >= same


class TestInputSize:
    @pytest.mark.parametrize(("preset", "pixels"), [("fast", 256), ("balanced", 320), ("accurate", 448)])
    def test_presets(self, preset: str, pixels: int, tmp_path: Path) -> None:
        for number in range(2):
            write(tmp_path / "in" / f"{number}.png", plate(number, 128)[:64])
        config = [f"Global.dataset_dir={tmp_path / 'in'}", f"Global.output={tmp_path / 'o'}", f"Model.preset={preset}"]
        info = model_of(fit(load_config(None, config))).info.input
        assert 0.75 < info.width * info.height / pixels**2 <= 1.25 and 1.6 < info.width / info.height < 2.5

    @pytest.mark.parametrize(
        ("overrides", "size"),
        [
            (["Model.width=128", "Model.height=64"], (128, 64)),
            (["Model.width=128"], (128, 64)),
            (["Model.height=32"], (64, 32)),
            (["Model.width=32"], (32, 32)),
        ],
    )
    def test_overrides(self, overrides: list[str], size: tuple[int, int], tmp_path: Path) -> None:
        for number in range(3):
            write(tmp_path / "in" / f"{number}.png", plate(number, 128)[:64])
        config = [f"Global.dataset_dir={tmp_path / 'in'}", f"Global.output={tmp_path / 'out'}", *overrides]
        report = fit(load_config(None, config))
        assert (model_of(report).info.input.width, model_of(report).info.input.height) == size
        assert np.isfinite(scores(report.folder, [plate(9, 128)[:64]])).all()

    def test_a_very_long_image_gives_a_side_that_a_model_may_have(self) -> None:
        from blemish.fitting import LONGEST_SIDE, _side

        assert (_side(1e9), _side(0.1), _side(100)) == (LONGEST_SIDE, 32, 96)


@pytest.fixture(scope="module")
def exposures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 parts, each photographed five times."""
    folder = tmp_path_factory.mktemp("exposures")
    for part in range(16):
        for take in range(5):
            write(folder / f"part{part:02}_take{take}.png", exposure(plate(part), 100 * part + take))
    return folder


@pytest.fixture(scope="module")
def by_likeness(exposures: Path, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    return fitted(exposures, tmp_path_factory.mktemp("likeness"))


class TestParts:
    def test_exposures_of_a_part_are_found(self, by_likeness: FitReport) -> None:
        found = calibration(by_likeness.folder)
        np.testing.assert_array_equal(
            found.parts[:, None] == found.parts, np.arange(80)[:, None] // 5 == np.arange(80) // 5
        )
        assert model_of(by_likeness).info.data.parts == 16
        assert "80 good images of 16 parts" in by_likeness.lines[0]

    def test_the_pattern_gives_the_same(self, exposures: Path, by_likeness: FitReport, tmp_path: Path) -> None:
        report = fitted(exposures, tmp_path, r"Calibrate.group_by=part(\d+)", "Calibrate.near_duplicates=false")
        np.testing.assert_allclose(calibration(report.folder).scores, calibration(by_likeness.folder).scores)

    def test_a_pattern_that_misses_an_image(self, exposures: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"group_by .*finds nothing in `part00_take0\.png`"):
            fitted(exposures, tmp_path, r"Calibrate.group_by=tile(\d+)")

    def test_false_alarms_on_new_parts(self, exposures: Path, by_likeness: FitReport, tmp_path: Path) -> None:
        """Inside the exact band when parts are left out; leaving out images promises far too few."""
        by_image = fitted(exposures, tmp_path, "Calibrate.near_duplicates=false")
        new = scores(by_likeness.folder, [exposure(plate(seed), seed) for seed in range(1000, 1100)])
        realised = []
        for report in (by_likeness, by_image):
            found = calibration(report.folder)
            realised.append(sum(found.p_value(score) <= 0.2 for score in new))
        # The threshold is itself random, as the third largest of 16: Beta(3, 14) around the rate.
        low, high = _beta_binomial_band(100, 3, 14)
        assert low <= realised[0] <= high < realised[1]

    def test_near_duplicates_can_be_switched_off(self, exposures: Path, tmp_path: Path) -> None:
        report = fitted(exposures, tmp_path, "Calibrate.near_duplicates=false")
        assert model_of(report).info.data.parts == 80


def _beta_binomial_band(count: int, a: int, b: int) -> tuple[float, float]:
    from scipy.stats import betabinom

    low, high = betabinom.ppf([0.005, 0.995], count, a, b)
    return float(low), float(high)


def test_false_alarm_rate_pooled_over_sets(tmp_path: Path) -> None:
    """Realised false alarms on new good images of several small sets, within the exact 99 % band of the rate."""
    alarms = images = 0
    for number in range(6):
        write_all(tmp_path / f"in{number}", [plate(seed, 64) for seed in range(1000 * number, 1000 * number + 29)])
        report = fitted(tmp_path / f"in{number}", tmp_path / f"out{number}", "Model.width=64", "Model.height=64")
        found = calibration(report.folder)
        new = scores(report.folder, [plate(seed, 64) for seed in range(1000 * number + 500, 1000 * number + 540)])
        alarms += sum(found.p_value(score) <= 0.1 for score in new)
        images += len(new)
    low, high = binom.ppf([0.005, 0.995], images, 0.1)
    assert low <= alarms <= high


class TestMemoryBudget:
    def test_a_tiny_budget_gives_nearly_the_same_model(self, good: Path, usual: FitReport, tmp_path: Path) -> None:
        """Images are read again for every pass, features are selected in a stream, and little changes."""
        stages: list[str] = []
        config = load_config(
            None, [f"Global.dataset_dir={good}", f"Global.output={tmp_path}", *SMALL, "Model.memory_budget=1KB"]
        )
        small = fit(config, lambda stage, done, total: stages.append(stage))
        new = [plate(seed, defect=seed % 2 == 1) for seed in range(300, 310)]
        np.testing.assert_allclose(scores(small.folder, new), scores(usual.folder, new), rtol=0.1)
        np.testing.assert_allclose(calibration(small.folder).scores, calibration(usual.folder).scores, rtol=0.2)
        assert stages.count("calibration") == 24 and {"images", "features", "memory bank"} <= set(stages)

    def test_images_that_are_not_held_are_the_same(self, good: Path) -> None:
        from blemish.datasets import find_good_images
        from blemish.images import InputGeometry
        from blemish.training_images import TrainingImages

        held, read = (
            TrainingImages(find_good_images(good), InputGeometry(64, 64, 1.0), 16, memory, lambda done, total: None)
            for memory in (10**9, 64 * 64 * 3 * 23)
        )
        assert (held._held is None, read._held is None) == (False, True)
        for _ in range(2):
            for one, other in zip(held, read, strict=True):
                np.testing.assert_array_equal(one, other)
        assert held.names == read.names and held.hashes == read.hashes and len(held) == len(read) == 24


def test_contaminated_images_are_worth_the_noise_share(tmp_path: Path) -> None:
    """A tenth of the "good" images has a defect; dropping the oddest patches separates new ones better."""
    images = [plate(seed, defect=seed % 10 == 0) for seed in range(40)]
    write_all(tmp_path / "in", images)
    good, bad = [plate(seed) for seed in range(500, 520)], [plate(seed, defect=True) for seed in range(600, 620)]
    aurocs, gaps = [], []
    for share in (0, 0.1):
        report = fitted(tmp_path / "in", tmp_path / f"out{share}", f"Model.noise_share={share}")
        fine, odd = scores(report.folder, good), scores(report.folder, bad)
        aurocs.append((odd[:, None] > fine).mean())
        gaps.append(odd.mean() / fine.mean())
    assert aurocs[1] >= aurocs[0] and aurocs[1] > 0.99 and gaps[1] > 1.1 * gaps[0]


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
        net = tiny_backbone(tmp_path / "net.onnx", strides=3)
        with pytest.raises(BlemishError, match="no tap at stride 16"):
            fitted(good, tmp_path / "out", f"Model.backbone={net}")

    def test_values_that_are_not_finite(self, good: Path, tmp_path: Path) -> None:
        net = tiny_backbone(tmp_path / "net.onnx")
        model = onnx.load(net)
        model.graph.initializer[0].CopyFrom(
            numpy_helper.from_array(np.full((8, 3, 3, 3), np.float32(3e38)), model.graph.initializer[0].name)
        )
        onnx.save(model, net)
        with pytest.raises(BlemishError, match=r"not finite|not a finite"):
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
            fit(config, lambda stage, done, total: stages.append(stage))
        assert not stages or blocked in ("config.yaml", "train_result.json")

    def test_a_second_fit_replaces_the_model(self, good: Path, usual: FitReport, tmp_path: Path) -> None:
        write_all(tmp_path / "in", [plate(seed) for seed in range(5)])
        fitted(tmp_path / "in", tmp_path / "out")
        report = fitted(good, tmp_path / "out")
        assert model_of(report).model == model_of(usual).model
        assert sorted(path.name for path in (tmp_path / "out" / "best_model").iterdir()) == ["inference"]

    @pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
    @pytest.mark.parametrize("stage", ["images", "features", "calibration"])
    def test_a_killed_fit_leaves_the_old_model(self, stage: str, good: Path, usual: FitReport, tmp_path: Path) -> None:
        report = fitted(good, tmp_path / "out")
        write_all(tmp_path / "in", [plate(seed) for seed in range(30, 60)])
        code = f"""
import sys, time
from blemish.config import load_config
from blemish.fitting import fit
def progress(stage, done, total):
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

    def test_nothing_is_logged_twice_after_a_failure(self, good: Path, tmp_path: Path) -> None:
        """A failed fit takes its log file off again."""
        import logging

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
    fit(config, lambda *call: told.append(call))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["images", "features", "memory bank", "calibration"]
    for stage in stages:
        done = [(done, total) for name, done, total in told if name == stage]
        assert done == sorted(done) and done[-1][0] == done[-1][1] and len({total for _, total in done}) == 1
