"""Evaluation with a model whose scores are known beforehand: an image of one grey level scores that level."""

from __future__ import annotations

import csv
import hashlib
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from command import blemish
from tiny_model import tiny_info, tiny_network

from blemish.checking import check_dataset
from blemish.cli import main
from blemish.config import load_config
from blemish.errors import DatasetError, UsageError
from blemish.evaluation import evaluate, room
from blemish.models import CalibrationInfo, load_model, save_model, short_hash
from blemish.report import METRICS

SIZE = (80, 160)  # rows, columns: ten times the network's input
HELD_OUT = [float(level) for level in range(60, 80)]  # what the calibration's 20 good parts score
THRESHOLD = 79.0  # at a rate of 5 % one in 20 + 1 parts is allowed for, the new one itself: the largest good score


def save_tiny(folder: Path, hashes: list[str] | None = None) -> Path:
    """A model that scores the brightest place, calibrated at 5 % on `HELD_OUT`."""
    calibration = CalibrationInfo(
        scores=HELD_OUT, peaks=HELD_OUT, parts=list(range(20)), false_alarm_rate=0.05, kind="leave-one-part-out"
    )
    data = tiny_info().data.model_copy(update={"sizes": {"160x80": 20}, "hashes": hashes})
    return save_model(folder, tiny_network(), tiny_info(calibration=calibration, data=data))


def plate(level: int, defect: int | None = None, seed: int = 0) -> np.ndarray:
    """A plate of one grey level (H, W); a defect is a patch of 40 x 40 pixels with another level."""
    image = np.full(SIZE, level, np.uint8)
    image[0, 0] += seed  # tells images of equal level apart, and changes no score above it
    if defect is not None:
        image[20:60, 40:80] = defect
    return image


def patch_mask() -> np.ndarray:
    return plate(0, 255)


def write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def make_set(root: Path, good=(50, 60, 70, 100), crack=(65, 90, 120, 200), hole=(150, 160)) -> Path:
    """A data set in MVTec layout whose images have these scores."""
    write(root / "train" / "good" / "000.png", plate(55))
    for number, level in enumerate(good):
        write(root / "test" / "good" / f"{number:03}.png", plate(level))
    for kind, levels in (("crack", crack), ("hole", hole)):
        for number, level in enumerate(levels):
            write(root / "test" / kind / f"{number:03}.png", plate(40, level))
            write(root / "ground_truth" / kind / f"{number:03}_mask.png", patch_mask())
    return root


def rows(output: Path) -> list[dict[str, str]]:
    with (output / "per_image.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def result(output: Path) -> dict:
    return json.loads((output / "evaluate_result.json").read_text(encoding="utf-8"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_set(tmp_path / "plate")


class TestFigures:
    def test_every_key_is_there(self, model, data, tmp_path):
        evaluate(model, data, tmp_path / "out")
        found = result(tmp_path / "out")
        assert found["done_flag"] is True and found["not_computed"] == {}
        assert {metric.key for metric in METRICS} <= set(found["metrics"])
        for key in ("image_auroc", "image_ap", "false_alarm_rate", "miss_rate"):
            low, high = found["metrics"][f"{key}_ci95"]
            assert 0 <= low <= found["metrics"][key] <= high <= 1

    def test_the_figures_are_those_of_the_known_scores(self, model, data, tmp_path):
        report = evaluate(model, data, tmp_path / "out")
        # good 50 60 70 100, defective 65 90 120 200 150 160: of 24 pairs 3 + 1 are in the wrong order
        wrong_pairs = sum(good > bad for good in (50, 60, 70, 100) for bad in (65, 90, 120, 200, 150, 160))
        assert wrong_pairs == 3
        metrics = report.metrics
        assert metrics["image_auroc"] == pytest.approx(1 - wrong_pairs / 24, abs=1e-12)
        assert (report.false_alarms.count, report.false_alarms.total) == (1, 4)
        assert (report.misses.count, report.misses.total) == (1, 6)
        assert metrics["f1"] == pytest.approx(2 * 5 / (2 * 5 + 1 + 1))
        assert metrics["false_alarm_rate"] == 0.25 and metrics["miss_rate"] == pytest.approx(1 / 6)
        assert report.threshold.score == THRESHOLD

    def test_the_pixels_are_those_of_full_size(self, model, tmp_path):
        data = make_set(tmp_path / "one", good=(50,), crack=(), hole=(250,))
        report = evaluate(model, data, tmp_path / "out")
        image = next(image for image in report.images if image.kind == "hole")
        # the 4 x 4 cells of the patch exceed the threshold; upsampled, the edge lies within a cell (10 pixels) of it
        assert 40 * 40 / (60 * 60) < image.mask_iou <= 1
        confusion_share = 40 * 40 / (2 * 80 * 160)
        assert report.metrics["Acc"] > 1 - 2 * confusion_share and report.metrics["pixel_auroc"] > 0.99

    def test_each_kind_has_its_own_line(self, model, data, tmp_path):
        report = evaluate(model, data, tmp_path / "out")
        assert [(kind.name, kind.called.count, kind.called.total) for kind in report.kinds] == [
            ("good", 1, 4),
            ("crack", 3, 4),
            ("hole", 2, 2),
        ]
        assert report.kinds[2].auroc == 1.0 and report.kinds[0].auroc is None

    def test_per_image(self, model, data, tmp_path):
        evaluate(model, data, tmp_path / "out")
        by_path = {row["path"]: row for row in rows(tmp_path / "out")}
        assert len(by_path) == 10
        missed = by_path["test/crack/000.png"]
        assert float(missed["score"]) == 65 and float(missed["threshold"]) == THRESHOLD
        assert (missed["kind"], missed["verdict"], missed["correct"], missed["regions"]) == (
            "crack",
            "Normal",
            "false",
            "0",
        )
        assert by_path["test/good/003.png"]["verdict"] == "Anomaly" and by_path["test/good/003.png"]["mask_iou"] == ""
        assert float(by_path["test/good/000.png"]["p_value"]) == 1.0

    def test_another_rate_and_a_threshold_by_hand(self, model, data, tmp_path):
        at_rate = evaluate(model, data, tmp_path / "a", false_alarm_rate=0.1)
        assert at_rate.threshold.score == 78.0 and at_rate.threshold.rate == 0.1
        by_hand = evaluate(model, data, tmp_path / "b", threshold=110.0)
        assert by_hand.false_alarms.count == 0 and by_hand.misses.count == 2 and by_hand.threshold.rate is None
        with pytest.raises(UsageError, match="not both"):
            evaluate(model, data, tmp_path / "c", threshold=1.0, false_alarm_rate=0.1)

    def test_alternatives_are_other_rates_of_the_calibration(self, model, data, tmp_path):
        report = evaluate(model, data, tmp_path / "out")
        assert [other.rate for other in report.alternatives] == [0.05, 0.1]  # 20 parts support 1 / 21 and more
        assert [other.in_force for other in report.alternatives] == [True, False]
        assert [(other.false_alarms, other.found) for other in report.alternatives] == [(1, 5), (1, 5)]

    def test_batches_change_nothing(self, model, data, tmp_path):
        one, many = (evaluate(model, data, tmp_path / str(n), batch_size=n) for n in (1, 4))
        assert one.metrics == many.metrics and one.images == many.images


class TestAModelThatNeverFires:
    @pytest.fixture
    def report(self, model, data, tmp_path):
        return evaluate(model, data, tmp_path / "out", threshold=1e9)

    def test_earns_no_praise(self, report):
        assert report.metrics["f1"] == 0 and report.metrics["miss_rate"] == 1
        # 6 patches of 1,600 pixels among 10 images: the class of good pixels alone is nearly right
        share = 6 * 40 * 40 / (10 * 80 * 160)
        assert report.metrics["mIoU"] == pytest.approx((1 - share) / 2) and report.metrics["Kappa"] == 0

    def test_is_called_so_in_the_first_sentence(self, report, tmp_path):
        html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        assert "<h1>This model never fires" in html
        assert result(tmp_path / "out")["verdict"].startswith("This model never fires")


class TestGoodImagesAlone:
    @pytest.fixture(params=["plain", "mvtec"])
    def good(self, request, tmp_path) -> Path:
        if request.param == "mvtec":
            return make_set(tmp_path / "good", crack=(), hole=())
        for number, level in enumerate((50, 60, 70, 100)):
            write(tmp_path / "good" / f"{number}.png", plate(level))
        return tmp_path / "good"

    def test_false_alarms_are_known_and_nothing_else(self, model, good, tmp_path):
        evaluate(model, good, tmp_path / "out")
        found = result(tmp_path / "out")
        known = {key for key, value in found["metrics"].items() if value is not None}
        assert known == {"false_alarm_rate", "false_alarm_rate_ci95"}
        assert found["metrics"]["false_alarm_rate"] == 0.25
        assert found["metrics"]["false_alarm_rate_ci95"] == pytest.approx(
            [0.0063, 0.8059], abs=1e-4
        )  # exact, of 1 in 4
        missing = {metric.key for metric in METRICS} - known
        assert set(found["not_computed"]) == missing
        assert "nothing here says how many defects are missed" in found["verdict"]


class TestImagesThatTheModelKnows:
    def test_are_an_alarm(self, data, tmp_path):
        path = data / "test" / "good" / "001.png"
        digest = short_hash(hashlib.sha256(path.read_bytes()).hexdigest())
        report = evaluate(save_tiny(tmp_path / "knows", [digest]), data, tmp_path / "out")
        assert report.seen_in_training == ("test/good/001.png",)
        assert report.remarks[0].level == "alarm" and "test/good/001.png" in report.remarks[0].text
        assert result(tmp_path / "out")["seen_in_training"] == ["test/good/001.png"]

    def test_also_with_brackets_in_their_names(self, data, tmp_path):
        for name in ("shot[1].png", "shot[2].png"):
            write(tmp_path / "good" / name, plate(int(name[5])))
        hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((tmp_path / "good").iterdir())]
        model = save_tiny(tmp_path / "knows", sorted(map(short_hash, hashes)))
        assert evaluate(model, tmp_path / "good", tmp_path / "out").seen_in_training == ("shot[1].png", "shot[2].png")

    def test_others_are_not(self, data, tmp_path):
        report = evaluate(save_tiny(tmp_path / "knows", ["0" * 16]), data, tmp_path / "out")
        assert report.seen_in_training == ()

    def test_a_model_that_does_not_tell_is_a_doubt(self, model, data, tmp_path):
        assert any("does not tell which" in line for line in evaluate(model, data, tmp_path / "out").unsure)

    def test_a_fit_keeps_the_hashes(self, tmp_path):
        from blemish.fitting import fit

        random = np.random.default_rng(0)
        for number in range(6):
            write(tmp_path / "plates" / f"{number}.png", random.integers(0, 255, (64, 64, 3)).astype(np.uint8))
        overrides = [f"Global.dataset_dir={tmp_path / 'plates'}", f"Global.output={tmp_path / 'run'}"]
        folder = fit(load_config(None, [*overrides, "Model.width=64", "Model.height=64"])).folder
        assert len(load_model(folder).info.data.hashes) == 6
        report = evaluate(folder, tmp_path / "plates", tmp_path / "out")
        assert len(report.seen_in_training) == 6 and report.remarks[0].text.startswith("All of these 6 images")


class TestFaultyFiles:
    def test_an_image_that_cannot_be_read_counts_nowhere(self, model, data, tmp_path):
        (data / "test" / "good" / "000.png").write_bytes(b"no image")
        report = evaluate(model, data, tmp_path / "out")
        assert report.false_alarms.total == 3 and len(report.failed) == 1
        broken = next(row for row in rows(tmp_path / "out") if row["error"])
        assert broken["path"] == "test/good/000.png" and broken["score"] == "" and "000.png" in broken["error"]
        assert any("could not be judged" in remark.text for remark in report.remarks)

    def test_none_can_be_read(self, model, tmp_path):
        (tmp_path / "void").mkdir()
        (tmp_path / "void" / "a.png").write_bytes(b"no image")
        with pytest.raises(DatasetError, match=r"none of 1 image can be judged.*a\.png"):
            evaluate(model, tmp_path / "void", tmp_path / "out")
        assert not (tmp_path / "out" / "evaluate_result.json").exists()

    def test_a_mask_of_another_size_is_named_and_the_image_still_judged(self, model, data, tmp_path):
        write(data / "ground_truth" / "hole" / "000_mask.png", np.zeros((17, 23), np.uint8))
        report = evaluate(model, data, tmp_path / "out")
        assert report.misses.total == 6 and len(report.problems) == 1 and "000_mask.png" in report.problems[0]
        assert result(tmp_path / "out")["mask_problems"] == list(report.problems)

    def test_defects_without_a_usable_mask_are_in_no_pixel_figure(self, model, data, tmp_path):
        whole = evaluate(model, make_set(tmp_path / "fewer", hole=()), tmp_path / "a")
        write(data / "ground_truth" / "hole" / "000_mask.png", np.zeros(SIZE, np.uint8))
        (data / "ground_truth" / "hole" / "001_mask.png").unlink()
        report = evaluate(model, data, tmp_path / "b")
        for key in ("pixel_auroc", "pixel_ap", "au_pro", "mIoU", "Acc"):
            assert report.metrics[key] == whole.metrics[key], key
        assert any("2 defective images without a mask" in remark.text for remark in report.remarks)

    def test_what_the_check_says_of_masks_is_said_too(self, model, data, tmp_path, capsys):
        masks = data / "ground_truth"
        for number in range(3):
            write(masks / "crack" / f"{number:03}_mask.png", cv2.GaussianBlur(patch_mask(), (0, 0), 1))
        write(masks / "hole" / "000_mask.png", 255 - patch_mask())
        write(masks / "hole" / "001_mask.png", patch_mask()[:, :-1])
        write(masks / "good" / "000_mask.png", patch_mask())
        findings = check_dataset(data, tmp_path / "check").findings
        said = {
            found.code: found.message
            for found in findings
            if "the mask" in found.message or "has a mask" in found.message
        }
        assert set(said) == {"mask_not_binary", "inverted_mask", "mask_size", "good_image_with_mask"}
        assert main(["evaluate", str(model), str(data), "--output", str(tmp_path / "out")]) == 1
        console = capsys.readouterr().err
        page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        for message in said.values():
            assert message in console and message in page
        remarks = {remark["text"]: remark["level"] for remark in result(tmp_path / "out")["remarks"]}
        soft = f"test/crack/000.png: {said['mask_not_binary']}. Likewise test/crack/001.png, test/crack/002.png."
        assert remarks[soft] == "note"
        assert remarks[f"test/hole/000.png: {said['inverted_mask']}"] == "alarm"
        assert remarks[f"test/good/000.png: {said['good_image_with_mask']}."] == "alarm"

    @pytest.mark.parametrize(
        "store", [lambda mask: mask // 255, lambda mask: mask // 3, lambda mask: mask // 255 * 236]
    )
    def test_masks_of_class_numbers_give_the_same_figures(self, store, model, data, tmp_path):
        usual = evaluate(model, data, tmp_path / "a").metrics
        for number in range(4):
            mask = store(patch_mask())
            mask[20:40, 40:80] //= 2  # another class
            write(data / "ground_truth" / "crack" / f"{number:03}_mask.png", np.maximum(mask, patch_mask() // 255))
        assert evaluate(model, data, tmp_path / "b").metrics == usual

    def test_masks_of_images_that_are_turned(self, model, tmp_path):
        from PIL import Image

        usual = evaluate(model, make_set(tmp_path / "usual"), tmp_path / "a").metrics
        data = make_set(tmp_path / "turned")
        exif = Image.Exif()
        exif[274] = 6  # shown turned by a quarter to the right
        for file in [*data.glob("test/*/*.png"), *data.glob("ground_truth/*/*.png")]:
            stored = Image.open(file).transpose(Image.Transpose.ROTATE_90)
            stored.save(file, **({} if "ground_truth" in str(file) else {"exif": exif}))
        report = evaluate(model, data, tmp_path / "b")
        assert report.metrics == usual and not report.problems
        assert any("before its EXIF orientation 6" in remark.text for remark in report.remarks)

    def test_without_any_mask_the_pixel_figures_are_unknown(self, model, data, tmp_path):
        for path in data.glob("ground_truth/*/*"):
            path.unlink()
        metrics = evaluate(model, data, tmp_path / "out").metrics
        assert metrics["pixel_auroc"] is None and metrics["au_pimo"] is None and metrics["image_auroc"] is not None
        assert "mask" in result(tmp_path / "out")["not_computed"]["mIoU"]

    def test_pages_of_a_file_are_judged_one_by_one(self, model, tmp_path):
        (tmp_path / "pages").mkdir()
        cv2.imwritemulti(str(tmp_path / "pages" / "two.tif"), [plate(50), plate(90)])
        report = evaluate(model, tmp_path / "pages", tmp_path / "out")
        assert [(image.name, image.is_anomalous) for image in report.images] == [
            ("two.tif[0]", False),
            ("two.tif[1]", True),
        ]


class TestRoom:
    """Pixels that do not fit into memory; here, none of them may."""

    @pytest.fixture(autouse=True)
    def _no_memory(self, monkeypatch):
        monkeypatch.setattr(room, "MEMORY", 0)

    def test_it_is_said_before_the_work(self, model, data, tmp_path):
        said = []
        progress = lambda stage, done, total: said.append(stage)  # noqa: E731
        evaluate(model, data, tmp_path / "out", say=said.append, progress=progress)
        about = [line for line in said if "pixel figures" in line]
        pixels = sum(np.prod(cv2.imread(str(path)).shape[:2]) for path in (data / "test").rglob("*.png"))
        assert about == [
            f"The pixel figures of 10 images, {pixels / 1e6:,.0f} megapixels together, take {4 * pixels / 1e9:.1f} GB "
            f"of the disk in {tmp_path / 'out'} until the evaluation ends."
        ]
        assert said.index(about[0]) < said.index("judging")

    def test_a_disk_with_too_little_room_is_refused_before_the_work(self, model, data, tmp_path, monkeypatch):
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10_000))
        said = []
        with pytest.raises(UsageError, match=r"GB free: make room, or name a folder on another disk with --output"):
            evaluate(model, data, tmp_path / "out", progress=lambda *_: said.append("judging"))
        assert not said
        # without masks there is nothing to keep
        for mask in (data / "ground_truth").rglob("*.png"):
            mask.unlink()
        assert evaluate(model, data, tmp_path / "out").metrics["pixel_auroc"] is None


class TestRefusals:
    def test_the_inside_of_a_test_folder_is_not_taken_for_good(self, model, data, tmp_path):
        report = evaluate(model, data / "test", tmp_path / "out")
        assert {(image.kind, image.is_good) for image in report.images} == {
            ("good", True),
            ("crack", False),
            ("hole", False),
        }

    def test_a_set_without_test_images(self, model, tmp_path):
        write(tmp_path / "only" / "train" / "good" / "a.png", plate(50))
        with pytest.raises(DatasetError, match="training images only"):
            evaluate(model, tmp_path / "only", tmp_path / "out")

    def test_several_products(self, model, tmp_path):
        for name in ("one", "two"):
            make_set(tmp_path / "all" / name)
        with pytest.raises(DatasetError, match=r"several products \(one, two\).*bench"):
            evaluate(model, tmp_path / "all", tmp_path / "out")

    def test_an_output_that_cannot_be_written(self, model, data, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError, match="file"):
            evaluate(model, data, tmp_path / "file" / "out")


class TestRemarks:
    def test_more_false_alarms_than_chance_explains(self, model, tmp_path):
        data = make_set(tmp_path / "set", good=range(90, 130))
        text = evaluate(model, data, tmp_path / "out").remarks[0].text
        assert text.startswith("100 % of the good images raised a false alarm") and "more than the 5 %" in text

    def test_scores_that_are_upside_down(self, model, tmp_path):
        data = make_set(tmp_path / "set", good=(77, 78), crack=(50, 55), hole=(60,))
        assert "worse than by chance" in evaluate(model, data, tmp_path / "out").remarks[0].text

    def test_a_rate_that_the_calibration_does_not_support(self, model, data, tmp_path):
        report = evaluate(model, data, tmp_path / "out", false_alarm_rate=0.01)
        assert any("at best, not 1 %" in remark.text for remark in report.remarks)

    def test_images_of_another_size(self, model, tmp_path):
        write(tmp_path / "large" / "a.png", np.full((160, 320), 50, np.uint8))
        remarks = evaluate(model, tmp_path / "large", tmp_path / "out").remarks
        assert "trained on images of 160x80 pixels; here are some of 320x160" in remarks[0].text


class TestGallery:
    def test_the_worst_come_first(self, model, data, tmp_path):
        data = make_set(tmp_path / "more", good=(50, 100, 90, 60), crack=(70, 65, 75), hole=(200, 100))
        gallery = evaluate(model, data, tmp_path / "out").gallery
        scores = {key: [picture.judged.score for picture in shelf.pictures] for key, shelf in gallery.items()}
        assert scores == {
            "misses": [65, 70, 75],
            "false_alarms": [100, 90],
            "hard_defects": [100, 200],
            "hard_good": [60, 50],
        }

    def test_the_overlay_shows_what_was_marked_and_the_mask(self, model, data, tmp_path):
        gallery = evaluate(model, data, tmp_path / "out").gallery
        picture = gallery["hard_defects"].pictures[0]
        image, overlay = (
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
            for data in (picture.image, picture.overlay)
        )
        assert image.shape[:2] == (picture.height, picture.width) == SIZE
        changed = np.abs(image - overlay).max(axis=2) > 40
        assert changed[15:65, 35:85].mean() > 0.2 and not changed[:, 120:].any()

    def test_the_page_stays_small_with_many_large_noisy_images(self, model, tmp_path):
        random = np.random.default_rng(0)
        for number in range(200):
            noise = random.integers(0, 255, (300, 600), np.uint8)
            folder = "test/good" if number % 2 else "test/crack"
            write(tmp_path / "noise" / folder / f"{number:03}.png", noise)
        report = evaluate(model, tmp_path / "noise", tmp_path / "out", threshold=125.0)
        assert len(report.images) == 200
        page = (tmp_path / "out" / "report.html").read_bytes()
        assert len(page) < 5_000_000
        assert sum(shelf.total for shelf in report.gallery.values()) == 200


class TestCommands:
    def test_evaluate(self, model, data, tmp_path):
        done = blemish("evaluate", model, data, "--output", tmp_path / "out")
        assert done.code == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0].startswith("false-alarm rate  defective images found") and lines[-1] == str(
            tmp_path / "out" / "report.html"
        )
        assert "1 was called anomalous" in done.stderr

    def test_without_good_images_only_what_is_known_has_a_row(self, model, tmp_path):
        for number, level in enumerate((90, 200)):
            write(tmp_path / "NG" / f"{number}.png", plate(50, level))
        done = blemish("evaluate", model, tmp_path, "--good", "none", "--output", tmp_path / "out")
        rows = done.stdout.partition("\n\n")[2].splitlines()  # after what is found at the promised rates
        assert [row.split()[0] for row in rows[:-2]] == ["miss_rate"]
        assert rows[-2].startswith("there are no good images: no image_auroc, image_ap, ")
        missing = result(tmp_path / "out")["not_computed"]
        assert all(key in rows[-2] for key in missing) and len(missing) == 14

    def test_images_called_good_that_look_defective_are_asked_about(self, model, tmp_path):
        data = make_set(tmp_path / "set", good=(*range(50, 70), 240))
        done = blemish("evaluate", model, data, "--output", tmp_path / "out")
        (line,) = (line for line in done.stderr.splitlines() if "Is this a good part?" in line)
        assert "1 image called good looks defective: test/good/020.png" in line and "--leave-out NAME" in line
        done = blemish("evaluate", model, data, "--leave-out", "test/good/020.png", "--output", tmp_path / "out")
        assert "good part?" not in done.stderr

    def test_the_command_that_keeps_good_images_back_can_be_pasted(self, tmp_path):
        good = [write(tmp_path / "a set" / "OK" / f"{n}.png", plate(50 + n)) for n in range(10)]
        write(tmp_path / "a set" / "NG" / "0.png", plate(50, 200))
        hashes = [short_hash(hashlib.sha256(path.read_bytes()).hexdigest()) for path in good]
        model = save_tiny(tmp_path / "knows", sorted(hashes))
        done = blemish("evaluate", model, tmp_path / "a set", "--output", tmp_path / "out")
        (line,) = (line for line in done.stderr.splitlines() if "keep some back" in line)
        assert blemish(*shlex.split(line.partition("again: ")[2])[1:]).code == 0
        assert (tmp_path / "a set" / "val.txt").is_file()

    def test_faulty_files_are_named_and_give_one(self, model, data, tmp_path, capsys):
        (data / "test" / "good" / "000.png").write_bytes(b"no image")
        assert main(["evaluate", str(model), str(data), "--output", str(tmp_path / "out")]) == 1
        assert "000.png" in capsys.readouterr().err

    @pytest.mark.parametrize("weights", ["inference", "model.safetensors", "model.pdparams", ".."])
    def test_the_mode_takes_a_folder_or_a_weights_file(self, weights, data, tmp_path):
        save_tiny(tmp_path / "run" / "best_model" / "inference")
        path = tmp_path / "run" / "best_model" / weights
        overrides = [
            "Global.mode=evaluate",
            f"Global.dataset_dir={data}/",
            f"Global.output={tmp_path / 'out'}",
            f"Evaluate.weight_path={path}",
        ]
        assert main(["run", *(part for override in overrides for part in ("-o", override))]) == 0
        assert result(tmp_path / "out")["done_flag"] and (tmp_path / "out" / "report.html").is_file()

    def test_the_mode_takes_its_own_run_by_default(self, data, tmp_path):
        save_tiny(tmp_path / "run" / "best_model" / "inference")
        overrides = [f"Global.dataset_dir={data}", f"Global.output={tmp_path / 'run'}"]
        assert main(["run", "-o", "Global.mode=evaluate", "-o", overrides[0], "-o", overrides[1]]) == 0
        assert result(tmp_path / "run")["done_flag"]

    @pytest.mark.parametrize("mode", ["check_dataset", "train", "evaluate", "predict"])
    def test_a_mode_that_fails_leaves_its_record(self, mode, tmp_path, capsys):
        overrides = [
            f"Global.mode={mode}",
            f"Global.dataset_dir={tmp_path / 'nowhere'}",
            f"Global.output={tmp_path / 'out'}",
            f"Predict.input={tmp_path / 'nowhere'}",
        ]
        assert main(["run", *(part for override in overrides for part in ("-o", override))]) == 2
        record = json.loads((tmp_path / "out" / f"{mode}_result.json").read_text(encoding="utf-8"))
        assert record["done_flag"] is False and "Error" in record["err_type"]
        assert " ".join(record["err_msg"].split()) in capsys.readouterr().err

    def test_a_result_of_another_run_does_not_stay(self, model, data, tmp_path):
        evaluate(model, data, tmp_path / "out")
        (tmp_path / "void").mkdir()
        (tmp_path / "void" / "a.png").write_bytes(b"no image")
        with pytest.raises(DatasetError):
            evaluate(model, tmp_path / "void", tmp_path / "out")
        assert not (tmp_path / "out" / "evaluate_result.json").exists()
