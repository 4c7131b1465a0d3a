"""From a folder to a model: what is written, layouts, files that are no images, input sizes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from runs import SMALL, calibration, fitted, model_of, scores
from textures import plate, write, write_all

from blemish.config import load_config
from blemish.errors import DatasetError, UsageError
from blemish.fitting import FitReport, fit
from blemish.pipeline import open_model

FILES = ("model.onnx", "model.json", "inference.yml", "good_patches.zip")


class TestWhatIsWritten:
    def test_the_run_folder(self, usual: FitReport) -> None:
        names = {path.relative_to(usual.output).as_posix() for path in usual.output.rglob("*") if path.is_file()}
        inference = {f"best_model/inference/{name}" for name in FILES}
        assert names == inference | {"config.yaml", "train.log", "train_result.json", "train_results.json"}

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
        assert result["statement"] == usual.lines[1] == calibration(usual.folder).statement()
        assert {"images", "features", "memory bank", "calibration"} <= set(result["seconds"])
        assert all(seconds >= 0 for seconds in result["seconds"].values())
        assert result["learned"] == usual.lines[0] == "learned: 24 images of the folder itself"
        assert usual.lines[1] in (usual.output / "train.log").read_text()

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
            write(tmp_path / "in" / "masks" / f"{number}.png", np.zeros_like(plate(number)[..., 0]))
        text = "\n".join(line.format(i=number) for number in (0, 1, 3)) + "\n\n"
        (tmp_path / "in" / "train.txt").write_text("\ufeff" + text, encoding="utf-8")
        report = fitted(tmp_path / "in", tmp_path / "out", r"Calibrate.group_by=my (\d)\.png$")
        assert report.failed == [] and model_of(report).info.data.images == 3

    def test_a_backslash_is_a_part_of_a_name(self, tmp_path: Path) -> None:
        from blemish.datasets import find_good_images

        (tmp_path / "train.txt").write_text("images\\a.png images\\a.png\n")
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
            (["bottle/train/good/a.png", "screw/train/good/a.png"], "several products.*such as .*bottle"),
            (["test/crack/a.png"], "no good images to learn from"),
            ([], "there is nothing in it"),
            (["a", "b"], "there is a/, b/"),
        ],
    )
    def test_folders_that_are_no_training_set(self, folders: list[str], message: str, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        for folder in folders:
            if folder.endswith(".png"):
                write(tmp_path / "in" / folder, plate(0))
            else:
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
        assert any(line.startswith("3 images were left out") for line in report.lines)
        assert json.loads((report.output / "train_result.json").read_text())["failed"] == report.failed
        assert "005_text.jpg" in (report.output / "train.log").read_text()
        assert model_of(report).model == model_of(usual).model
        assert model_of(report).info.data.images == 24

    def test_none_can_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        for number in range(40):
            (tmp_path / "in" / f"{number:02}.png").write_bytes(b"")
        with pytest.raises(DatasetError, match=r"none of 40 images can be read"):
            fitted(tmp_path / "in", tmp_path / "out")

    def test_only_the_last_can_be_read(self, tmp_path: Path) -> None:
        """The sample that decides the input's shape sees none of it."""
        for number in range(40):
            (tmp_path / "in").mkdir(exist_ok=True)
            (tmp_path / "in" / f"{number:02}.png").write_bytes(b"")
        write(tmp_path / "in" / "39.png", plate(0))
        report = fitted(tmp_path / "in", tmp_path / "out")
        assert len(report.failed) == 39 and "too few for any" in report.lines[1]

    def test_mixed_sizes(self, tmp_path: Path) -> None:
        shapes = [(96, 128)] * 15 + [(192, 256), (96, 96), (50, 200), (1, 1), (31, 7)]
        for number, (height, width) in enumerate(shapes):
            write(tmp_path / "in" / f"{number}.png", plate(number, 256)[:height, :width])
        config = [f"Global.dataset_dir={tmp_path / 'in'}", f"Global.output={tmp_path / 'out'}", "Model.preset=fast"]
        info = model_of(fit(load_config(None, config))).info
        assert info.input.aspect == pytest.approx(4 / 3) and info.data.images == 20
        assert info.data.sizes["128x96"] == 15 and info.data.sizes["1x1"] == 1
        assert abs(np.log(info.input.width / info.input.height / (4 / 3))) < 0.15

    def test_images_of_many_aspects_are_stretched(self, tmp_path: Path) -> None:
        """Unless somebody decides otherwise; few odd ones among many of one aspect are letterboxed."""
        for number in range(10):
            write(tmp_path / "many" / f"{number}.png", plate(number, 256)[: 128 + 12 * number, : 256 - 12 * number])
            height = 64 if number == 9 else 192
            write(tmp_path / "odd" / f"{number}.png", plate(number, 256)[:height])
        many = fitted(tmp_path / "many", tmp_path / "1")
        info = model_of(many).info
        assert info.input.aspect is None and info.input.least_version == 7 <= info.format_version
        for result in open_model(many.folder, "cpu").predict(tmp_path / "many"):
            assert result.anomaly_map.shape == result.size[::-1]
        for config, aspect in (("letterbox", True), ("stretch", False)):
            forced = fitted(tmp_path / "many", tmp_path / config, f"Model.framing={config}")
            assert (model_of(forced).info.input.aspect is not None) == aspect
        kept = model_of(fitted(tmp_path / "odd", tmp_path / "2")).info
        assert kept.input.aspect == pytest.approx(4 / 3) and kept.input.least_version < 7

    def test_16_bit_files(self, plates: list[npt.NDArray[np.uint8]], tmp_path: Path) -> None:
        """A 12-bit camera's files are scaled by their own 12 bits, in training and ever after."""
        grey = [image[..., 0] for image in plates[:8]]
        write_all(tmp_path / "8", grey)
        for number, image in enumerate(grey):
            write(tmp_path / "12" / f"{number:03}.png", np.round(image.astype(float) * 4095 / 255).astype(np.uint16))
        eight = fitted(tmp_path / "8", tmp_path / "one")
        twelve = fitted(tmp_path / "12", tmp_path / "two", "Model.bit_depth=12")
        assert model_of(twelve).info.input.bit_depth.bits == 12
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

        def progress(stage: str, done: int, total: int, detail: str = "") -> None:
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
        from blemish.framing import LONGEST_SIDE, _side

        assert (_side(1e9, 32), _side(0.1, 32), _side(100, 32)) == (LONGEST_SIDE, 32, 96)
