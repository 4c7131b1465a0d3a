"""Good images that stand apart: single ones, and folders that are odd as a whole."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from command import blemish
from plates import plate, scratched, write

from blemish.calibration import Calibration, odd_folders, outlier_limit, outlier_lines, outliers
from blemish.checking import check_dataset


def usual(count: int, seed: int = 0) -> np.ndarray:
    """Scores of good images, of which a robust deviation is 5 %."""
    return 20 * np.exp(np.random.default_rng(seed).normal(0, 0.05, count))


def found(folders: dict[str, np.ndarray], **options: float) -> list[str]:
    names = [
        f"{folder}/{i}.png" if folder else f"{i}.png" for folder, scores in folders.items() for i in range(len(scores))
    ]
    return [folder.name for folder in odd_folders(names, np.concatenate(list(folders.values())), **options)]


class TestLimit:
    def test_it_ignores_outliers_and_scale(self):
        scores = np.exp(np.random.default_rng(0).normal(0, 0.05, 200))
        limit = outlier_limit(scores)
        assert scores.max() < limit < 1.6
        assert outlier_limit(np.append(scores, [9.0, 8.0])) == pytest.approx(limit, rel=0.02)
        assert outlier_limit(scores * 7) == pytest.approx(7 * limit)
        assert outlier_limit(np.ones(20)) == np.inf


class TestFolders:
    @pytest.mark.parametrize("seed", range(20))
    @pytest.mark.parametrize("sizes", [(15, 15), (60, 3), (30, 30, 30), (12,) * 10])
    def test_parts_of_one_lot_are_not_odd(self, sizes, seed):
        assert found({f"cam {i}": usual(size, 100 * seed + i) for i, size in enumerate(sizes)}) == []

    @pytest.mark.parametrize("seed", range(10))
    def test_nor_are_cameras_of_their_own_level(self, seed):
        assert found({"a": usual(30, seed), "b": 1.1 * usual(30, seed + 50)}) == []

    @pytest.mark.parametrize("count", [3, 6, 12, 29])
    @pytest.mark.parametrize("folders", [1, 3])
    def test_a_folder_of_high_scores_is(self, count, folders):
        good = {f"kelpo {i}": usual(30 // folders, i) for i in range(folders)}
        assert found({**good, "romu": 2 * usual(count, 9)}) == ["romu"]
        assert found({"line/kelpo": usual(30), "line/romu": 2 * usual(count, 9)}) == ["line/romu"]

    def test_two_of_them(self):
        assert found({"a": usual(30), "x": 2 * usual(8, 1), "y": 3 * usual(8, 2)}) == ["x", "y"]

    def test_the_outer_folder_is_named_once(self):
        assert found({"a": usual(30), "x/1": 2 * usual(3, 1), "x/2": 2 * usual(2, 2)}) == ["x"]
        assert found({"a/1": usual(15), "a/2": usual(15, 1), "a/x": 2 * usual(4, 2)}) == ["a/x"]

    def test_images_in_no_folder(self):
        assert found({"": usual(30), "x": 2 * usual(5, 1)}) == ["x"]
        assert found({"": 2 * usual(5, 1), "a": usual(30)}) == ["."]

    def test_most_is_more_than_half(self):
        mixed = np.concatenate([2 * usual(4, 1), usual(4, 2)])
        assert found({"a": usual(30), "x": mixed}) == []
        assert found({"a": usual(30), "x": np.append(mixed, 40.0)}) == ["x"]

    def test_too_few_images_or_too_many_folders_cannot_be_compared(self):
        assert found({"a": usual(30), "x": 2 * usual(2)}) == []
        assert found({"a": usual(9), "x": 2 * usual(5)}) == []
        assert found({f"part {i}": usual(4, i) * (1 + (i == 0)) for i in range(21)}) == []
        assert found({f"part {i}": usual(4, i) * (1 + (i == 0)) for i in range(20)}) == ["part 0"]

    def test_a_lower_limit_is_for_folders_of_six_or_more(self):
        for count, expected in ((12, ["x"]), (5, [])):
            assert found({"a": usual(40), "x": 1.18 * usual(count, 1)}, deviations=3.0) == expected
            assert found({"a": usual(40), "x": 1.18 * usual(count, 1)}) == []


class TestLines:
    @staticmethod
    def calibration(scores: np.ndarray, parts: np.ndarray | None = None) -> Calibration:
        return Calibration(scores, scores, np.arange(len(scores)) if parts is None else parts, 0.01)

    def test_single_images_and_the_threshold_without_them(self):
        scores = np.append(usual(95), [40.0, 50, 60, 45, 41])
        names = [f"{i}.png" for i in range(100)]
        highest_first = ["97.png", "96.png", "98.png", "99.png", "95.png"]
        assert outliers(names, self.calibration(scores)) == highest_first
        (line,) = outlier_lines(names, self.calibration(scores))
        without = self.calibration(scores[:95]).threshold()
        assert line.startswith(f"5 of 100 good images stand apart: {', '.join(highest_first)}. ")
        assert f"With them the threshold is 60, without them about {without:.3g} (an estimate" in line

    def test_a_folder_and_a_single_image(self):
        scores = np.concatenate([usual(40), [90.0], 2 * usual(6, 1)])
        names = [f"kelpo/{i}.png" for i in range(41)] + [f"romu/{i}.png" for i in range(6)]
        folder, single = outlier_lines(names, self.calibration(scores))
        assert folder.startswith("6 of the 6 images in the folder romu score far above")
        assert single.startswith("1 of 47 good images stand apart: kelpo/40.png. ")

    def test_nothing_is_said_of_consistent_images_nor_of_too_few_scores(self):
        names = [f"{i}.png" for i in range(50)]
        assert outlier_lines(names, self.calibration(usual(50))) == []
        assert outlier_lines(names, self.calibration(np.append(usual(20), 90.0))) == []  # only some were held out
        assert outlier_lines(names[:6], self.calibration(np.append(usual(5), 90.0))) == []
        copies = np.zeros(50, np.int64)
        assert outlier_lines(names, self.calibration(np.append(usual(49), 90.0), copies)) == []


class TestOnImages:
    @pytest.fixture(scope="class")
    @classmethod
    def unknown(cls, tmp_path_factory) -> Path:
        """Good plates in one folder and scratched ones in another, under names that say nothing."""
        root = tmp_path_factory.mktemp("unknown") / "set"
        for number in range(20):
            write(root / "kelpo" / f"{number:03}.png", plate(number))
        for number in range(6):
            picture = scratched(200 + number, (10 + 20 * number, 10 + 13 * number))[0]
            write(root / "romu" / f"{number:03}.png", picture)
        return root

    def test_the_check_fails_and_names_the_folder(self, unknown, tmp_path):
        report = check_dataset(unknown, tmp_path / "out")
        (error,) = report.errors
        assert (
            error.code == "odd_folder"
            and "images in romu stand apart" in error.message
            and "in places" in error.message
        )
        assert len(error.files) > 3 and all(name.startswith("romu/") for name in error.files)

    def test_train_names_the_folder(self, unknown, tmp_path):
        done = blemish("train", unknown, "--output", tmp_path / "out", "--preset", "fast")
        assert done.code == 0 and "images in the folder romu score far above" in done.stderr

    def test_two_cameras_pass(self, tmp_path):
        root = tmp_path / "set"
        for number in range(12):
            write(root / "cam 1" / f"{number:03}.png", plate(number))
            turned = cv2.rotate(plate(50 + number), cv2.ROTATE_90_CLOCKWISE)
            write(root / "cam 2" / f"{number:03}.png", cv2.resize(255 - turned, (160, 120)))
        assert check_dataset(root, tmp_path / "out").passed

    def test_a_camera_with_few_images_is_no_folder_of_defects(self, tmp_path):
        root = tmp_path / "set"
        for number in range(20):
            write(root / "cam 1" / f"{number:03}.png", plate(number))
        for number in range(4):
            write(root / "cam 2" / f"{number:03}.png", cv2.resize(255 - plate(50 + number)[20:80, 20:100], (160, 120)))
        report = check_dataset(root, tmp_path / "out")
        assert report.passed
        assert {finding.code for finding in report.warnings} <= {"few_images", "unlike_folder", "suspicious_image"}
