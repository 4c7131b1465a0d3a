"""Verdicts of parts: the promised rate by simulation, exact relations, and what predictions say of parts."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import Done, blemish
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm
from served import grey, serving
from tiny_model import faulty_network, tiny_info, tiny_network, tiny_parts

from blemish.calibration import Calibration
from blemish.errors import ModelError, UsageError
from blemish.evaluation import evaluate
from blemish.metrics import binomial_interval
from blemish.metrics.rates import rate_text, rate_texts
from blemish.models import load_model, save_model
from blemish.pipeline import PartResult, Predictor, open_model

LIMIT = 118.0  # of a part at 10 %: 1 of 19 good parts may lie above, so the second largest score


def worlds(random: np.random.Generator, parts: int, images: int, correlation: float) -> np.ndarray:
    """Standard normal scores (parts, images); those of one part have this correlation."""
    level = np.sqrt(correlation) * random.normal(size=(parts, 1))
    return level + np.sqrt(1 - correlation) * random.normal(size=(parts, images))


def calibrated(scores: np.ndarray, rate: float = 0.05) -> Calibration:
    """From scores (parts, images)."""
    parts = np.repeat(np.arange(len(scores)), scores.shape[1])
    return Calibration(scores.ravel(), scores.ravel(), parts, rate)


class TestTheRateOfParts:
    @pytest.mark.parametrize("rate", [0.01, 0.05, 0.1])
    @pytest.mark.parametrize("correlation", [0.0, 0.64])
    def test_new_good_parts_raise_alarms_at_the_stated_rate(self, rate: float, correlation: float) -> None:
        """Within the exact 99 % band; by the threshold of images, more parts have an alarm."""
        random, alarms, by_image, count = np.random.default_rng(7), 0, 0, 2000
        for _ in range(count):
            scores = worlds(random, 100, 4, correlation)
            fitted, largest = calibrated(scores[:99]), scores[99].max()
            alarms += largest > fitted.part_threshold(rate)
            by_image += largest > fitted.threshold(rate)
        low, high = binom.ppf([0.005, 0.995], count, rate)
        assert low <= alarms <= high
        assert (by_image > high) == (rate > 0.01)  # at the least rate that is supported, both are the largest score

    def test_parts_of_different_numbers_of_images(self) -> None:
        random, alarms, count = np.random.default_rng(8), 0, 3000
        for _ in range(count):
            numbers = np.repeat(np.arange(60), random.integers(1, 7, 60))
            scores = random.normal(size=len(numbers))
            known = numbers < 59
            fitted = Calibration(scores[known], scores[known], numbers[known])
            alarms += scores[~known].max() > fitted.part_threshold(0.05)
        low, high = binom.ppf([0.005, 0.995], count, 0.05)
        assert low <= alarms <= high

    def test_the_bound_on_images_holds_where_parts_have_many(self) -> None:
        """20 parts of 50 images at 9.5 %: the threshold's true rate is above the bound in one world of twenty at most,
        which the bound of the whole number below does not keep."""
        random, count = np.random.default_rng(9), 1500
        fitted = [calibrated(worlds(random, 20, 50, 0.95)) for _ in range(count)]
        true_rates = np.array([norm.sf(one.threshold(0.095)) for one in fitted])
        most = binom.ppf(0.995, count, 0.05)
        single = Calibration(np.arange(20.0), np.arange(20.0), np.arange(20), interpolated=False)
        assert (true_rates > fitted[0].upper_rate(0.095)).sum() <= most
        assert (true_rates > single.upper_rate(0.095)).sum() > most

    def test_the_bound_on_parts_holds(self) -> None:
        random, count = np.random.default_rng(10), 2000
        fitted = [calibrated(worlds(random, 40, 4, 0.0)) for _ in range(count)]
        true_rates = np.array([1 - norm.cdf(one.part_threshold(0.1)) ** 4 for one in fitted])
        low, high = binom.ppf([0.005, 0.995], count, 0.05)
        assert low <= (true_rates > fitted[0].part_upper_rate(0.1)).sum() <= high


images = st.lists(st.tuples(st.integers(0, 6).map(float), st.integers(0, 9)), min_size=2, max_size=30).filter(
    lambda pairs: len({part for _, part in pairs}) > 1  # one part is not calibrated
)
rates = st.one_of(
    st.floats(1e-6, 1 - 1e-6),
    st.tuples(st.integers(1, 40), st.integers(2, 41)).filter(lambda t: t[0] < t[1]).map(lambda t: t[0] / t[1]),
)


@settings(max_examples=200, deadline=None)
@given(images, rates, st.integers(-1, 7).map(float))
def test_above_the_threshold_of_parts_is_a_small_p_value(
    pairs: list[tuple[float, int]], rate: float, largest: float
) -> None:
    parts = sorted({part for _, part in pairs})
    of_each = [max(score for score, part in pairs if part == number) for number in parts]
    p = Fraction(1 + sum(score >= largest for score in of_each), len(parts) + 1)
    scores = np.array([score for score, _ in pairs])
    fitted = Calibration(scores, scores, np.array([part for _, part in pairs]))
    before = replace(fitted, interpolated=False)
    assert before.part_p_value(largest) == float(p)
    assert float(p) - 1 / (len(parts) + 1) - 1e-9 <= (fitted.part_p_value(largest) or 0) <= float(p)
    assert fitted.part_threshold(rate) <= before.part_threshold(rate)
    if rate >= fitted.best_rate:
        assert (largest > fitted.part_threshold(rate)) == (fitted.part_p_value(largest) <= rate)
    else:
        assert fitted.part_threshold(rate) == max(of_each)
    assert fitted.part_threshold(rate) >= fitted.threshold(rate)


def test_where_every_part_has_one_image_a_part_is_its_image() -> None:
    scores = np.random.default_rng(0).normal(size=50)
    fitted = Calibration(scores, scores, np.arange(50), 0.1)
    assert not fitted.has_several_images and fitted.part_upper_rate() == fitted.upper_rate()
    for rate in (0.001, 0.02, 0.3):
        assert fitted.part_threshold(rate) == fitted.threshold(rate)
    assert all(fitted.part_p_value(score) == fitted.p_value(score) for score in (-9, 0, *scores))


def test_images_of_one_part_have_no_p_value_of_parts_either() -> None:
    """The guess at its threshold is the same for an image and for a part."""
    fitted = Calibration(np.arange(4.0), np.arange(4.0), np.zeros(4, np.int64))
    assert fitted.part_p_value(9.0) is None and fitted.p_value(9.0) is None
    assert fitted.part_threshold() == fitted.threshold() == 3
    assert fitted.part_upper_rate() == 1
    with pytest.raises(UsageError, match="one part only"):
        fitted.part_threshold(0.1)


def test_a_share_of_a_part_reaches_a_rate_exactly() -> None:
    """Four parts of three images, of which five thirds of a part count: p = 1 / 3, which a rate of 1 / 3 allows."""
    fitted = Calibration(np.arange(12.0), np.arange(12.0), np.arange(12) // 3)
    before = replace(fitted, interpolated=False)
    assert before.p_value(9.5) == 1 / 3
    assert before.threshold(1 / 3) == fitted.threshold(1 / 3) == 9
    assert fitted.p_value(9.5) == pytest.approx(0.3)  # three halves of a third


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.095, "9.5 %"), (0.0996, "9.96 %"), (0.125, "12.5 %"), (1 / 61, "1.6 %"), (1 / 3, "33 %"), (0.999999, "100 %")],
)
def test_a_rate_reads_as_it_was_stated(rate: float, text: str) -> None:
    assert rate_text(rate) == text


def test_two_rates_never_read_the_same() -> None:
    assert rate_texts(1 / 96, 0.01) == ["1.04 %", "1 %"]
    assert rate_texts(1 / 96, 0.0104) == ["1.042 %", "1.04 %"]
    scores = np.arange(95.0)
    said = Calibration(scores, scores, np.arange(95), 0.01).statement()
    assert said.startswith("95 good images support a false-alarm rate of 1.04 % at best, not 1 %;")


class TestTheModelFolder:
    def test_the_pattern_is_kept_and_raises_the_version(self, tmp_path: Path) -> None:
        for group_by, version in ((None, 1), (r"(P\d+)_", 6)):
            info = tiny_info(calibration=tiny_parts(group_by), format_version=version)
            folder = save_model(tmp_path / str(version), tiny_network(), info)
            stated = json.loads((folder / "model.json").read_text())
            assert stated["format_version"] == version and stated["calibration"].get("group_by") == group_by
            assert ("group_by" in stated["calibration"]) == (group_by is not None)
            assert Calibration.from_json(load_model(folder).info.calibration.model_dump()).group_by == group_by

    def test_a_pattern_that_is_none_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="not a regular expression"):
            tiny_parts("(")
        with pytest.raises(ValueError, match="pattern of parts or sessions, which format versions 1 to 5"):
            tiny_info(calibration=tiny_parts())
        assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with two images a part, whose score of a grey image is its level."""
    info = tiny_info(calibration=tiny_parts(), format_version=6)
    return save_model(tmp_path_factory.mktemp("model") / "m", tiny_network(), info)


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Predictor:
    return open_model(folder, "cpu")


def shown(folder: Path, levels: dict[str, int | None]) -> Path:
    """Images of these grey levels by name; None for one that cannot be read."""
    for name, level in levels.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"no image" if level is None else grey(level))
    return folder


def parts_of(done: Done) -> dict[str, dict[str, object]]:
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return {record["part"]: record for record in records if "images" in record}


class TestPredict:
    def test_after_the_images_a_verdict_of_each_part(self, folder: Path, tmp_path: Path) -> None:
        """Images of a part need not be adjacent, and one above the threshold of images makes no anomalous part."""
        levels = {"P1_a.png": 90, "P2_a.png": 250, "P3_a.png": 90, "P1_b.png": 118, "P2_b.png": 90, "P3_b.png": 119}
        done = blemish("predict", folder, shown(tmp_path / "in", levels), "--json", "--save_path", tmp_path / "out")
        records = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.code == 0 and [record["part"] for record in records[:6]] == ["P1", "P1", "P2", "P2", "P3", "P3"]
        assert records[6:] == [
            {
                "part": part,
                "images": 2,
                "images_per_part": [2, 2],
                "score": score,
                "p_value": p,
                "threshold": LIMIT,
                "is_anomalous": score > LIMIT,
                "label": "Anomaly" if score > LIMIT else "Normal",
                "false_alarm_rate": 0.1,
                "supported_rate": 0.1,
                "error": None,
            }
            for part, score, p in (("P1", 118.0, 0.15), ("P2", 250.0, 0.05), ("P3", 119.0, 0.1))
        ]
        assert records[1]["is_anomalous"] and records[1]["threshold"] < LIMIT  # P1_b, whose part is normal
        saved = {path.name: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*_part.json")}
        assert saved == {f"{record['part']}_part.json": record for record in records[6:]}

    def test_a_part_without_one_of_its_images_is_never_normal(self, folder: Path, tmp_path: Path) -> None:
        levels = {"P1_a.png": 90, "P1_b.png": None, "P2_a.png": 250, "P2_b.png": None, "P3_a.png": None}
        data = shown(tmp_path / "in", levels)
        done = blemish("predict", folder, data, "--json")
        found = parts_of(done)
        assert done.code == 1 and [found[part]["label"] for part in ("P1", "P2", "P3")] == [None, "Anomaly", None]
        assert str(found["P1"]["error"]).startswith("1 of 2 images failed: ") and found["P2"]["error"] is None
        text = blemish("predict", folder, data)
        assert text.code == 1 and "part P1  Error - 1 of 2 images failed" in text.stderr
        assert text.stdout.splitlines()[-1] == "part P2  Anomaly - largest score:  250.000 of 2 images"

    def test_an_image_without_numbers_is_no_normal_one_of_its_part(self, tmp_path: Path) -> None:
        """The model gives no finite number for grey 200, and no finite map for grey 202; files, evaluation and service
        all say so of the part."""
        info = tiny_info(calibration=tiny_parts(), format_version=6)
        faulty = save_model(tmp_path / "m", faulty_network(), info)
        levels = {"P1_a.png": 90, "P1_b.png": 200, "P2_a.png": 250, "P2_b.png": 202, "P3_a.png": 90, "P3_b.png": 91}
        data = shown(tmp_path / "in" / "good", levels)
        done = blemish("predict", faulty, data, "--json", "--batch-size", "6")
        found = parts_of(done)
        assert done.code == 1 and [found[part]["label"] for part in ("P1", "P2", "P3")] == [None, "Anomaly", "Normal"]
        assert "gets no verdict" in str(found["P1"]["error"]) and found["P1"]["images"] == 2
        report = evaluate(faulty, tmp_path / "in", tmp_path / "report", "cpu")
        assert report.parts is not None and (report.parts.failed, report.parts.alarmed) == (("P1",), ("P2",))
        with serving(faulty) as service, service.client() as client:
            bodies = [("image", (name, grey(level))) for name, level in levels.items()]
            answer = client.post("/v1/models/m/predict", files=bodies).json()
            alone = client.post("/v1/models/m/predict", files=bodies[1:2])
        assert [part["label"] for part in answer["parts"]] == [None, "Anomaly", "Normal"]
        assert "gets no verdict" in answer["parts"][0]["error"]
        assert alone.status_code == 500 and "gets no verdict" in alone.json()["error"]["message"]

    def test_names_without_a_part_are_refused_before_the_work(self, folder: Path, tmp_path: Path) -> None:
        data = shown(tmp_path / "in", {"P1_a.png": 90, "sub/other.png": 90})
        for more, said in (([], "The model's pattern `(P\\d+)_`"), (["--group-by", "sub/(.)"], "--group-by `sub/(.)`")):
            done = blemish("predict", folder, data, *more)
            assert done.code == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
            assert f"{said} finds no part in 1 of 2 names, such as `" in done.stderr and "--group-by ''" in done.stderr
        alone = blemish("predict", folder, data, "--group-by", "")
        assert alone.code == 0 and "part " not in alone.stdout and len(alone.stdout.splitlines()) == 2
        bad = blemish("predict", folder, data, "--group-by", "(")
        assert bad.code == 2 and "--group-by is not a regular expression" in bad.stderr

    def test_a_pattern_for_a_model_that_has_none(self, tmp_path: Path) -> None:
        """Its good parts had two images each; a part of three is judged, and the result says so."""
        model = save_model(tmp_path / "m", tiny_network(), tiny_info(calibration=tiny_parts(None)))
        data = shown(tmp_path / "in", {f"{part}/{i}.png": 90 + i for part in "xy" for i in range(2 + (part == "y"))})
        done = blemish("predict", model, data, "--group-by", "^(.)/")
        lines = done.stdout.splitlines()[5:]
        assert done.code == 0 and lines[0] == "part x  Normal - largest score:  91.000 of 2 images"
        assert lines[1] == "part y  Normal - largest score:  92.000 of 3 images (calibrated with 2 images of a part)"
        assert "1 of 2 parts with more images than those of the calibration" in done.stderr
        assert "part x" not in blemish("predict", model, data).stdout

    def test_another_rate_and_a_threshold_by_hand(self, folder: Path, tmp_path: Path) -> None:
        data = shown(tmp_path / "in", {"P1_a.png": 90, "P1_b.png": 119})
        at_rate = parts_of(blemish("predict", folder, data, "--json", "--false-alarm-rate", "0.05"))["P1"]
        assert (at_rate["threshold"], at_rate["false_alarm_rate"], at_rate["is_anomalous"]) == (119.0, 0.05, False)
        by_hand = parts_of(blemish("predict", folder, data, "--json", "--threshold", "118.5"))["P1"]
        assert (by_hand["threshold"], by_hand["false_alarm_rate"], by_hand["is_anomalous"]) == (118.5, None, True)

    def test_the_pages_of_a_file_are_a_part(self, tmp_path: Path) -> None:
        info = tiny_info(calibration=tiny_parts(r"(.+)\[\d+\]"), format_version=6)
        model = save_model(tmp_path / "m", tiny_network(), info)
        (tmp_path / "in").mkdir()
        for name, levels in (("good", (90, 100)), ("bad", (90, 200))):
            cv2.imwritemulti(str(tmp_path / f"in/{name}.tiff"), [np.full((24, 48, 3), one, np.uint8) for one in levels])
        done = blemish("predict", model, tmp_path / "in")
        assert [line.partition(" - ")[0] for line in done.stdout.splitlines()[4:]] == [
            "part bad.tiff  Anomaly",
            "part good.tiff  Normal",
        ]

    def test_one_file_for_one_image(self, folder: Path, tmp_path: Path) -> None:
        data = shown(tmp_path, {"P1_a.png": 90})
        assert blemish("predict", folder, data / "P1_a.png", "--save_path", tmp_path / "seen.png").code == 0
        assert json.loads((tmp_path / "seen_part.json").read_text())["part"] == "P1"


class TestPython:
    def test_parts_of_results(self, predictor: Predictor, tmp_path: Path) -> None:
        data = shown(tmp_path, {"P1_a.png": 90, "P1_b.png": 200, "P2_a.png": 90, "P2_b.png": None})
        results = list(predictor.predict(data))
        assert [result["part"] for result in results] == ["P1", "P1", "P2", "P2"]
        one, two = predictor.parts(results)
        assert isinstance(one, PartResult) and one["label"] == one.label == "Anomaly" and one.json["res"]["images"] == 2
        assert two.is_anomalous is None and two.label is None and two.error and two.score == 90

    def test_arrays_show_what_they_are_said_to_show(self, predictor: Predictor) -> None:
        arrays = [np.full((24, 48, 3), level, np.uint8) for level in (90, 130)]
        (part,) = predictor.parts(predictor.predict(arrays), part="P7")
        assert (part.part, part.images, part.score, part.is_anomalous) == ("P7", 2, 130.0, True)
        with pytest.raises(UsageError, match="nothing says which part it shows; give group_by"):
            predictor.parts(predictor.predict(arrays))

    def test_a_pattern_of_the_call(self, predictor: Predictor, tmp_path: Path) -> None:
        data = shown(tmp_path, {"x/P1_a.png": 90, "y/P1_a.png": 200})
        found = predictor.parts(predictor.predict(data, group_by="^(.)/"))
        assert [(part.part, part.label) for part in found] == [("x", "Normal"), ("y", "Anomaly")]
        again = predictor.parts(predictor.predict(data), group_by="^(.)/")
        assert [part.to_dict() for part in again] == [part.to_dict() for part in found]
        assert [result.part for result in predictor.predict(data, group_by="")] == [None, None]
        with pytest.raises(UsageError, match=r"finds nothing in `x/P1_a\.png`"):
            list(predictor.predict(data, group_by="(z)"))

    def test_results_at_two_rates_make_no_part(self, predictor: Predictor, tmp_path: Path) -> None:
        data = shown(tmp_path, {"P1_a.png": 90})
        results = [*predictor.predict(data), *predictor.predict(data, false_alarm_rate=0.2)]
        with pytest.raises(UsageError, match="different thresholds"):
            predictor.parts(results)

    def test_part_names_that_are_paths_stay_in_the_folder(self, predictor: Predictor, tmp_path: Path) -> None:
        arrays = [np.full((24, 48, 3), 90, np.uint8)]
        for number, name in enumerate(("../../x", "x", "x.1", "")):
            (part,) = predictor.parts(predictor.predict(arrays), part=name)
            path = part.save_to_json(tmp_path / "out")
            assert path.resolve().is_relative_to(tmp_path / "out") and json.loads(path.read_text())["part"] == name
            assert len(list((tmp_path / "out").rglob("*.json"))) == number + 1


TESTED: dict[str, int | None] = {
    "good/P1_a.png": 90, "good/P1_b.png": 118, "good/P2_a.png": 119, "good/P2_b.png": 90, "good/P3_a.png": 90,
    "crack/P4_a.png": 200, "good/P4_b.png": 90, "crack/P5_a.png": 90, "crack/P5_b.png": 100, "crack/P6_a.png": 90,
    "crack/P6_b.png": None,
}  # fmt: skip


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_result_without_a_number_is_a_failed_image_of_its_part(predictor: Predictor, score: float) -> None:
    view = np.full((24, 48, 3), 90, np.uint8)
    good, other = predictor.predict([view, view])
    (part,) = predictor.parts([good, replace(other, score=score)], part="P1")
    assert part.label is None and part.images == 2 and "not a finite number" in str(part.error)


class TestEvaluate:
    """Thresholds at 10 %: about 117 of images, 118 of parts."""

    def test_figures_of_parts_beside_those_of_images(self, folder: Path, tmp_path: Path) -> None:
        """P2 is a false alarm, P4 (seen by one image) is found, P5 is missed, P6 has no verdict."""
        data = shown(tmp_path / "in" / "test", TESTED).parent
        report = evaluate(folder, data, tmp_path / "out")
        parts, stated = report.parts, json.loads((tmp_path / "out" / "evaluate_result.json").read_text())
        assert parts is not None and parts.false_alarms is not None and parts.misses is not None
        assert (parts.false_alarms.count, parts.false_alarms.total) == (1, 3)
        assert parts.false_alarms.interval == binomial_interval(1, 3)
        assert (parts.misses.count, parts.misses.total) == (1, 2)
        assert report.false_alarms is not None and (report.false_alarms.count, report.false_alarms.total) == (2, 6)
        assert stated["parts"] == {
            "threshold": LIMIT, "images_per_part": [2, 2], "good": 3, "false_alarms": ["P2"], "defective": 2,
            "misses": ["P5"], "failed": ["P6"],
        }  # fmt: skip
        assert stated["metrics"]["part_false_alarm_rate"] == 1 / 3 and stated["metrics"]["part_miss_rate"] == 0.5
        assert "of 3 good parts, 1 was called anomalous" in stated["verdict"]
        (point,) = (one for one in stated["found_at_rates"]["points"] if one["in_force"])
        assert stated["found_at_rates"]["counted"] == "parts" and point["threshold"] == LIMIT
        assert (point["found"]["count"], point["found"]["total"]) == (1, 2)  # P6 has no verdict and counts nowhere
        assert (point["false_alarms"]["count"], point["false_alarms"]["total"]) == (1, 3)
        with (tmp_path / "out" / "per_image.csv").open() as file:
            assert {row["path"][-8:]: row["part"] for row in csv.DictReader(file)}["P6_b.png"] == "P6"
        page = (tmp_path / "out" / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
        assert "False alarms, parts" in page and "part_miss_rate" in page
        said = " ".join(remark.text for remark in report.remarks)
        assert "1 part got no verdict, since images failed: P6" in said and "good and defective images counts" in said
        assert any("images of one part are not" in line for line in report.unsure)

    def test_a_pattern_that_does_not_fit(self, folder: Path, tmp_path: Path) -> None:
        """The model's own costs the figures of parts, and says so; a given one is refused before the work."""
        data = shown(tmp_path / "in" / "test", {"good/a1.png": 90, "good/a2.png": 91, "crack/b1.png": 200}).parent
        report = evaluate(folder, data, tmp_path / "out")
        assert report.parts is None and "part_miss_rate" not in report.metrics
        assert any("finds no part in 3 of 3 names" in remark.text for remark in report.remarks)
        with pytest.raises(UsageError, match=r"--group-by `/\(a\)` finds no part in 1 of 3 names"):
            evaluate(folder, data, tmp_path / "no", group_by="/(a)")
        assert not (tmp_path / "no").exists()
        given = evaluate(folder, data, tmp_path / "given", group_by="/([ab])")
        assert given.parts is not None and given.parts.misses is not None and given.parts.misses.count == 0
        alone = evaluate(folder, data, tmp_path / "alone", group_by="")
        assert alone.parts is None and not any("pattern" in remark.text for remark in alone.remarks)

    def test_too_many_false_alarms_are_told_by_parts(self, folder: Path, tmp_path: Path) -> None:
        """25 of 35 images: far too many for chance, if images were independent; one part of three proves nothing."""
        names = {f"good/P1_{take}.png": 119 for take in range(25)}
        names |= {f"good/P{part}_{take}.png": 90 for part in (2, 3) for take in range(5)}
        data = shown(tmp_path / "in" / "test", names).parent
        report = evaluate(folder, data, tmp_path / "out")
        assert not any("more than chance explains" in remark.text for remark in report.remarks)
        alone = evaluate(folder, data, tmp_path / "alone", group_by="")
        assert any("more than chance explains" in remark.text for remark in alone.remarks)


def test_a_damaged_pattern_in_a_model(folder: Path, tmp_path: Path) -> None:
    import hashlib
    import shutil

    shutil.copytree(folder, tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    stated = json.loads(path.read_text())
    text = path.read_text().replace(json.dumps(r"(P\d+)_"), json.dumps("(")).replace(stated["checksum"], "0" * 64)
    path.write_text(text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest()))
    with pytest.raises(ModelError, match=r"calibration\.group_by.*not a regular expression"):
        load_model(tmp_path / "m")
