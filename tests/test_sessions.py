"""Sessions: what the threshold promises on other days, which images it is made of, and what is said of each session."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from command import blemish
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from runs import calibration, fitted, model_of, scores
from scipy.stats import binom
from textures import plate, write, write_all
from tiny_model import tiny_info, tiny_network

from blemish.calibration import (
    Calibration,
    Sessions,
    apart_limit,
    find_apart,
    groups_by_time,
    one_session_line,
    outlier_lines,
    session_lines,
    units_left_out,
)
from blemish.calibration.parts import groups_from_names
from blemish.calibration.session_names import sessions_in_names
from blemish.errors import DatasetError, UsageError
from blemish.evaluation import evaluate
from blemish.fitting import FitReport
from blemish.images import exif_times
from blemish.models import CalibrationInfo, load_model, save_model
from blemish.models.calibration_info import SessionsInfo
from blemish.updating import update

DAYS = ("monday", "tuesday", "wednesday")


def of_days(days: list[npt.NDArray[np.float64]], rate: float = 0.1, learned: int | None = None) -> Calibration:
    """A calibration of these scores, a session each, every image of a part of its own."""
    values = np.concatenate(days)
    numbers = np.repeat(np.arange(len(days)), [len(day) for day in days])
    sessions = Sessions(numbers, DAYS[: len(days)], len(days) if learned is None else learned)
    return Calibration(values, values + 1, np.arange(len(values)), rate, sessions=sessions)


class TestThePromise:
    @pytest.mark.parametrize("rate", [0.05, 0.1])
    def test_realised_false_alarms_in_each_session(self, rate: float) -> None:
        """Within the exact 99 % band of what is attainable: in the worst session on both sides, in no session more.

        One threshold of all images together is far outside of it in the worst session.
        """
        random, worlds, parts, shifts = np.random.default_rng(int(100 * rate)), 3000, 40, (0.0, 0.5, 4.0)
        alarms, pooled = np.zeros(3, int), np.zeros(3, int)
        for _ in range(worlds):
            days = [random.normal(shift, 1, parts + 1) for shift in shifts]
            found = of_days([day[1:] for day in days], rate)
            together = Calibration(found.scores, found.peaks, found.parts, rate)
            for number, day in enumerate(days):
                alarms[number] += found.p_value(day[0]) <= rate
                pooled[number] += together.p_value(day[0]) <= rate
        attainable = np.floor(rate * (parts + 1) + 1e-9) / (parts + 1)
        low, high = binom.ppf([0.005, 0.995], worlds, attainable)
        assert low <= alarms[2] <= high < pooled[2]
        assert (alarms <= high).all()

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, 6).map(float), st.integers(0, 9), st.integers(0, 2)), min_size=2, max_size=30
        ).filter(lambda images: len({part for _, part, _ in images}) > 1),  # one part is not calibrated
        st.floats(0.001, 0.999),
        st.floats(-1, 7),
    )
    def test_above_the_threshold_is_a_small_p_value(
        self, images: list[tuple[float, int, int]], rate: float, score: float
    ) -> None:
        values, parts, numbers = (np.array(column) for column in zip(*images, strict=True))
        found = Calibration(values, values, parts, rate, sessions=Sessions(numbers, DAYS, 3))
        alone = [Calibration(*(each[numbers == day] for each in (values, values, parts)), rate) for day in set(numbers)]
        assert found.threshold() == found.pixel_threshold() == max(one.threshold() for one in alone)
        assert found.part_threshold() == max(one.part_threshold() for one in alone)
        assert found.best_rate == max(one.best_rate for one in alone)
        if all(one.is_calibrated for one in alone):
            assert found.p_value(score) == max(one.p_value(score) for one in alone)
            assert found.part_p_value(score) == max(one.part_p_value(score) for one in alone)
            assert found.upper_rate() == max(one.upper_rate() for one in alone)
            assert found.part_upper_rate() == max(one.part_upper_rate() for one in alone)
        if rate >= found.best_rate:
            assert (score > found.threshold()) == (found.p_value(score) <= rate)
            assert (score > found.part_threshold()) == (found.part_p_value(score) <= rate)

    def test_verdicts_of_parts_keep_the_rate_in_each_session(self) -> None:
        """Parts of four images: the worst day within the exact 99 % band, no day above it."""
        random, worlds, parts, rate, shifts = np.random.default_rng(3), 2000, 40, 0.1, (0.0, 0.5, 4.0)
        alarms = np.zeros(3, int)
        for _ in range(worlds):
            scores = [random.normal(shift, 1, (parts + 1, 4)) for shift in shifts]
            days = [day[1:].ravel() for day in scores]
            shown = np.repeat(np.arange(3 * parts), 4)
            found = replace(of_days(days, rate), parts=shown)
            alarms += [day[0].max() > found.part_threshold() for day in scores]
        attainable = np.floor(rate * (parts + 1) + 1e-9) / (parts + 1)
        low, high = binom.ppf([0.005, 0.995], worlds, attainable)
        assert low <= alarms[2] <= high and (alarms <= high).all()

    def test_what_is_said_of_parts_and_sessions_together(self) -> None:
        """A part that two days show is a part of each, with the images that the day has of it; the bounds are the 95 %
        quantiles of Beta(3, 18), and of Beta(2, 19) with a tenth of the way to that."""
        shown = np.tile(np.repeat(np.arange(20), 2), 2)
        found = replace(of_days([np.arange(40.0), np.arange(40.0)]), parts=shown, group_by="(.+)_")
        assert found.images_per_part == (2, 2)
        assert found.statement() == (
            "80 good images of 20 parts in 2 sessions support a false-alarm rate of 10 % of images in each of them; "
            "95 % confidence: under 29 %. Verdicts of parts: 10 % of parts; 95 % confidence: under 23 %."
        )

    def test_a_session_of_one_part_supports_little_and_breaks_nothing(self) -> None:
        found = replace(of_days([np.arange(19.0), np.full(3, 30.0)]), parts=np.append(np.arange(19), [19] * 3))
        assert found.best_rate == 0.5 and found.p_value(99.0) == 0.5 and found.upper_rate() == 0.95
        assert found.threshold(0.2) == found.part_threshold(0.2) == 30.0
        assert session_lines(found, 0.2)[1].endswith("they support 50 % at best.")

    def test_sessions_of_one_part_are_not_calibrated(self) -> None:
        found = Calibration(np.array([3.0, 5.0]), np.array([3.0, 5.0]), np.zeros(2, int), sessions=self.two)
        assert found.p_value(9.0) is found.part_p_value(9.0) is found.stated_rate is None
        assert found.threshold() == 5.0 and session_lines(found) == []
        with pytest.raises(UsageError, match="one part only"):
            found.threshold(0.1)

    two = Sessions(np.arange(2), DAYS[:2], 1)

    def test_the_smallest_session_says_what_is_supported(self) -> None:
        found = of_days([np.arange(99.0), np.arange(19.0)], 0.01)
        assert found.best_rate == 0.05 and found.threshold() == 98.0
        assert found.statement().startswith("118 good images in 2 sessions support a false-alarm rate of 5 % at best")
        assert "99 parts of every session would support 1 %" in found.statement()
        assert session_lines(found)[1].endswith("they support 5 % at best.")

    def test_what_is_said_of_each_session(self) -> None:
        """By hand: of 19 images the second largest at 10 %, so 17; above it, two of the other day's."""
        first, second = session_lines(of_days([np.arange(19.0), np.arange(19.0) + 1], learned=1))
        assert first == "Session monday: 19 good images; they alone would set the threshold 17."
        assert second == (
            "Session tuesday: 19 good images; at the threshold of the training's images alone 2 of them (11 %) would "
            "alarm; the threshold covers them (18 instead of 17)."
        )
        both = session_lines(of_days([np.arange(19.0), np.arange(19.0) + 5]))
        assert "at the threshold of the other sessions alone 0 of them (0 %) would alarm." in both[0]
        assert "6 of them (32 %) would alarm; the threshold covers them (22 instead of 17)." in both[1]
        assert session_lines(Calibration(np.arange(9.0), np.arange(9.0), np.arange(9))) == []

    def test_an_image_stands_apart_among_those_of_its_session(self) -> None:
        """A day that scores higher as a whole is no outlier; one image of it far above the others is."""
        random = np.random.default_rng(0)
        days = [random.normal(20, 0.5, 30), np.append(random.normal(60, 0.5, 29), 120)]
        found, names = of_days(days), [f"{DAYS[i // 30]}/{i}.png" for i in range(60)]
        apart = find_apart(found)
        assert apart.names(names) == ["tuesday/59.png"] and apart.rest is not None and apart.rest.threshold() < 70
        (line,) = outlier_lines(names, found, apart)
        assert line.startswith("1 of 60 good images stands apart: tuesday/59.png. With it the threshold is ")
        assert 60 < apart_limit(found) < 120  # of the day that scores highest


class TestTheModelFolder:
    def test_it_keeps_the_sessions(self, tmp_path: Path) -> None:
        found = of_days([np.arange(5.0), np.arange(3.0)], learned=1)
        info = CalibrationInfo(**found.to_json())
        folder = save_model(tmp_path / "m", tiny_network(), tiny_info(calibration=info, format_version=8))
        assert json.loads((folder / "model.json").read_text())["format_version"] == 8
        read = calibration(folder)
        assert read.sessions is not None and (read.sessions.names, read.sessions.learned) == (DAYS[:2], 1)
        assert (read.threshold(), read.p_value(2.5)) == (found.threshold(), found.p_value(2.5))

    def test_a_model_without_them_is_of_an_earlier_version(self, tmp_path: Path) -> None:
        record = json.loads((save_model(tmp_path / "m", tiny_network(), tiny_info()) / "model.json").read_text())
        assert record["format_version"] == 1 and "sessions" not in record["calibration"]
        assert load_model(tmp_path / "m").info.calibration.sessions is None

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"numbers": [0, 1]}, "sessions of 2 images"),
            ({"numbers": [0, 0, 0]}, "each has at least one image"),
            ({"numbers": [0, 1, 2]}, "each has at least one image"),
            ({"names": ["a", "a"]}, "two sessions of one name"),
            ({"learned": 3}, "learned 3 sessions of 2"),
        ],
    )
    def test_sessions_that_are_none_are_refused(self, changes: dict[str, object], reason: str) -> None:
        record = tiny_info().calibration.model_dump()
        sessions = {"numbers": [0, 1, 1], "names": ["a", "b"], "learned": 1}
        assert CalibrationInfo(**record | {"sessions": SessionsInfo(**sessions)}).least_version == 6
        with pytest.raises(ValueError, match=reason):
            CalibrationInfo(**record | {"sessions": SessionsInfo(**sessions | changes)})

    def test_an_earlier_version_cannot_hold_them(self) -> None:
        sessions = SessionsInfo(numbers=[0, 1, 1], names=["a", "b"], learned=1)
        with pytest.raises(ValueError, match="format versions 1 to 5 do not know"):
            tiny_info(calibration=CalibrationInfo(**tiny_info().calibration.model_dump() | {"sessions": sessions}))


def another_day(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The same part under a lamp that has aged, by a lens that was touched."""
    return cv2.GaussianBlur((image * 0.8).astype(np.uint8), (0, 0), 0.8)


@pytest.fixture(scope="module")
def tuesday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("days") / "tuesday"
    return write_all(folder, [another_day(plate(seed)) for seed in range(300, 324)])


@pytest.fixture(scope="module")
def covered(good: Path, tuesday: Path, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    """As `usual`, with another day held out."""
    holdout = f"Calibrate.holdout={tuesday}"
    return fitted(good, tmp_path_factory.mktemp("covered"), "Calibrate.false_alarm_rate=0.1", holdout)


class TestHeldOutSessions:
    def test_they_are_not_learned_but_scored_by_the_finished_model(
        self, usual: FitReport, covered: FitReport, tuesday: Path
    ) -> None:
        assert model_of(covered).model == model_of(usual).model
        assert model_of(covered).info.data == model_of(usual).info.data
        found, alone = calibration(covered.folder), calibration(usual.folder)
        assert found.sessions is not None and found.sessions.names == ("training", "tuesday")
        np.testing.assert_array_equal(found.sessions.numbers, np.repeat([0, 1], 24))
        np.testing.assert_array_equal(found.scores[:24], alone.scores)
        new = [cv2.imread(str(path))[..., ::-1] for path in sorted(tuesday.iterdir())]
        np.testing.assert_allclose(found.scores[24:], scores(covered.folder, new), rtol=1e-5)
        assert found.part_count == 48

    def test_the_threshold_covers_further_images_of_that_day(self, usual: FitReport, covered: FitReport) -> None:
        further = [another_day(plate(seed)) for seed in range(400, 440)]
        without, found = calibration(usual.folder).threshold(), calibration(covered.folder).threshold()
        rated = scores(covered.folder, further)
        assert (rated > without).mean() > 0.5
        assert (rated > found).sum() <= binom.ppf(0.999, 40, 0.2)  # the threshold itself is drawn, from 24 images

    def test_it_is_said(self, covered: FitReport, usual: FitReport, tuesday: Path, tmp_path: Path) -> None:
        result = json.loads((covered.output / "train_result.json").read_text())
        lines = session_lines(calibration(covered.folder))
        assert result["sessions"] == lines == covered.lines[2:4]
        assert lines[1].startswith("Session tuesday: 24 good images; at the threshold of the training's images alone")
        assert result["images"] == result["parts"] == 24
        assert {one["name"].split("/")[0] for one in result["oddest"]} == {"tuesday"}
        assert "for one session" in usual.lines[2] and "--holdout DIR" in usual.lines[2]
        report = evaluate(covered.output, tuesday, tmp_path, "cpu")
        assert report.threshold.sessions == tuple(lines)
        assert json.loads((tmp_path / "evaluate_result.json").read_text())["threshold"]["sessions"] == lines
        assert "Session tuesday: 24 good images" in (tmp_path / "report.html").read_text()

    def test_a_folder_in_the_data_is_not_learned(self, tmp_path: Path) -> None:
        for day, first in (("monday", 0), ("tuesday", 50)):
            write_all(tmp_path / "in" / day, [plate(seed) for seed in range(first, first + 6)])
        report = fitted(tmp_path / "in", tmp_path / "out", f"Calibrate.holdout={tmp_path / 'in' / 'tuesday'}")
        assert report.lines[0] == "learned: 6 images of monday; left out: 6 of tuesday"
        sessions = calibration(report.folder).sessions
        assert sessions is not None and sessions.numbers.tolist() == [0] * 6 + [1] * 6

    def test_one_learned_part_leaves_the_promise_to_the_held_out_ones(self, tuesday: Path, tmp_path: Path) -> None:
        write(tmp_path / "in" / "only.png", plate(1))
        report = fitted(tmp_path / "in", tmp_path / "out", f"Calibrate.holdout={tuesday}")
        found = calibration(report.folder)
        assert found.sessions is not None and found.sessions.names == ("tuesday",) and len(found.scores) == 24
        assert "24 good images support" in report.lines[1]

    def test_one_part_learned_and_one_held_out_is_a_guess(self, tmp_path: Path) -> None:
        for day, seed in (("monday", 1), ("tuesday", 2)):
            write(tmp_path / day / "only.png", plate(seed))
        report = fitted(tmp_path / "monday", tmp_path / "out", f"Calibrate.holdout={tmp_path / 'tuesday'}")
        found = calibration(report.folder)
        assert not found.is_calibrated and report.lines[1].startswith("Not calibrated: 1 good image is too few")
        assert found.threshold() == found.scores[0] == scores(report.folder, [plate(2)])[0]
        assert json.loads((report.output / "train_result.json").read_text())["false_alarm_rate"] is None
        new = write_all(tmp_path / "new", [plate(seed) for seed in range(10, 14)])
        after = calibration(update(report.folder, new, calibrate=True, device="cpu").folder)
        assert after.is_calibrated and after.sessions is not None and after.sessions.learned == 1
        assert after.scores[0] == found.scores[0]  # the day stays covered

    def test_parts_that_are_called_as_learned_ones_are_told_of(self, tmp_path: Path) -> None:
        """Their scores may be too low: the model may know them."""
        for day, first, changed in (("monday", 0, plate), ("tuesday", 4, lambda seed: another_day(plate(seed)))):
            for part in range(first, first + 6):
                for view in range(2):
                    write(tmp_path / day / f"P{part}_{view}.png", changed(part + 100 * view))
        holdout = f"Calibrate.holdout={tmp_path / 'tuesday'}"
        report = fitted(tmp_path / "monday", tmp_path / "out", holdout, "Calibrate.group_by=(P\\d+)_")
        found = calibration(report.folder)
        assert found.part_count == 12 and found.images_per_part == (2, 2) and found.group_by == r"(P\d+)_"
        assert found.part_threshold() == max(one.part_threshold() for one in found.each_session)
        told = "Session tuesday: 2 of its parts are called as learned ones are: P4, P5. If they are the same parts"
        assert any(line.startswith(told) for line in report.lines)
        (tmp_path / "tuesday" / "odd.png").write_bytes((tmp_path / "tuesday" / "P9_0.png").read_bytes())
        with pytest.raises(UsageError, match=r"Calibrate.group_by .* finds nothing in `odd.png`"):
            fitted(tmp_path / "monday", tmp_path / "out2", holdout, "Calibrate.group_by=(P\\d+)_")

    def test_an_image_of_a_held_out_session_that_stands_apart_is_named(self, good: Path, tmp_path: Path) -> None:
        """It is no name to leave out of the learned ones. Without it the threshold is exact: the model lacks it."""
        write_all(tmp_path / "tuesday", [plate(seed, defect=seed == 612) for seed in range(600, 625)])
        report = fitted(good, tmp_path / "out", f"Calibrate.holdout={tmp_path / 'tuesday'}")
        result = json.loads((report.output / "train_result.json").read_text())
        assert result["outliers_held_out"] == ["tuesday/012.png"]
        assert result["outliers"] == report.outliers and "tuesday/012.png" not in report.outliers
        (line,) = [line for line in report.lines if "apart" in line]
        found = calibration(report.folder)
        rest = found.chosen(np.arange(49) != 24 + 12)
        assert f"With it the threshold is {found.threshold():.3g}, without it {rest.threshold():.3g}." in line
        assert result["threshold_without_outliers"] == rest.threshold()

    def test_folders_of_one_name_are_told_apart(self, good: Path, tmp_path: Path) -> None:
        folders = [tmp_path / day / "good" for day in ("a", "b")]
        for number, folder in enumerate(folders):
            write_all(folder, [plate(500 + 10 * number + seed) for seed in range(2)])
        report = fitted(good, tmp_path / "out", f"Calibrate.holdout=[{folders[0]}, {folders[1]}]")
        sessions = calibration(report.folder).sessions
        assert sessions is not None and sessions.names == ("training", "a/good", "b/good")

    def test_a_folder_that_is_called_as_the_learned_session_is_told_apart(self, good: Path, tmp_path: Path) -> None:
        held = write_all(tmp_path / "training", [plate(500 + seed) for seed in range(3)])
        report = fitted(good, tmp_path / "out", f"Calibrate.holdout={held}")
        sessions = calibration(report.folder).sessions
        assert sessions is not None and sessions.names == ("training", "held-out training")
        starts = [line.partition(":")[0] for line in report.lines if line.startswith("Session ")]
        assert starts.count("Session training") == 1 and starts.count("Session held-out training") == 2

    def test_what_cannot_be_held_out_is_refused(self, good: Path, tuesday: Path, tmp_path: Path) -> None:
        copied = write_all(tmp_path / "copied", [plate(900)])
        (copied / "also.png").write_bytes((good / "003.png").read_bytes())
        (tmp_path / "empty").mkdir()
        for holdout, error, reason in (
            (copied, DatasetError, "1 of 2 images is learned too: also.png"),
            (f"[{tuesday}, {tuesday}]", UsageError, "given twice"),
            (good, DatasetError, "held out"),
            (tmp_path / "empty", DatasetError, "empty"),
            (tmp_path / "nowhere", DatasetError, "no such folder"),
        ):
            with pytest.raises(error, match=reason):
                fitted(good, tmp_path / "out", f"Calibrate.holdout={holdout}")
            assert not (tmp_path / "out" / "best_model").exists()

    def test_an_update_joins_the_learned_session(self, covered: FitReport, tmp_path: Path) -> None:
        new = write_all(tmp_path / "new", [plate(seed) for seed in range(700, 706)])
        update(covered.folder, new, output=tmp_path / "updated", calibrate=True, device="cpu")
        before, after = calibration(covered.folder), calibration(tmp_path / "updated")
        assert before.sessions is not None and after.sessions is not None
        assert after.sessions.names == before.sessions.names and after.sessions.learned == 1
        kept = after.sessions.numbers[:48], after.scores[:48]
        np.testing.assert_array_equal(kept[0], before.sessions.numbers)
        np.testing.assert_array_equal(kept[1], before.scores)
        assert after.sessions.numbers[48:].tolist() == [0] * 6
        assert load_model(tmp_path / "updated").info.data.parts == 30

    def test_the_command(self, tmp_path: Path) -> None:
        for day, first in (("monday", 0), ("tuesday", 50)):
            write_all(tmp_path / day, [plate(seed, 64) for seed in range(first, first + 4)])
        small = ("-o", "Model.width=64", "-o", "Model.height=64", "--output", "out", "--false-alarm-rate", "0.2")
        done = blemish("train", "monday", "--holdout", "tuesday", *small, cwd=tmp_path)
        assert done.code == 0
        assert "8 good images in 2 sessions support a false-alarm rate of 20 % in each of them" in done.stderr
        assert "Session tuesday: 4 good images; at the threshold of the training's images alone" in done.stderr


class TestSessionsOfTheTraining:
    @pytest.fixture(scope="class")
    @staticmethod
    def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("by_day")
        for number, day in enumerate(DAYS):
            shown = (plate(seed) for seed in range(100 * number, 100 * number + 8))
            write_all(folder / day, [another_day(one) if number == 2 else one for one in shown])
        return folder

    def test_the_whole_session_is_left_out(self, days: Path, tmp_path: Path) -> None:
        """The scores are those that the existing way gives where a session is called a part."""
        report = fitted(days, tmp_path / "out", "Calibrate.sessions=^([^/]+)/", "Calibrate.near_duplicates=false")
        found = calibration(report.folder)
        as_parts = calibration(fitted(days, tmp_path / "parts", "Calibrate.group_by=^([^/]+)/").folder)
        by_image = calibration(fitted(days, tmp_path / "images", "Calibrate.near_duplicates=false").folder)
        np.testing.assert_array_equal(found.scores, as_parts.scores)
        assert found.part_count == 24 and as_parts.part_count == 3
        assert found.sessions is not None and (found.sessions.names, found.sessions.learned) == (DAYS, 3)
        assert found.scores[16:].min() > by_image.scores[16:].max()  # nothing of that day is left to explain them
        assert found.kind == "leave-one-session-out"
        assert report.lines[2].startswith("Session monday: 8 good images; at the threshold of the other sessions alone")

    def test_one_session_alone_cannot_be_left_out(self, good: Path, tuesday: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"finds one session only, 0.*--holdout DIR"):
            fitted(good, tmp_path, "Calibrate.sessions=^0")
        report = fitted(good, tmp_path, "Calibrate.sessions=^0", f"Calibrate.holdout={tuesday}")
        sessions = calibration(report.folder).sessions
        assert sessions is not None and sessions.names == ("0", "tuesday")
        with pytest.raises(UsageError, match=r"Calibrate.sessions `x` finds nothing in `000.png`"):
            fitted(good, tmp_path, "Calibrate.sessions=x")

    def test_sessions_that_share_parts_are_left_out_together(self) -> None:
        sessions, parts = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 2, 3, 4])
        assert units_left_out(sessions, parts).tolist() == [0, 0, 0, 0, 1, 1]
        assert units_left_out(sessions, np.arange(6)).tolist() == sessions.tolist()
        with pytest.raises(
            UsageError, match=r"the sessions show the same parts.*group_by with the session in its group"
        ):
            units_left_out(sessions, np.array([0, 1, 0, 1, 0, 1]))

    def test_parts_that_only_look_alike_join_no_sessions(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The same parts each day: not known unless they are named, so it is said, and each day counts them."""
        for number in range(24):
            write(tmp_path / "in" / DAYS[number % 2] / f"part{number // 2:02}.png", plate(number // 2))
        found = calibration(fitted(tmp_path / "in", tmp_path / "out", "Calibrate.sessions=^([^/]+)/").folder)
        assert found.sessions is not None and found.part_count == 24
        assert "look as if they showed the same part (12 times)" in caplog.text
        with pytest.raises(UsageError, match="the sessions show the same parts"):
            fitted(tmp_path / "in", tmp_path / "o", "Calibrate.sessions=^([^/]+)/", r"Calibrate.group_by=(part\d+)")

    def test_what_of_a_held_out_folder_is_no_good_image_is_said(self, good: Path, tmp_path: Path) -> None:
        write_all(tmp_path / "tuesday" / "OK", [plate(seed) for seed in range(800, 803)])
        write_all(tmp_path / "tuesday" / "NG", [plate(seed, defect=True) for seed in range(2)])
        report = fitted(good, tmp_path / "out", f"Calibrate.holdout={tmp_path / 'tuesday'}")
        assert "Session tuesday: left out of its folder: 2 of NG." in report.lines
        found = calibration(report.folder).sessions
        assert found is not None and (found.numbers == 1).sum() == 3

    @pytest.mark.parametrize("key", ["Train.keep=best", "Train.patience=2"])
    @pytest.mark.parametrize("all_learned", ["Calibrate.sessions=^([^/]+)/", "Calibrate.folds=2"])
    def test_weights_are_not_chosen_by_images_that_are_learned(
        self, days: Path, tmp_path: Path, key: str, all_learned: str
    ) -> None:
        pytest.importorskip("torch")
        quick = ("Global.model=STFPM", "Train.epochs_iters=2", "Train.warmup_steps=1")
        with pytest.raises(
            UsageError, match=f"with {all_learned.partition('=')[0]} all are learned: set Train.keep=last"
        ):
            fitted(days, tmp_path, all_learned, key, *quick)

    def test_a_detector_that_learns_by_gradient_learns_without_each_fold_of_sessions(
        self, days: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("torch")
        quick = ("Global.model=STFPM", "Train.epochs_iters=2", "Train.warmup_steps=1", "Calibrate.folds=2")
        report = fitted(days, tmp_path, "Calibrate.sessions=^([^/]+)/", "Calibrate.near_duplicates=false", *quick)
        found = calibration(report.folder)
        assert found.kind == "cross-fitted, 2 folds of sessions" and len(found.scores) == 24
        assert found.sessions is not None and found.sessions.learned == 3


class TestNames:
    """Sessions that names of folders and files tell."""

    @pytest.mark.parametrize(
        ("name", "sessions", "pattern"),
        [
            ("2024-05-{:02}/{}.png", ("2024-05-01", "2024-05-02"), "^([^/]+)/"),
            ("202405{:02}/{}.png", ("20240501", "20240502"), "^([^/]+)/"),
            ("{:02}.05.2024/{}.png", ("01.05.2024", "02.05.2024"), "^([^/]+)/"),
            ("2024-05-{:02}_A/{}.png", ("2024-05-01_A", "2024-05-02_A"), "^([^/]+)/"),
            ("train/good/lot {}/{}.png", ("lot 1", "lot 2"), "^(?:[^/]+/){2}([^/]+)/"),
            ("good/Schicht{}/{}.png", ("Schicht1", "Schicht2"), "^[^/]+/([^/]+)/"),
            ("批{}/{}.png".replace("批{}", "第{}批"), ("第1批", "第2批"), "^([^/]+)/"),
            ("IMG_202405{:02}_1200{}.jpg", ("20240501", "20240502"), None),
        ],
    )
    def test_of_days_lots_and_shifts(self, name: str, sessions: tuple[str, ...], pattern: str | None) -> None:
        names = [name.format(day, 10 + number) for day in (1, 2) for number in range(4)]
        found = sessions_in_names(names)
        assert found is not None and found.names == sessions
        assert pattern is None or found.pattern == pattern
        assert groups_from_names(names, found.pattern, "key").names == sessions  # as a training finds them

    @pytest.mark.parametrize(
        "names",
        [
            [f"cam{n % 2}/{n}.png" for n in range(8)],  # cameras of one day
            [f"part{n % 2}/{n}.png" for n in range(8)],
            [f"2024-05-01/{n}.png" for n in range(8)],  # one day
            [f"lot{n}/a.png" for n in range(8)],  # so many are parts
            [f"2024-05-01/{n}.png" for n in range(4)] + [f"others/{n}.png" for n in range(4)],
            [f"{n:08}.png" for n in range(20240501, 20240509)],  # a number for each
            [],
        ],
    )
    def test_nothing_else_is_taken_for_sessions(self, names: list[str]) -> None:
        assert sessions_in_names(names) is None

    def test_the_option_that_is_proposed_can_be_pasted(self, tmp_path: Path) -> None:
        for day in (1, 2):
            write_all(tmp_path / "in" / f"2024-05-0{day}", [plate(10 * day + seed) for seed in range(4)])
        start = ("train", "in", "--output", "out", "--preset", "fast")
        done = blemish(*start, cwd=tmp_path)
        option = done.stderr.partition("(2024-05-01, 2024-05-02): ")[2].partition(" covers each")[0]
        assert "Session 2024-05-02: 4 good images" in blemish(*start, *shlex.split(option), cwd=tmp_path).stderr
        assert option in blemish("check", "in", "--output", "checked", cwd=tmp_path).stdout


class TestTime:
    def test_a_long_gap_begins_a_session(self) -> None:
        start = datetime(2024, 5, 6, 8, 12)
        hours = [0, 3.9, 30, 7.9, 26]  # in any order; a chain of short gaps is one session
        found = groups_by_time([start + timedelta(hours=hour) for hour in hours])
        assert found.numbers.tolist() == [0, 0, 1, 0, 1]
        assert found.names == ("2024-05-06 08:12", "2024-05-07 10:12")
        assert len(groups_by_time([start, start + timedelta(hours=4)]).names) == 1
        assert len(groups_by_time([start, start + timedelta(hours=4, seconds=1)]).names) == 2

    @pytest.mark.parametrize("suffix", ["jpg", "tif", "webp", "png"])
    def test_the_camera_says_when(self, suffix: str, tmp_path: Path) -> None:
        files = [self.photograph(tmp_path / f"{hour}.{suffix}", f"2024:05:06 {hour:02}:30:15") for hour in (8, 20)]
        assert exif_times(files) == [datetime(2024, 5, 6, hour, 30, 15) for hour in (8, 20)]

    @pytest.mark.parametrize("stated", ["0000:00:00 00:00:00", "yesterday", ""])
    def test_one_image_without_a_time_and_none_counts(self, stated: str, tmp_path: Path) -> None:
        first, second = tmp_path / "1.jpg", tmp_path / "2.jpg"
        self.photograph(first, "2024:05:06 08:30:15")
        self.photograph(second, stated)
        damaged = tmp_path / "3.jpg"
        damaged.write_bytes(first.read_bytes()[:40])
        assert exif_times([first]) is not None
        assert exif_times([first, second]) is exif_times([first, damaged]) is None
        assert exif_times([first, write(tmp_path / "4.bmp", plate(1))]) is None

    def test_files_without_exif_go_by_their_own_times(self, tmp_path: Path) -> None:
        for number in range(8):
            file = write(tmp_path / "in" / f"{number}.png", plate(number))
            os.utime(file, (0, 1_700_000_000 + (number % 2) * 86_400 + number))
        found = calibration(fitted(tmp_path / "in", tmp_path / "out", "Calibrate.sessions=time").folder)
        assert found.sessions is not None and found.sessions.numbers.tolist() == [0, 1] * 4

    def test_a_training_and_the_check_say_what_exif_tells(self, tmp_path: Path) -> None:
        for number in range(6):
            self.photograph(tmp_path / "in" / f"{number}.jpg", f"2024:05:{6 + number % 2:02} 08:30:15", number)
        report = fitted(tmp_path / "in", tmp_path / "out")
        assert "of 2 sessions: -o Calibrate.sessions=time" in report.lines[2]
        assert "several_sessions" in blemish("check", "in", "--output", "checked", cwd=tmp_path).stdout
        for file in sorted((tmp_path / "in").iterdir())[::2]:
            file.unlink()
        assert "one_session" in blemish("check", "in", "--output", "checked", cwd=tmp_path).stdout
        assert "--holdout DIR" in one_session_line(["a.png"], lambda: None)

    @staticmethod
    def photograph(file: Path, stated: str, seed: int = 0) -> Path:
        """An image whose EXIF states when it was taken."""
        file.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0110] = "a camera"
        own = exif.get_ifd(0x8769)
        own[0x9003] = stated
        exif[0x8769] = own
        Image.fromarray(plate(seed)).save(file, exif=exif)
        return file
