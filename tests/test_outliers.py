"""Good images that stand apart: single ones, and folders that are odd as a whole."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from command import blemish
from plates import plate, scratched, write

from blemish.calibration import Apart, Calibration, LeftOut, find_apart, odd_folders, outlier_limit, outlier_lines
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


def calibration(scores: np.ndarray, parts: np.ndarray | None = None) -> Calibration:
    return Calibration(scores, scores, np.arange(len(scores)) if parts is None else parts, 0.01)


class Explained:
    """Images whose scores hold as long as enough others of their kind are in the model: `explained` of the `alone`."""

    def __init__(self, alone: np.ndarray, kinds: np.ndarray, explained: float) -> None:
        self.alone, self.kinds, self.explained = alone, kinds, explained
        self.rounds = 0

    def scored(self, out: np.ndarray) -> LeftOut:
        """What all images score while some are not in the model; a kind of at least 3 explains itself."""
        inside = np.bincount(self.kinds[~out], minlength=self.kinds.max() + 1)
        masked = (self.kinds > 0) & (inside[self.kinds] > 3)
        scores = np.where(masked, self.explained * self.alone, self.alone)
        return LeftOut(scores, scores)

    def without(self, out: np.ndarray) -> LeftOut:
        self.rounds += 1
        return self.scored(out)

    def found(self) -> Apart:
        nothing = np.zeros(len(self.alone), np.bool_)
        return find_apart(calibration(self.scored(nothing).scores), self.without)


class TestApart:
    def test_nothing_is_scored_again_where_nothing_stands_apart(self):
        images = Explained(usual(50), np.zeros(50, np.int64), 1.0)
        assert not images.found().odd.any() and images.rounds == 0

    def test_defects_that_explain_each_other_are_found_by_the_one_that_shows(self):
        """Three score like good images until the others, whose defects are larger, have been taken out."""
        kinds = np.repeat([0, 1], [90, 10])
        alone = np.concatenate([usual(90), np.full(7, 70.0), np.full(3, 40.0)])
        images = Explained(alone, kinds, 0.55)
        first = images.scored(np.zeros(100, np.bool_)).scores
        assert (first > outlier_limit(first)).sum() == 7
        apart = images.found()
        assert (np.flatnonzero(apart.odd) == np.arange(90, 100)).all()
        assert apart.is_exact and apart.rest is not None
        assert apart.rest.threshold() == pytest.approx(usual(90).max())

    def test_an_image_that_was_odd_only_beside_others_is_given_back(self):
        """Beside few odd ones the spread looks smaller than it is; the last look decides."""
        alone = np.append(usual(60), [28.0, 60.0])

        def without(out: np.ndarray) -> LeftOut:
            again = alone.copy()
            again[60] = 20.0
            return LeftOut(again, again)

        apart = find_apart(calibration(alone), without)
        assert (np.flatnonzero(apart.odd) == [61]).all()
        assert apart.rest is not None and len(apart.rest.scores) == 61

    def test_whole_parts_are_taken_out_and_only_odd_images_named(self):
        parts = np.append(np.arange(40), [39, 39])
        scores, seen = np.append(usual(40), [60.0, 21.0]), []

        def without(out: np.ndarray) -> LeftOut:
            seen.append(np.flatnonzero(out).tolist())
            return LeftOut(scores, scores)

        apart = find_apart(calibration(scores, parts), without)
        assert seen == [[39, 40, 41]] and np.flatnonzero(apart.odd).tolist() == [40]
        assert apart.rest is not None and len(apart.rest.scores) == 41

    def test_defects_of_which_no_single_one_shows(self):
        """Ten score like good images as long as one of their kind is there, which only leaving out a quarter tells."""
        kinds = np.repeat([0, 1], [90, 10])
        images = Explained(np.append(usual(90), np.full(10, 60.0)), kinds, 0.4)
        scores = images.scored(np.zeros(100, np.bool_)).scores
        assert not (scores > outlier_limit(scores)).any()

        def together(group: np.ndarray) -> LeftOut:
            found = images.scored(group)
            return LeftOut(found.scores[group], found.peaks[group])

        assert not find_apart(calibration(scores), images.without).odd.any()
        apart = find_apart(calibration(scores), images.without, together)
        assert (np.flatnonzero(apart.odd) == np.arange(90, 100)).all() and apart.is_exact

    def test_good_images_that_explain_each_other_a_little_are_not_named(self):
        scores = usual(80)
        apart = find_apart(calibration(scores), together=lambda group: LeftOut(1.35 * scores[group], scores[group]))
        assert not apart.odd.any()

    def test_more_than_half_is_never_taken_out(self):
        scores = np.append(usual(25), np.full(5, 60.0))
        again = np.append(usual(14), np.full(16, 60.0))
        apart = find_apart(calibration(scores), lambda _out: LeftOut(again, again))
        assert apart.odd.sum() == 5 and not apart.is_exact  # those that were found at first


class TestLines:
    def test_single_images_and_the_threshold_without_them(self):
        scores = np.append(usual(95), [40.0, 50, 60, 45, 41])
        names, found = [f"{i}.png" for i in range(100)], calibration(scores)
        highest_first = ["97.png", "96.png", "98.png", "99.png", "95.png"]
        apart = find_apart(found)
        assert apart.names(names) == highest_first
        (line,) = outlier_lines(names, found, apart)
        without = calibration(scores[:95]).threshold()
        assert line.startswith(f"5 of 100 good images stand apart: {', '.join(highest_first)}. ")
        assert f"With them the threshold is 59.9, without them about {without:.3g} (an estimate" in line
        exact = find_apart(found, lambda _out: LeftOut(scores * 0.9, scores))
        (line,) = outlier_lines(names, found, exact)
        assert f"With them the threshold is 59.9, without them {0.9 * without:.3g}. " in line

    def test_a_long_list_is_cut_and_says_where_the_rest_is(self):
        scores = np.append(usual(100), np.linspace(50, 60, 30))
        names, found = [f"{i}.png" for i in range(130)], calibration(scores)
        (line,) = outlier_lines(names, found, find_apart(found), "train_result.json")
        assert line.count(".png") == 20 and "110.png and 10 more, all in train_result.json. " in line

    def test_a_folder_and_a_single_image(self):
        scores = np.concatenate([usual(40), [90.0], 2 * usual(6, 1)])
        names = [f"kelpo/{i}.png" for i in range(41)] + [f"romu/{i}.png" for i in range(6)]
        found = calibration(scores)
        folder, single = outlier_lines(names, found, find_apart(found))
        assert folder.startswith("6 of the 6 images in the folder romu score far above")
        assert single.startswith("1 of 47 good images stands apart: kelpo/40.png. ")

    def test_nothing_is_said_of_consistent_images_nor_of_too_few_scores(self):
        names = [f"{i}.png" for i in range(50)]
        copies = np.zeros(50, np.int64)
        few = calibration(np.append(usual(5), 90.0))
        for found in (calibration(usual(50)), calibration(np.append(usual(49), 90.0), copies), few):
            assert outlier_lines(names[: len(found.scores)], found, find_apart(found)) == []


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
