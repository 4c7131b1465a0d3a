"""The check of a data set: planted faults are found one by one, clean sets pass, the user's files stay as they are."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import ROOT, blemish
from plates import SIZE, plate, scratched, write, write_set

from blemish.checking import CODES, CheckReport, check_dataset
from blemish.checking.duplicates import detail, near_pairs
from blemish.checking.oddities import swapped_pairs
from blemish.datasets import generate_sample
from blemish.errors import DatasetError, UsageError

DOCS = ROOT / "docs"


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file and its content."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def found(report: CheckReport) -> set[tuple[str, tuple[str, ...]]]:
    return {(finding.code, tuple(sorted(finding.files))) for finding in report.findings}


def record(output: Path) -> dict:
    return json.loads((output / "check_dataset_result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """A set of 16 + 4 good and 4 scratched plates without any fault; copied where it is changed."""
    return write_set(tmp_path_factory.mktemp("data") / "plates with blank")


@pytest.fixture(scope="module")
def checked(clean, tmp_path_factory) -> tuple[Path, CheckReport]:
    output = tmp_path_factory.mktemp("checked") / "out put"
    return output, check_dataset(clean, output)


class TestPlantedFaults:
    """Twelve faults: ten among MVTec folders, a line that cannot be read and a blank in a list."""

    @pytest.fixture(scope="class")
    @classmethod
    def planted(cls, clean, tmp_path_factory) -> dict[str, tuple[str, ...]]:
        """The findings that there must be, with the files, sorted, and the report under its own key."""
        root = tmp_path_factory.mktemp("planted") / "set"
        shutil.copytree(clean, root)
        scratches, masks = root / "test" / "scratch", root / "ground_truth" / "scratch"
        for number in range(4, 10):
            picture, mask = scratched(200 + number, (20 + 15 * number % 100, 30 + 7 * number % 60))
            write(scratches / f"{number:03}.png", picture)
            write(masks / f"{number:03}_mask.png", mask)
        swapped = [masks / f"{number:03}_mask.png" for number in (0, 3)]
        first, second = (path.read_bytes() for path in swapped)
        swapped[0].write_bytes(second)
        swapped[1].write_bytes(first)
        write(masks / "004_mask.png", np.zeros(SIZE, np.uint8))
        write(masks / "005_mask.png", np.full((17, 23), 255, np.uint8))
        (scratches / "006.png").rename(scratches / "006.v1.png")
        shutil.copy(root / "test" / "good" / "000.png", root / "train" / "good" / "copy.png")
        shutil.copy(scratches / "007.png", root / "train" / "good" / "extra.png")
        write(root / "train" / "good" / "007_NG.png", plate(302))
        cut = root / "train" / "good" / "003.png"
        cut.write_bytes(cut.read_bytes()[:2000])
        write(root / "test" / "good" / "deep.png", plate(300).astype(np.uint16) * 257)
        write(root / "test" / "good" / "grey.png", cv2.cvtColor(plate(301), cv2.COLOR_BGR2GRAY))
        write(root / "ground_truth" / "good" / "001_mask.png", scratched(0, (50, 50))[1])
        return {"report": check_dataset(root, root.parent / "out"), "root": root}

    @pytest.mark.parametrize(
        ("code", "files"),
        [
            ("leaked_image", ("test/good/000.png", "train/good/copy.png")),
            ("swapped_masks", ("test/scratch/000.png", "test/scratch/003.png")),
            ("empty_mask", ("ground_truth/scratch/004_mask.png", "test/scratch/004.png")),
            ("unreadable_image", ("train/good/003.png",)),
            ("mixed_bit_depth", ("test/good/deep.png",)),
            ("mask_size", ("ground_truth/scratch/005_mask.png", "test/scratch/005.png")),
            ("defect_in_training", ("test/scratch/007.png", "train/good/extra.png")),
            ("mixed_colour", ("test/good/grey.png",)),
            ("missing_mask", ("test/scratch/006.v1.png",)),
            ("unused_files", ("ground_truth/scratch/006_mask.png",)),
            ("good_image_with_mask", ("ground_truth/good/001_mask.png", "test/good/001.png")),
            ("good_image_with_mask", ("train/good/007_NG.png",)),
        ],
    )
    def test_each_is_found_by_code_and_file(self, code, files, planted):
        assert (code, files) in found(planted["report"])

    def test_and_nothing_else(self, planted):
        assert len(planted["report"].findings) == 13
        assert [f.code for f in planted["report"].findings if not f.files] == ["few_images"]

    def test_errors_fail_it_and_come_first(self, planted):
        report = planted["report"]
        assert not report.passed and len(report.errors) == 7
        assert report.findings == report.errors + report.warnings
        assert record(report.result.parent)["check_pass"] is False and record(report.result.parent)["done_flag"] is True

    def test_a_blank_in_a_list_and_a_line_that_cannot_be_read(self, tmp_path):
        root = tmp_path / "set"
        for number in range(4):
            write(root / "images" / f"{number} a.b.png", plate(number))
        write(root / "empty.png", np.zeros(SIZE, np.uint8))
        (root / "train.txt").write_bytes(
            b'"images/0 a.b.png" empty.png\nimages/1 a.b.png empty.png\n\xff.png empty.png\n'
        )
        (root / "val.txt").write_text("images/2 a.b.png\timages/2 a.b.png\nimages/9.png\n")
        report = check_dataset(root, tmp_path / "out")
        assert found(report) == {
            ("unreadable_list_line", ("train.txt",)),
            ("missing_file", ("images/9.png",)),
            ("few_images", ()),
        }
        lines = [finding.message for finding in report.errors if finding.code == "unreadable_list_line"]
        assert ["line 2: " in lines[0], "line 3: " in lines[1]] == [True, True] and "quote paths" in lines[0]
        assert (report.train_samples, report.val_samples) == (1, 2)


class TestOtherFaults:
    """Faults of single files, each in a set too small for a look at the pictures."""

    def check(self, clean, tmp_path, change) -> set[tuple[str, tuple[str, ...]]]:
        root = tmp_path / "set"
        write_set(root, train=4, good=2, defects=2)
        change(root)
        return found(check_dataset(root, tmp_path / "out")) - {("few_images", ())}

    def test_without_a_change_there_is_none(self, clean, tmp_path):
        assert self.check(clean, tmp_path, lambda root: None) == set()

    @pytest.mark.parametrize(
        ("code", "files", "change"),
        [
            ("unreadable_image", ("test/good/000.png",), lambda r: (r / "test/good/000.png").write_bytes(b"")),
            ("unreadable_image", ("train/good/x.png",), lambda r: (r / "train/good/x.png").write_text("no image")),
            (
                "unreadable_mask",
                ("ground_truth/scratch/000_mask.png", "test/scratch/000.png"),
                lambda r: (r / "ground_truth/scratch/000_mask.png").write_bytes(b"\x89PNG"),
            ),
            (
                "mask_not_binary",
                ("ground_truth/scratch/000_mask.png", "test/scratch/000.png"),
                lambda r: write(
                    r / "ground_truth/scratch/000_mask.png", cv2.GaussianBlur(scratched(0, (20, 20))[1], (5, 5), 0)
                ),
            ),
            (
                "inverted_mask",
                ("ground_truth/scratch/000_mask.png", "test/scratch/000.png"),
                lambda r: write(r / "ground_truth/scratch/000_mask.png", 255 - scratched(0, (20, 20))[1]),
            ),
            (
                "repeated_mask",
                ("test/scratch/000.png", "test/scratch/001.png"),
                lambda r: shutil.copy(r / "ground_truth/scratch/000_mask.png", r / "ground_truth/scratch/001_mask.png"),
            ),
            ("mixed_sizes", ("train/good/x.png",), lambda r: write(r / "train/good/x.png", plate(9)[:100])),
            (
                "mixed_transparency",
                ("train/good/x.png",),
                lambda r: write(r / "train/good/x.png", cv2.cvtColor(plate(9), cv2.COLOR_BGR2BGRA)),
            ),
            (
                "duplicate_images",
                ("train/good/000.png", "train/good/x.bmp"),
                lambda r: write(r / "train/good/x.bmp", plate(0)),
            ),
            (
                "near_duplicates",
                ("train/good/000.png", "train/good/x.png"),
                lambda r: write(r / "train/good/x.png", cv2.convertScaleAbs(plate(0), alpha=0.9, beta=5)),
            ),
            (
                "near_duplicates_across_splits",
                ("test/good/000.png", "train/good/x.jpg"),
                lambda r: write(r / "train/good/x.jpg", plate(100)),
            ),
            (
                "contradicting_labels",
                ("test/good/x.png", "test/scratch/000.png"),
                lambda r: shutil.copy(r / "test/scratch/000.png", r / "test/good/x.png"),
            ),
            ("unused_files", ("train/scratch/x.png",), lambda r: write(r / "train/scratch/x.png", plate(9))),
            ("unused_files", ("test/x.png",), lambda r: write(r / "test/x.png", plate(9))),
            ("no_good_test_images", (), lambda r: shutil.rmtree(r / "test" / "good")),
            ("no_good_images", (), lambda r: shutil.rmtree(r / "train" / "good")),
        ],
    )
    def test_one_fault_one_finding(self, code, files, change, clean, tmp_path):
        assert self.check(clean, tmp_path, change) == {(code, files)}

    def test_a_deep_tiff_among_8_bits(self, clean, tmp_path):
        def change(root):
            write(root / "train/good/x.tif", plate(9).astype(np.uint16) * 257)

        assert self.check(clean, tmp_path, change) == {("mixed_bit_depth", ("train/good/x.tif",))}

    def test_a_defect_listed_for_training(self, clean, tmp_path):
        def change(root):
            lines = ["train/good/000.png", "test/scratch/000.png ground_truth/scratch/000_mask.png"]
            (root / "train.txt").write_text("\n".join(lines))

        assert self.check(clean, tmp_path, change) == {("defect_in_training", ("test/scratch/000.png",))}

    def test_an_image_listed_in_both_lists(self, clean, tmp_path):
        def change(root):
            (root / "train.txt").write_text("train/good/000.png\ntrain/good/001.png\n")
            (root / "val.txt").write_text("train/good/001.png\n")

        assert self.check(clean, tmp_path, change) == {("leaked_image", ("train/good/001.png",))}


class TestCleanSets:
    def test_plates_have_but_the_small_sample(self, checked):
        report = checked[1]
        assert found(report) == {("few_images", ())} and report.passed
        assert "16 good images" in report.warnings[0].message and "%" in report.warnings[0].message

    def test_the_generated_sample_too(self, tmp_path):
        data = generate_sample(tmp_path / "sample", seed=3, train=12, good=3, per_defect=2, size=128)
        report = check_dataset(data, tmp_path / "out")
        assert found(report) == {("few_images", ())} and report.passed

    def test_a_plain_folder(self, clean, tmp_path):
        report = check_dataset(clean / "train" / "good", tmp_path / "out")
        assert found(report) == {("few_images", ())}
        assert (report.train_samples, report.val_samples) == (16, 0)


class TestOutput:
    def test_every_field_of_the_tutorials(self, checked, clean):
        result = record(checked[0])
        assert result["done_flag"] is True and result["check_pass"] is True
        attributes = result["attributes"]
        assert (attributes["train_samples"], attributes["val_samples"], attributes["num_classes"]) == (16, 8, 1)
        assert result["analysis"]["histogram"] == "check_dataset/histogram.png"
        assert (result["dataset_path"], result["show_type"], result["dataset_type"]) == (
            str(clean),
            "image",
            "SegDataset",
        )
        assert [finding["code"] for finding in result["findings"]] == ["few_images"]
        assert set(result["findings"][0]) == {"severity", "code", "message", "files"}

    def test_the_sample_pictures_exist_and_are_apart(self, checked):
        output, _ = checked
        attributes = record(output)["attributes"]
        train, val = attributes["train_sample_paths"], attributes["val_sample_paths"]
        assert (len(train), len(val)) == (10, 8) and not set(train) & set(val)
        for name in train + val:
            assert cv2.imread(str(output / name)).shape[:2] == SIZE

    def test_good_pictures_are_plain_and_defects_marked(self, checked, clean):
        output, _ = checked
        shown = {Path(name).name[3:]: output / name for name in record(output)["attributes"]["val_sample_paths"]}
        good = cv2.imread(str(shown["good_000.jpg"])).astype(int)
        assert np.abs(good - plate(100)).mean() < 2
        defect, original = (
            cv2.imread(str(shown["scratch_000.jpg"])).astype(int),
            scratched(200, (10, 10))[0].astype(int),
        )
        inside = scratched(200, (10, 10))[1] > 0
        far = cv2.dilate(inside.astype(np.uint8), np.ones((15, 15))) == 0
        assert (defect - original)[inside][:, 2].mean() > 40 and np.abs(defect - original)[far].mean() < 3

    def test_the_histogram_is_a_picture(self, checked):
        picture = cv2.imread(str(checked[0] / "check_dataset" / "histogram.png"))
        assert picture.shape[1] > 1000 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50

    def test_odd_names_and_many_sizes_and_kinds_are_drawn(self, tmp_path):
        root = tmp_path / "se$t$ \u4e2d\u6587"
        for number in range(8):
            write(root / "train" / "good" / f"{number}.png", plate(number)[: 100 + number])
        for number in range(17):
            write(root / "test" / f"ki$nd_{number} {'long' * 20}" / "a_b$c$.png", plate(20 + number))
        write(root / "test" / "good" / "0.png", plate(50))
        report = check_dataset(root, tmp_path / "out")
        assert report.passed and (tmp_path / "out" / "check_dataset" / "histogram.png").is_file()

    def test_an_odd_image_is_shown(self, clean, tmp_path):
        root = tmp_path / "set"
        shutil.copytree(clean / "train" / "good", root)
        write(root / "odd.png", scratched(400, (60, 50))[0])
        report = check_dataset(root, tmp_path / "out")
        assert ("suspicious_image", ("odd.png",)) in found(report) and report.passed
        (picture,) = (tmp_path / "out" / "check_dataset" / "suspicious").iterdir()
        assert "odd" in picture.name

    def test_a_second_check_replaces_the_first(self, clean, tmp_path):
        output = tmp_path / "out"
        check_dataset(clean, output)
        write(output / "check_dataset" / "mine.png", plate(0))
        small = write_set(tmp_path / "small", 2, 1, 0)
        check_dataset(small, output)
        pictures = output / "check_dataset" / "demo_img"
        assert len(list(pictures.rglob("*.jpg"))) == 3
        assert (output / "check_dataset" / "mine.png").is_file()
        assert sorted(path.name for path in output.iterdir()) == ["check_dataset", "check_dataset_result.json"]

    def test_nothing_is_written_into_the_data_set(self, clean, tmp_path):
        before = fingerprint(clean)
        check_dataset(clean, tmp_path / "out")
        assert fingerprint(clean) == before
        for output in (clean, clean / "out", clean / "train" / ".." / "x"):
            with pytest.raises(UsageError, match="lies in the data set"):
                check_dataset(clean, output)
        assert fingerprint(clean) == before

    def test_a_folder_that_is_no_data_set_leaves_a_record(self, tmp_path):
        (tmp_path / "void").mkdir()
        with pytest.raises(DatasetError):
            check_dataset(tmp_path / "void", tmp_path / "out")
        result = record(tmp_path / "out")
        assert result["done_flag"] is False and result["err_type"] == "DatasetError" and "void" in result["err_msg"]


class TestKilled:
    def test_at_random_moments_and_completed_by_a_second_run(self, clean, tmp_path):
        data = tmp_path / "data"
        shutil.copytree(clean, data)
        before, output = fingerprint(data), tmp_path / "out"
        command = [sys.executable, "-m", "blemish", "check", str(data), "--output", str(output)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pick = random.Random(1)
        for _ in range(3):
            with subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
            ) as run:
                time.sleep(pick.uniform(0.5, 2.5))
                run.send_signal(signal.SIGKILL)
            assert fingerprint(data) == before
            if (output / "check_dataset_result.json").exists():
                assert record(output)["done_flag"] is True
        assert check_dataset(data, output).passed and fingerprint(data) == before
        assert sorted(path.name for path in output.iterdir()) == ["check_dataset", "check_dataset_result.json"]

    def test_what_a_killed_run_has_left_is_removed(self, clean, tmp_path):
        left = tmp_path / "out" / ".check_dataset.12345678.partial"
        write(left / "demo_img" / "x.jpg", plate(0))
        check_dataset(clean / "train" / "good", tmp_path / "out")
        assert not left.exists()


class TestCommandLine:
    def test_a_clean_set_passes(self, clean, tmp_path):
        done = blemish("check", f"{clean}/", "--output", tmp_path / "out")
        assert done.code == 0, done.stderr
        assert "Check dataset passed !" in done.stdout and "few_images" in done.stdout
        assert str(tmp_path / "out" / "check_dataset_result.json") in done.stdout

    def test_errors_are_exit_code_1(self, clean, tmp_path):
        root = write_set(tmp_path / "set", 3, 1, 1)
        (root / "train" / "good" / "001.png").write_bytes(b"")
        done = blemish("check", root, "--output", tmp_path / "out")
        assert done.code == 1 and "Check dataset failed: 1 error" in done.stdout
        assert "unreadable_image: train/good/001.png" in done.stdout

    def test_the_run_file_does_the_same(self, clean, tmp_path):
        packaged = "blemish/configs/modules/image_anomaly_detection/PatchCore.yaml"
        overrides = ["Global.mode=check_dataset", f"Global.dataset_dir={clean}/", f"Global.output={tmp_path / 'out'}"]
        arguments = [part for override in overrides for part in ("-o", override)]
        done = blemish("-c", packaged, *arguments, program=ROOT / "main.py", cwd=tmp_path)
        assert done.code == 0 and "Check dataset passed !" in done.stdout, done.stderr
        assert record(tmp_path / "out")["check_pass"] is True

    def test_convert_and_split_first(self, tmp_path):
        data = write_set(tmp_path / "set", 4, 2, 2)
        overrides = [
            *("Global.mode=check_dataset", f"Global.dataset_dir={data}", f"Global.output={tmp_path / 'out'}"),
            *("CheckDataset.convert.enable=True", "CheckDataset.convert.src_dataset_type=MVTec_AD"),
            *("CheckDataset.split.enable=True", "CheckDataset.split.train_percent=50"),
            "CheckDataset.split.val_percent=50",
        ]
        done = blemish("run", *[part for override in overrides for part in ("-o", override)])
        assert done.code == 0, done.stderr
        assert "Convert dataset successfully !" in done.stderr and "Split dataset successfully !" in done.stderr
        attributes = record(tmp_path / "out")["attributes"]
        assert (attributes["train_samples"], attributes["val_samples"]) == (3, 5)
        assert "scratch" not in (data / "train.txt").read_text()

    def test_no_record_of_a_refusal_is_written_into_the_data_set(self, clean):
        before = fingerprint(clean)
        overrides = ["Global.mode=check_dataset", f"Global.dataset_dir={clean}", f"Global.output={clean / 'out'}"]
        done = blemish("run", *[part for override in overrides for part in ("-o", override)])
        assert done.code == 2 and "lies in the data set" in done.stderr
        assert fingerprint(clean) == before

    def test_wrong_use_is_exit_code_2(self, tmp_path):
        for arguments in (("check", tmp_path / "nowhere", "--output", tmp_path / "o"), ("check", tmp_path)):
            done = blemish(*arguments, cwd=tmp_path)
            assert (done.code, done.stdout) == (2, "") and done.stderr.startswith("blemish: error: ")

    def test_a_hostile_name_reaches_no_terminal(self, tmp_path):
        root = write_set(tmp_path / "set", 3, 1, 1)
        (root / "train" / "good" / "\x1b[2Jx\n.png").write_bytes(b"")
        done = blemish("check", root, "--output", tmp_path / "out")
        assert done.code == 1 and "\x1b" not in done.stdout and r"\x1b[2Jx\n.png" in done.stdout


class TestParts:
    def test_near_pairs_are_copies_and_no_others(self):
        noise = (np.random.default_rng(seed).normal(128, 900, (200, 240, 3)) for seed in range(30))
        shots = [np.clip(cv2.GaussianBlur(picture, (0, 0), 4), 0, 255).astype(np.uint8) for picture in noise]
        copies = [
            cv2.imdecode(cv2.imencode(".jpg", shots[3], [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1),
            cv2.resize(shots[7], (144, 120), interpolation=cv2.INTER_AREA),
            cv2.convertScaleAbs(shots[9], alpha=0.8, beta=9),
        ]
        details = np.stack([detail(image) for image in shots + copies])
        assert set(near_pairs(details)) == {(3, 30), (7, 31), (9, 32)}

    def test_flat_images_have_no_likeness(self):
        flat = [np.full((20, 20, 3), level, np.uint8) for level in (0, 100, 200)]
        assert list(near_pairs(np.stack([detail(image) for image in flat]))) == []

    def test_swapped_pairs_by_the_area_under_the_curve(self):
        random = np.random.default_rng(0)
        masks = np.zeros((4, 100))
        for i in range(4):
            masks[i, 20 * i : 20 * i + 8] = 1
        maps = random.uniform(size=(4, 100)) + 3 * masks
        ranks = maps.argsort(axis=1).argsort(axis=1).astype(float)
        assert list(swapped_pairs(ranks, masks)) == []
        assert list(swapped_pairs(ranks, masks[[0, 3, 2, 1]])) == [(1, 3)]


def test_every_code_is_explained():
    page = (DOCS / "data.md").read_text(encoding="utf-8")
    for code, severity in CODES.items():
        assert f"| `{code}` | {severity} |" in page


def test_the_check_loads_nothing_heavy_before_it_runs():
    code = "import sys, blemish.checking; print({'cv2', 'matplotlib', 'onnxruntime', 'PIL', 'onnx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "set()\n"
