"""The headline of an evaluation: what is found at each promised false-alarm rate, and what so few images cannot say."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import blemish
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from test_report import parse, report
from tiny_model import tiny_info, tiny_network

from blemish.calibration import Calibration, Sessions
from blemish.cli.found_at_rates import found_lines
from blemish.evaluation import evaluate
from blemish.evaluation.operating import RATES, Case, found_at_rates, is_blind
from blemish.evaluation.rates import rate_of
from blemish.models import CalibrationInfo, load_model, save_model
from blemish.pipeline.predictor import choose_limit, limit_at
from blemish.report import FoundAtRates, Judged, OperatingPoint, render_report, words


def calibration(good: int, rate: float = 0.01, images: int = 1) -> Calibration:
    """Good parts that score 0, 1, 2 and so on, each in so many images."""
    scores = np.repeat(np.arange(good, dtype=float), images)
    return Calibration(scores, scores, np.repeat(np.arange(good), images), rate)


def judged(good: list[float], **kinds: list[float]) -> list[Judged]:
    images = [("good", score) for score in good] + [(kind, score) for kind in kinds for score in kinds[kind]]
    return [Judged(name=f"{i}.png", kind=kind, is_good=kind == "good", score=s) for i, (kind, s) in enumerate(images)]


def found(images: list[Judged], calibrated: Calibration, rate: float | None = None, **limits: float) -> FoundAtRates:
    limit = choose_limit(calibrated, rate, limits.get("threshold")) or limit_at(calibrated)
    return found_at_rates(images, limits.get("parts", ()), calibrated, limit, "my model")


def counts(point: OperatingPoint) -> tuple[int, int, int, int]:
    """Found, of how many, alarms, of how many."""
    assert point.found is not None and point.false_alarms is not None
    return point.found.count, point.found.total, point.false_alarms.count, point.false_alarms.total


class TestPoints:
    def test_the_thresholds_are_those_of_the_calibration_and_no_others(self) -> None:
        """Of 199 good parts, the largest 1, 3, 9 and 19 may be exceeded: 2, 4, 10 and 20 of 200."""
        images = judged([197.0, 199.0], crack=[198.5, 196.5, 190.5, 180.5], hole=[500.0])
        points = found(images, calibration(199)).points
        assert [(point.rate, point.asked) for point in points] == [(rate, (rate,)) for rate in RATES]
        assert [counts(point) for point in points] == [(2, 5, 1, 2), (3, 5, 2, 2), (4, 5, 2, 2), (5, 5, 2, 2)]
        assert [point.in_force for point in points] == [True, False, False, False]
        assert not any(point.unsupported for point in points)
        assert {kind: (share.count, share.total) for kind, share in points[0].kinds.items()} == {
            "crack": (1, 4),
            "hole": (1, 1),
        }

    @given(
        good=st.integers(2, 250),
        images=st.integers(1, 3),
        rate=st.sampled_from([*RATES, 0.003, 0.07, 0.3]),
        scores=st.lists(st.tuples(st.sampled_from(["good", "crack", "洞"]), st.integers(-5, 255)), min_size=1),
    )
    @settings(deadline=None)
    def test_they_are_the_p_values_and_more_is_found_at_larger_rates(self, good, images, rate, scores) -> None:
        calibrated = calibration(good, rate, images)
        shown = [
            Judged(name="", kind=kind, is_good=kind == "good", score=score + 0.5 * (score % 2))
            for kind, score in scores
        ]
        points = found(shown, calibrated).points
        assert sorted({asked for point in points for asked in point.asked}) == sorted({*RATES, rate})
        assert [point.rate for point in points] == sorted(point.rate for point in points)
        for point in points:
            assert point.rate == max(calibrated.best_rate, *point.asked)
            for share, is_good in ((point.found, False), (point.false_alarms, True)):
                p_values = [calibrated.p_value(image.score) for image in shown if image.is_good == is_good]
                expected = sum(p <= point.rate for p in p_values)  # exactly: verdicts are those of the p-values
                assert (share is None) == (not p_values)
                assert share is None or (share.count, share.total) == (expected, len(p_values))
            for kind, share in point.kinds.items():
                assert share.total == sum(image.kind == kind for image in shown)
            if point.found is not None:
                assert sum(share.count for share in point.kinds.values()) == point.found.count
        for first, second in pairwise(points):
            for one, other in ((first.found, second.found), (first.false_alarms, second.false_alarms)):
                assert one is None or one.count <= other.count

    @pytest.mark.parametrize(("count", "total"), [(0, 1), (0, 20), (3, 7), (54, 119), (119, 119)])
    def test_intervals_are_those_of_scipy(self, count: int, total: int) -> None:
        images = judged([], crack=[1000.0] * count + [-1.0] * (total - count))
        share = found(images, calibration(99)).points[0].found
        assert share is not None and (share.count, share.total) == (count, total)
        low = beta.ppf(0.025, count, total - count + 1) if count else 0.0
        high = beta.ppf(0.975, count + 1, total - count) if count < total else 1.0
        assert share.interval == pytest.approx((low, high), abs=1e-9)

    def test_rates_that_so_few_images_cannot_hold_are_one_point_that_says_so(self) -> None:
        images = judged([3.0], crack=[39.5, 38.5, 36.5])
        result = found(images, calibration(40))
        least, *others = result.points
        assert least.rate == 1 / 41 and least.asked == least.unsupported == (0.01, 0.02) and least.in_force
        assert [point.asked for point in others] == [(0.05,), (0.1,)] and counts(least)[0] == 1
        assert result.support == ("40 good images support no rate below 2.4 %: 1 % takes 99 good images, 2 % takes 49.")
        # a rate that is just supported is no other point than the smallest one
        edge = found(images, calibration(49)).points[0]
        assert edge.asked == (0.01, 0.02) and edge.unsupported == (0.01,) and edge.rate == 0.02
        assert found(images, calibration(99)).support is None

    def test_a_rate_of_the_models_own_and_one_of_the_command(self) -> None:
        images = judged([3.0], crack=[300.0])
        points = found(images, calibration(199, rate=0.03), rate=0.2).points
        assert [point.rate for point in points] == [0.01, 0.02, 0.03, 0.05, 0.1, 0.2]
        assert [point.rate for point in points if point.in_force] == [0.2]

    def test_a_threshold_by_hand_is_a_point_without_a_rate(self) -> None:
        images = judged([3.0], crack=[300.0, 150.5])
        by_hand, *others = found(images, calibration(199), threshold=150.0).points
        assert by_hand.rate is None and by_hand.in_force and counts(by_hand) == (2, 2, 0, 1)
        assert [point.rate for point in others] == list(RATES) and not any(point.in_force for point in others)

    def test_a_guess_claims_no_rate(self) -> None:
        guess = Calibration(np.array([50.0]), np.array([50.0]), np.array([0]), kind="one part")
        for uncalibrated in (guess, Calibration.fixed(50.0, "imported")):
            result = found(judged([3.0], crack=[300.0, 20.0]), uncalibrated)
            (point,) = result.points
            assert (point.rate, point.asked, point.in_force) == (None, (), True) and counts(point) == (1, 2, 0, 1)
            assert result.support is None and result.change is None

    def test_good_images_alone_and_defects_alone(self) -> None:
        alarms = found(judged([3.0, 300.0]), calibration(199))
        assert all(p.found is None and p.kinds == {} and p.false_alarms.count == 1 for p in alarms.points)
        assert alarms.blind == () and alarms.change is None
        defects = found(judged([], crack=[3.0]), calibration(199))
        assert all(point.false_alarms is None and point.found.count == 0 for point in defects.points)

    def test_parts_count_once_by_their_own_thresholds(self) -> None:
        """The images would be three found of four; the parts are judged by the largest scores of good parts."""
        calibrated = calibration(99, rate=0.05, images=2)
        parts = [Case(98.5, ("crack", "hole")), Case(1.0, ("crack",)), Case(2.0, ())]
        result = found(judged([1.0], crack=[200.0]), calibrated, parts=parts)
        assert result.noun == "part" and [counts(point) for point in result.points] == [(1, 2, 0, 1)] * 4
        assert [point.threshold for point in result.points] == [calibrated.part_threshold(rate) for rate in RATES]
        kinds = result.points[0].kinds
        assert {kind: (share.count, share.total) for kind, share in kinds.items()} == {"crack": (1, 2), "hole": (1, 1)}

    def test_in_sessions_each_one_has_to_support_a_rate(self) -> None:
        one = calibration(150)
        sessions = Sessions(np.repeat([0, 1], [130, 20]), ("monday", "tuesday"), 2)
        result = found(judged([1.0], crack=[500.0]), replace(one, sessions=sessions))
        assert result.points[0].rate == 1 / 21 and result.points[0].unsupported == (0.01, 0.02)
        assert "in 2 sessions support no rate below 4.8 %: 1 % takes 99 good images of every session" in result.support


class TestBlind:
    @pytest.mark.parametrize(
        ("count", "total", "blind"),
        [(0, 2, False), (0, 3, True), (1, 3, False), (5, 23, True), (6, 23, True), (7, 23, False), (0, 1, False)],
    )
    def test_the_rule(self, count: int, total: int, blind: bool) -> None:
        assert is_blind(rate_of(count, total)) is blind
        assert blind == ((total >= 3 and not count) or bool(beta.ppf(0.975, count + 1, total - count) < 0.5))

    def test_it_is_of_the_threshold_in_force_and_of_one_kind_too(self) -> None:
        images = judged([1.0], 划痕=[195.5] * 12, hole=[500.0])
        assert found(images, calibration(199)).blind == ("划痕",)
        assert found(images, calibration(199), rate=0.05).blind == ()
        assert found(judged([], scratch=[1.0] * 3), calibration(199)).blind == ("scratch",)


class TestChange:
    def test_the_rate_that_finds_most_for_its_price(self) -> None:
        """The share found less the rate: .79 at 1 %, .88 at 2 %, .85 at 5 % and .90 at 10 %."""
        images = judged([185.0, 3.0], crack=[500.0] * 8 + [196.5, 180.5])
        change = found(images, calibration(199)).change
        assert change is not None and change.better.rate == 0.1 and change.own.rate == 0.01
        assert shlex.split(change.command) == ["blemish", "update", "my model", "--false-alarm-rate", "10%"]
        dearer = found(judged([3.0], crack=[500.0] * 30 + [196.5] * 5 + [180.5]), calibration(199)).change
        assert dearer is not None and dearer.better.rate == 0.02  # 10 % finds one of 36 more, for 8 % more alarms

    def test_no_change_where_little_is_gained(self) -> None:
        assert found(judged([3.0], crack=[500.0] * 20 + [196.5]), calibration(199)).change is None  # 1 of 21
        assert found(judged([3.0], crack=[500.0] * 12 + [180.5]), calibration(199)).change is None  # 8 % for 9 %
        assert found(judged([3.0]), calibration(199)).change is None
        # nothing changes between two rates that the model does not hold
        change = found(judged([3.0], crack=[18.5] * 5), calibration(20)).change
        assert change is not None and (change.own.rate, change.better.rate) == (1 / 21, 0.1)

    def test_it_starts_from_the_models_own_rate(self) -> None:
        images = judged([3.0], crack=[196.5, 180.5])
        change = found(images, calibration(199), rate=0.1).change
        assert change is not None and (change.own.rate, change.better.rate) == (0.01, 0.1)
        assert found(images, calibration(199, rate=0.1)).change is None


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty good images of the levels 60 to 99; 1 % is asked for, 2.4 % is what they support."""
    levels = [float(level) for level in range(60, 100)]
    stated = CalibrationInfo(
        scores=levels, peaks=levels, parts=list(range(40)), false_alarm_rate=0.01, kind="leave-one-part-out"
    )
    return save_model(tmp_path_factory.mktemp("models") / "my model", tiny_network(), tiny_info(calibration=stated))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    levels = {"good": (50, 60, 97), "划痕": (70, 70, 71), "trou": (120, 98, 98, 97)}
    for kind, scores in levels.items():
        (root / "test" / kind).mkdir(parents=True)
        for i, level in enumerate(scores):
            ok, file = cv2.imencode(".png", np.full((24, 48), level, np.uint8))
            assert ok
            (root / "test" / kind / f"{i}.png").write_bytes(file.tobytes())
    return root


class TestFiles:
    @pytest.fixture(scope="class")
    @staticmethod
    def out(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        out = tmp_path_factory.mktemp("out")
        evaluate(model, data, out)
        return out

    def test_the_json_says_all_of_it_in_a_form_that_stays(self, out: Path, model: Path) -> None:
        result = json.loads((out / "evaluate_result.json").read_text(encoding="utf-8"))
        told = result["found_at_rates"]
        assert list(told) == ["counted", "points", "support", "blind_to", "change"] and told["counted"] == "images"
        least, at_5, at_10 = told["points"]
        share = {"count": 1, "total": 7, "share": 1 / 7, "ci95": pytest.approx([0.00361, 0.57872], abs=1e-5)}
        assert least == {
            "false_alarm_rate": 1 / 41,
            "asked": [0.01, 0.02],
            "unsupported": [0.01, 0.02],
            "threshold": 99.0,
            "in_force": True,
            "found": share,
            "false_alarms": {"count": 0, "total": 3, "share": 0.0, "ci95": pytest.approx([0, 0.70760], abs=1e-5)},
            "kinds": {
                "trou": {"count": 1, "total": 4, "share": 0.25, "ci95": pytest.approx([0.00631, 0.80588], abs=1e-5)},
                "划痕": {"count": 0, "total": 3, "share": 0.0, "ci95": pytest.approx([0, 0.70760], abs=1e-5)},
            },
        }
        assert (at_5["threshold"], at_5["found"]["count"]) == (98.0, 1) and at_5["unsupported"] == []
        assert (at_10["threshold"], at_10["found"]["count"], at_10["false_alarms"]["count"]) == (96.0, 4, 1)
        assert told["blind_to"] == ["划痕"] and "40 good images support no rate below 2.4 %" in told["support"]
        assert told["change"] == {
            "false_alarm_rate": 0.1,
            "instead_of": 1 / 41,
            "statement": "At 10 %, 4 of 7 defective images are found instead of 1; about 10 of 100 good images alarm "
            "(here 1 of 3).",
            "command": f"blemish update {shlex.quote(str(model))} --false-alarm-rate 10%",
        }

    def test_the_keys_of_before_stay(self, out: Path) -> None:
        result = json.loads((out / "evaluate_result.json").read_text(encoding="utf-8"))
        assert set(result) - {"found_at_rates"} == {
            "done_flag", "verdict", "metrics", "not_computed", "counts", "threshold", "parts", "kinds", "other_rates",
            "remarks", "unsure", "seen_in_training", "failed", "mask_problems", "model", "dataset_path", "data",
            "files",
        }  # fmt: skip
        assert result["counts"] == {"good": 3, "false_alarms": 0, "defective": 7, "misses": 6, "failed": 0}
        assert [(one["rate"], one["found"], one["false_alarms"]) for one in result["other_rates"]] == [
            (0.01, 1, 0), (0.05, 1, 0), (0.1, 4, 1),
        ]  # fmt: skip

    def test_the_page_begins_with_it(self, out: Path) -> None:
        page = (out / "report.html").read_text(encoding="utf-8")
        text = " ".join(" ".join(parse(page).text).replace("\N{NO-BREAK SPACE}", " ").split())
        assert text.index("Found at the promised rate") < text.index("Image AUROC") < text.index("F1 at the threshold")
        assert "2.4 % at best in force" in text and "划痕 blind" in text
        assert "10 % Defective" not in text and "4 of 7 57 % (18 to 90 %)" in text


class TestCommand:
    def test_it_comes_first_and_its_command_changes_the_rate(self, model: Path, data: Path, tmp_path: Path) -> None:
        own = tmp_path / "my model"
        shutil.copytree(model, own)
        done = blemish("evaluate", own, data, "--output", tmp_path / "out")
        lines = done.stdout.splitlines()
        assert lines[:5] == [
            "false-alarm rate  defective images found (95 %)  false alarms, good images (95 %)",
            "2.4 % at best     1 of 7, 14 % (0.4 to 58 %)     0 of 3, 0 % (under 63 %)          in force",
            "5 %               1 of 7, 14 % (0.4 to 58 %)     0 of 3, 0 % (under 63 %)",
            "10 %              4 of 7, 57 % (18 to 90 %)      1 of 3, 33 % (0.8 to 91 %)",
            "40 good images support no rate below 2.4 %: 1 % takes 99 good images, 2 % takes 49.",
        ]
        assert lines[6:9] == [
            "type of defect found at  2.4 % at best         5 %                   10 %",
            "trou                     1 of 4 (0.6 to 81 %)  1 of 4 (0.6 to 81 %)  4 of 4 (over 47 %)",
            "划痕                     0 of 3 (under 63 %)   0 of 3 (under 63 %)   0 of 3 (under 63 %)",
        ]
        assert lines[9].startswith("Blind: at 2.4 %, 划痕 (0 of 3 found): ")
        assert lines.index(next(line for line in lines if line.startswith("image_auroc"))) > 11
        command = shlex.split(lines[11])
        assert command[:2] == ["blemish", "update"] and blemish(*command[1:]).code == 0
        assert load_model(own).info.calibration.false_alarm_rate == 0.1
        again = evaluate(own, data, tmp_path / "again")
        assert again.found.change is None and again.misses is not None and again.misses.count == 3

    def test_a_kind_whose_name_is_no_text_is_shown(self) -> None:
        images = judged([1.0], **{"\udcff\x1b[31m": [2.0] * 3, "b": [500.0]})
        text = "\n".join(found_lines(replace(report(), found=found(images, calibration(199)))))
        assert "??[31m" in text and text.isprintable() is False and text.replace("\n", "").isprintable()


class TestWords:
    def test_points_of_nearly_the_same_rate_are_told_apart(self) -> None:
        """48 good images support 2.04 %, not the 2 % that is asked for beside it."""
        shown = found(judged([1.0], crack=[500.0]), calibration(48))
        assert words.point_labels(shown, report().threshold) == ["2.04 % at best", "5 %", "10 %"]

    def test_a_threshold_without_a_rate_is_named_for_what_it_is(self) -> None:
        stated = replace(report().threshold, rate=None)
        shown = found(judged([1.0], crack=[5.0] * 3), calibration(199), threshold=400.0)
        labels = words.point_labels(shown, replace(stated, is_given=True))
        assert labels == ["given threshold", "1 %", "2 %", "5 %", "10 %"]
        assert words.blind_line(shown).startswith("with this threshold, crack (0 of 3 found): ")
        guess = Calibration(np.array([50.0]), np.array([50.0]), np.array([0]), kind="one part")
        assert words.point_labels(found(judged([1.0]), guess), stated) == ["guess"]

    def test_whatever_is_missing_the_page_and_the_lines_say_the_rest(self) -> None:
        for good in (0, 3):
            for defective in (0, 3):
                for threshold in (None, 5.0):
                    if not good + defective:
                        continue
                    limits = {} if threshold is None else {"threshold": threshold}
                    shown = found(judged([1.0] * good, crack=[9.0] * defective), calibration(40), **limits)
                    whole = replace(report(good=good, defective=defective), found=shown)
                    parse(render_report(whole))
                    head = found_lines(whole)[0]
                    assert ("defective images found" in head) is bool(defective)
                    assert ("good images" in head) is bool(good)
