"""Few entries in the place of many: thresholds and p-values are those of all images, or safer."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import httpx
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import serving
from tiny_model import HEIGHT, WIDTH, tiny_info, tiny_network

from blemish.calibration import Calibration, Sessions, apart_limit, compact, session_lines, with_images
from blemish.calibration.compact import MOST
from blemish.drift import DriftAlarm
from blemish.errors import ModelError, UsageError
from blemish.evaluation import evaluate
from blemish.fitting import FitReport
from blemish.models import MOST_HASHES, MOST_LEARNED_ONLY, ModelInfo, listed_hashes, load_model, save_model
from blemish.models.calibration_info import CalibrationInfo
from blemish.models.info_file import read_info, write_info
from blemish.pipeline import open_model
from blemish.updating import update

TAIL = (1e-6, 2.5e-5, 1e-4, 0.001, 0.0123, 0.01, 0.02)  # rates whose thresholds lie in the tail, whatever the parts
BELOW = (0.05, 0.0999, 0.1, 0.25, 0.5, 0.87)  # rates of three digits
Floats = npt.NDArray[np.float64]


def many(seed: int, parts: int, images: int, levels: float = 0) -> Calibration:
    """Parts of up to so many images each, with scores and peaks that go together loosely."""
    random = np.random.default_rng(seed)
    of = np.repeat(np.arange(parts), random.integers(1, images + 1, parts))
    scores = 10 * (random.gamma(3, size=len(of)) + random.normal(0, 1, parts)[of])
    peaks = scores + random.gamma(1, size=len(of))
    if levels:
        scores, peaks = np.round(scores * levels) / levels, np.round(peaks * levels) / levels
    return Calibration(scores, peaks, of)


def in_sessions(seed: int, parts: int, images: int, learned: int = 2) -> Calibration:
    """Three sessions, which differ in size and score."""
    full = many(seed, parts, images)
    numbers = np.searchsorted([0.5, 0.8], np.random.default_rng(seed).random(parts))[full.parts]
    sessions = Sessions(numbers, ("monday", "tuesday", "friday"), learned)
    return replace(full, scores=full.scores + 3 * numbers, sessions=sessions)


def limits(calibration: Calibration, rate: float) -> list[float]:
    return [calibration.threshold(rate), calibration.pixel_threshold(rate), calibration.part_threshold(rate)]


@pytest.fixture(scope="module")
def millions() -> Calibration:
    return many(1, 3_000_000, 1)


@pytest.fixture(scope="module")
def few(millions: Calibration) -> Calibration:
    return compact(millions)


class TestPromises:
    def test_three_millions_in_a_hundred_thousand(self, millions: Calibration, few: Calibration) -> None:
        assert len(few.scores) <= MOST and (few.image_count, few.part_count) == (3_000_000, 3_000_000)
        before = replace(millions, interpolated=False)
        for rate in TAIL:
            assert limits(few, rate) == limits(millions, rate)
        for rate in BELOW:  # not interpolated where an entry stands for several
            assert limits(few, rate) == limits(before, rate)
            np.testing.assert_allclose(limits(few, rate), limits(millions, rate), rtol=1e-5)
        for rate in (*TAIL, *BELOW):
            assert few.upper_rate(rate) == millions.upper_rate(rate)
        for text in (few.statement(0.001), few.statement(1e-9)):
            assert text.startswith("3000000 good images support")
        assert few.statement() == millions.statement()
        asked = np.append(np.linspace(-40, 150, 300), millions.scores[:300])
        for of_few, of_all in ((few.p_value, millions.p_value), (few.part_p_value, millions.part_p_value)):
            found, expected = np.array([(of_few(score), of_all(score)) for score in asked]).T
            in_tail = expected <= 0.03
            assert in_tail.any() and (found[in_tail] == expected[in_tail]).all()
            assert (found >= expected).all() and (found <= 1.011 * expected).all()

    @pytest.mark.parametrize("images", [3, 50], ids=["whole weights", "no unit in which all weights are whole"])
    def test_parts_of_several_images_in_sessions(self, images: int) -> None:
        full = in_sessions(2, 300_000 // images, images)
        few = compact(full, 30_000)
        assert len(few.scores) <= 30_000 < len(full.scores)
        assert few.images_per_part == full.images_per_part == (1, images)
        assert (few.image_count, few.part_count) == (full.image_count, full.part_count)
        few_before, full_before = (replace(each, interpolated=False) for each in (few, full))
        for rate in (*TAIL, *BELOW):
            expected = limits(full_before, rate)
            np.testing.assert_allclose(limits(few_before, rate), expected, rtol=1e-12 if images == 3 else 1e-6)
            for found, least, most in zip(limits(few, rate), limits(full, rate), expected, strict=True):
                assert least - 1e-9 <= found <= most + 1e-9
            assert few.part_upper_rate(rate) == full.part_upper_rate(rate)
        assert few.statement() == full.statement()
        for score in np.linspace(10, 120, 100):
            for found, expected in (
                (few.p_value(score), full.p_value(score)),
                (few.part_p_value(score), full.part_p_value(score)),
            ):
                assert found is not None and expected is not None
                assert expected * (1 - 1e-9) <= found <= 1.011 * expected

    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(0, 2**32 - 1), st.integers(2, 400), st.integers(1, 4), st.sampled_from([0, 0.3]),
        st.integers(2, 60), st.floats(0.001, 0.999), st.booleans(),
    )  # fmt: skip
    def test_nothing_is_promised_that_does_not_hold(
        self, seed: int, parts: int, images: int, levels: float, most: int, rate: float, more: bool
    ) -> None:
        full = many(seed, parts, images, levels)
        few = compact(full, most)
        if more and few.counted is not None:
            added = many(seed + 1, 1 + parts // 3, 3, levels)
            few = with_images(few, added, most)
            full = Calibration(
                np.concatenate([full.scores, added.scores]),
                np.concatenate([full.peaks, added.peaks]),
                np.concatenate([full.parts, added.parts + parts]),
            )
        assert len(few.scores) <= max(2, most)
        assert (few.image_count, few.part_count, few.images_per_part) == (
            full.image_count, full.part_count, full.images_per_part,
        )  # fmt: skip
        asked = np.concatenate([full.scores, full.scores + 1e-9, [-100, 1e9]])
        for of_few, of_all in ((few.p_value, full.p_value), (few.part_p_value, full.part_p_value)):
            found, expected = np.array([(of_few(score), of_all(score)) for score in asked]).T
            assert (found >= expected - 1e-12).all()
            assert (found <= 1).all()
        assert (np.array(limits(few, rate)) >= np.array(limits(full, rate)) - 1e-12).all()

    def test_a_few_are_as_they_are(self) -> None:
        full = many(1, 200, 3)
        assert compact(full, len(full.scores)) is full
        record = CalibrationInfo.of(full)
        assert record.counted is None and record.scores == full.scores.tolist()
        text = write_info(tiny_info(calibration=record, format_version=8), [])
        assert b"counted" not in text, "readers of before refuse a key that they do not know"

    def test_an_update_joins_the_largest_session_that_was_learned(self) -> None:
        full, added = in_sessions(3, 60_000, 3), many(4, 9_000, 2)
        joined = with_images(compact(full, 20_000), added, 20_000)
        assert full.sessions is not None and joined.sessions is not None
        numbers = np.append(full.sessions.numbers, np.zeros(len(added.scores), np.int64))
        expected = Calibration(
            np.append(full.scores, added.scores), np.append(full.peaks, added.peaks),
            np.append(full.parts, added.parts + full.part_count), sessions=replace(full.sessions, numbers=numbers),
        )  # fmt: skip
        assert (joined.image_count, joined.part_count) == (expected.image_count, expected.part_count)
        for rate in (0.001, 0.01, 0.03):
            assert limits(joined, rate) == limits(expected, rate)
        none_learned = with_images(compact(in_sessions(3, 60_000, 3, learned=0), 20_000), added, 20_000)
        assert none_learned.sessions is not None
        assert none_learned.sessions.names == ("training", "monday", "tuesday", "friday")
        assert next(one.image_count for one in none_learned.each_session) == len(added.scores)

    def test_more_sessions_than_room(self) -> None:
        """Every session keeps its largest value; no p-value is too small."""
        full = many(5, 4000, 1)
        full = replace(full, sessions=Sessions(full.parts % 500, tuple(map(str, range(500))), 500))
        few = compact(full, 600)
        assert len(few.scores) <= 1000
        assert few.threshold(0.1) >= full.threshold(0.1)
        assert few.threshold(0.001) == full.threshold(0.001) == full.scores.max()

    def test_single_images_cannot_be_taken_out(self, few: Calibration) -> None:
        with pytest.raises(UsageError, match="has no single images"):
            few.chosen(np.arange(len(few.scores)) % 2 == 0)


class TestWhoReadsIt:
    def test_remarks_drift_and_limits(self, millions: Calibration, few: Calibration) -> None:
        assert apart_limit(few) == pytest.approx(apart_limit(millions), rel=0.01)
        assert few.images_above(few.threshold()) == millions.images_above(millions.threshold())
        np.testing.assert_allclose(
            np.quantile(few.sample(2000), [0.1, 0.5, 0.9]), np.quantile(millions.scores, [0.1, 0.5, 0.9]), rtol=0.02
        )
        alarm, random = DriftAlarm(few.sample(2000)), np.random.default_rng(0)
        assert all(alarm.observe(score) is None for score in random.choice(millions.scores, 300))
        assert any(alarm.observe(score + 40) for score in random.choice(millions.scores, 300))

    def test_lines_of_sessions(self) -> None:
        full = in_sessions(6, 40_000, 1)
        assert session_lines(compact(full, 12_000), 0.01) == session_lines(full, 0.01)

    def test_a_model_of_millions(self, few: Calibration, millions: Calibration, tmp_path: Path) -> None:
        """It is written, read, served and evaluated, and says what all images would."""
        model = save_model(tmp_path / "plate", tiny_network(), counted_info(millions))
        assert (model / "model.json").stat().st_size < 8 << 20
        read = load_model(model).info
        assert read.format_version == 8
        assert read.calibration.loaded().to_json() == few.to_json()
        expected = millions.threshold()
        result = next(open_model(model, "cpu").predict([plate(tmp_path / "one.png", round(expected) + 1)]))
        assert (result.threshold, result.is_anomalous) == (expected, True)
        assert result.p_value == millions.p_value(round(expected) + 1)
        data = tmp_path / "data"
        for number, level in enumerate((20, 30, 250)):
            plate(data / "test" / ("good" if level < 200 else "bad") / f"{number}.png", level)
            plate(data / "train" / "good" / "0.png", 10)
        report = evaluate(model, data, tmp_path / "out", "cpu")
        assert report.threshold.images == 3_000_000 and report.false_alarms.count == 0
        assert "3000000 good images" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        with serving(model, "--output", tmp_path / "service") as server, server.client() as client:
            check_pages(client, millions)

    def test_lower_precision_needs_other_images(self, few: Calibration) -> None:
        from blemish.acceleration.held_out import _of_training_images
        from blemish.models import LoadedModel

        model = LoadedModel(counted_info(few), tiny_network(), Path())
        with pytest.raises(UsageError, match="too many to have the score of each; name a folder of new good images"):
            _of_training_images(model, None, "", None)  # type: ignore[arg-type]

    def test_an_update(self, few: Calibration, usual: FitReport, good: Path, tmp_path: Path) -> None:
        run = Path(shutil.copytree(usual.output, tmp_path / "run"))
        loaded = load_model(run)
        old = replace(few, scores=few.scores + 100, peaks=few.peaks + 100)
        calibration = CalibrationInfo(**old.to_json())
        save_model(loaded.folder, loaded.model, loaded.info.model_copy(update={"calibration": calibration}))
        new = tmp_path / "new"
        new.mkdir()
        for number, path in enumerate(sorted(good.iterdir())[:4]):
            cv2.imwrite(str(new / f"{number}.png"), 255 - cv2.imread(str(path)))
        report = update(run, new, calibrate=True, device="cpu")
        after = load_model(run).info
        assert report.record is not None and after.format_version == 8
        found = after.calibration.loaded()
        assert (found.image_count, found.part_count) == (3_000_004, 3_000_000 + report.record.parts)
        assert found.threshold(0.01) >= old.threshold(0.01) * 0.999


class TestTheRecord:
    def test_what_grows_with_the_images_is_bounded(self) -> None:
        hashes = [f"{number:016x}" for number in range(MOST_HASHES + 1)]
        assert listed_hashes(hashes) is None and listed_hashes(reversed(hashes[1:])) == hashes[1:]

    def test_a_record_that_is_too_large_is_not_written(self, tmp_path: Path) -> None:
        sessions = Sessions(np.arange(20_000), tuple(f"{number} {'x' * 990}" for number in range(20_000)), 20_000)
        full = replace(many(1, 20_000, 1), sessions=sessions)
        info = tiny_info(calibration=CalibrationInfo.of(full), format_version=8)
        with pytest.raises(ModelError, match="no reader takes more than 16 MiB"):
            save_model(tmp_path / "model", tiny_network(), info)
        assert not (tmp_path / "model").exists()

    def test_images_that_wait_are_not_forgotten_and_not_too_many(self, usual: FitReport, tmp_path: Path) -> None:
        run = Path(shutil.copytree(usual.output, tmp_path / "run"))
        loaded = load_model(run)
        waiting = {f"{number:016x}": [[1.0, 1.0]] for number in range(MOST_LEARNED_ONLY)}
        data = loaded.info.data.model_copy(update={"learned_only": waiting, "hashes": None})
        save_model(loaded.folder, loaded.model, loaded.info.model_copy(update={"data": data}))
        plate(tmp_path / "new" / "0.png", 100)
        with pytest.raises(UsageError, match=f"{MOST_LEARNED_ONLY + 1} images would be learned without calibration"):
            update(run, tmp_path / "new", device="cpu")

    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            ({"weights": [1] * 9}, "as many scores as peaks, weights"),
            ({"weights": [1] * 10}, "add up to the parts"),
            ({"weights": [0] * 10}, "greater than or equal to 1"),
            ({"largest": [1.0]}, "10 weights and 1 largest"),
            ({"totals": [{"images": 3, "parts": 40, "unit": 1, "images_per_part": [1, 1]}]}, "3 images of 40 parts"),
        ],
    )
    def test_counts_that_make_no_sense_are_refused(self, change: dict[str, object], fault: str) -> None:
        record = compact(many(1, 40, 1), 10).to_json()
        assert len(record["scores"]) == 10
        CalibrationInfo(**record)
        record["counted"] |= change
        with pytest.raises(ValueError, match=fault):
            CalibrationInfo(**record)

    def test_an_earlier_format_does_not_hold_it(self) -> None:
        record = CalibrationInfo(**compact(many(1, 40, 1), 10).to_json())
        with pytest.raises(ValueError, match="versions 1 to 7 do not know"):
            tiny_info(calibration=record)
        assert read_info(write_info(tiny_info(calibration=record, format_version=8), files())).calibration == record


def counted_info(calibration: Calibration) -> ModelInfo:
    return tiny_info(calibration=CalibrationInfo.of(calibration), format_version=8)


def files() -> list[tuple[str, object]]:
    from blemish.models import FileInfo

    return [(name, FileInfo(sha256="a" * 64, bytes=1)) for name in ("model.onnx", "inference.yml")]


def plate(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), level, np.uint8))
    return path


def check_pages(client: httpx.Client, full: Calibration) -> None:
    """The station tries rates on the model, and states them as all images would."""
    shown = client.get("/models/plate").text
    assert "3000000 good images" in shown
    tried = client.get("/models/plate/rate", params={"step": 100})
    assert tried.status_code == 200 and "3000000 good images support a false-alarm rate of" in tried.text
    answer = client.post("/v1/models/plate/threshold", json={"false_alarm_rate": 0.003})
    assert answer.json()["versions"][0]["threshold"] == full.threshold(0.003)
