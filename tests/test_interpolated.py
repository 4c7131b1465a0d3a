"""Thresholds between two good scores: inverse to p-values to the last digit, within the rate; old models as before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from textures import plate, write_all
from tiny_model import tiny_info, tiny_network

from blemish.calibration import Calibration, Sessions
from blemish.calibration.ranking import Ranking
from blemish.errors import ModelError
from blemish.fitting import FitReport
from blemish.models import CalibrationInfo, load_model, save_model, set_false_alarm_rate
from blemish.models.info_file import read_info, write_info
from blemish.updating import update

Floats = npt.NDArray[np.float64]


def calibration(scores: object, parts: object = None, rate: float = 0.05) -> Calibration:
    values = np.asarray(scores, np.float64)
    return Calibration(values, values, np.arange(len(values)) if parts is None else np.asarray(parts, np.int64), rate)


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),  # neighbours of a few digits apart, and overflowing differences
    st.floats(0, 1), st.integers(0, 5).map(float), st.sampled_from([1.0, np.nextafter(1, 2), 1e30, -1e308, 1e308]),
)  # fmt: skip
good = st.lists(st.tuples(numbers, st.integers(0, 8)), min_size=2, max_size=20).filter(
    lambda pairs: len({part for _, part in pairs}) > 1
)
rates = st.one_of(st.floats(1e-9, 1 - 1e-9), st.integers(1, 19).map(lambda k: k / 20))


@settings(max_examples=150, deadline=None)
@given(good, numbers, rates, st.booleans())
def test_a_value_is_above_the_limit_where_its_p_value_is_within_the_rate(
    pairs: list[tuple[float, int]], value: float, rate: float, of_parts: bool
) -> None:
    """To the last digit, also at the levels, the limits and the p-values themselves and beside them."""
    values, parts = np.array([v for v, _ in pairs]), np.array([p for _, p in pairs])
    ranking = (Ranking.of_largest if of_parts else Ranking.of)(values, parts, interpolated=True)
    least = 1 / (len(np.unique(parts)) + 1)
    rate = max(rate, least)
    values = np.concatenate([[value, ranking.limit(rate)], ranking.levels])
    rates = [rate, *ranking.p_values, *map(ranking.p_value, values)]
    with np.errstate(over="ignore"):
        values = np.concatenate([values, np.nextafter(values, np.inf), np.nextafter(values, -np.inf)])
    for one in values[np.isfinite(values)]:
        p = ranking.p_value(one)
        assert least <= p <= 1
        for other in {*rates, *np.nextafter(rates, 0)}:
            if least <= other < 1:
                assert (one > ranking.limit(other)) == (p <= other), (one, other)
    for falling in ([ranking.p_value(v) for v in np.sort(values)], [ranking.limit(r) for r in sorted(rates)]):
        assert falling == sorted(falling, reverse=True)


def test_it_lies_as_far_between_as_the_rate() -> None:
    fitted = calibration([*range(20, 50), 100])  # 31 parts: 5 % are 1.6 of 32
    assert fitted.threshold(0.05) == pytest.approx(100 - 0.6 * (100 - 49))
    assert fitted.threshold(0.1) == pytest.approx(48 - 0.2)
    assert fitted.threshold(1 / 32) == 100 and fitted.threshold(2 / 32) == 49  # a whole number of parts: a score
    assert fitted.threshold(0.001) == 100, "a rate that is not supported gets the largest"
    assert fitted.p_value(100 - 0.6 * 51) == pytest.approx(0.05)
    assert fitted.pixel_threshold(0.05) == fitted.part_threshold(0.05) == fitted.threshold(0.05)


def test_it_goes_neither_to_nor_from_a_score_of_several_parts() -> None:
    """Two of nine at 7, a score for itself above, and constant images below: at each the share of parts jumps."""
    fitted = calibration([9, 8, 7, 7, 6, 5, 1, 1, 1])
    assert [fitted.threshold(rate) for rate in (0.1, 0.2, 0.25, 0.29)] == [9, 8, 8, 8]
    assert fitted.threshold(0.15) == pytest.approx(8.5)
    assert [fitted.threshold(rate) for rate in (0.3, 0.4, 0.45, 0.49, 0.5)] == [7, 7, 7, 7, 6]
    assert fitted.p_value(7) == fitted.p_value(6.5) == 0.5 and fitted.p_value(7.5) == 0.3
    assert fitted.threshold(0.55) == pytest.approx(5.5) and fitted.threshold(0.65) == fitted.threshold(0.6) == 5
    constant = calibration(np.full(40, 3.0))
    assert {constant.threshold(rate) for rate in (0.01, 0.05, 0.5, 0.99)} == {3.0}
    assert constant.p_value(3) == 1 and constant.p_value(3.1) == 1 / 41


def test_images_of_one_part_at_one_score_are_no_jump() -> None:
    """Copies of an image are one part, and the next score is as far away as without them."""
    once, twice = calibration(range(31)), calibration(np.repeat(np.arange(31), 2), np.repeat(np.arange(31), 2))
    for rate in (0.04, 0.05, 0.33):
        assert twice.threshold(rate) == once.threshold(rate) < 30


def test_images_of_a_part_count_by_their_share() -> None:
    """Three images of each of 9 parts: 15 % are the first part that is always given, and one and a half thirds."""
    fitted = calibration(np.arange(27), np.arange(27) // 3)
    assert fitted.threshold(0.15) == pytest.approx(26 - 1.5)
    assert fitted.threshold(0.1) == 26 and fitted.threshold(0.9) == pytest.approx(2)


@pytest.mark.parametrize("rate", [0.03, 0.05, 0.1, 0.17])
def test_no_part_is_anomalous_of_which_no_image_is(rate: float) -> None:
    """Images of a part are alike: their own threshold lies between scores of one part, that of parts further down."""
    random = np.random.default_rng(3)
    scores = np.repeat(random.gamma(2, size=40), 3) + random.gamma(2, size=120) / 100
    fitted = calibration(scores, np.repeat(np.arange(40), 3))
    assert fitted.part_threshold(rate) >= fitted.threshold(rate)
    for score in random.gamma(2, size=50):
        assert (score > fitted.part_threshold(rate)) == (fitted.part_p_value(score) <= rate)


def test_the_worst_session_counts() -> None:
    sessions = Sessions(np.repeat([0, 1], [30, 25]), ("monday", "friday"), 2)
    random = np.random.default_rng(1)
    both = replace(calibration(random.gamma(2, size=55)), sessions=sessions)
    for rate in (0.04, 0.07, 0.1):
        assert both.threshold(rate) == max(one.threshold(rate) for one in both.each_session)
        for score in random.gamma(2, size=30):
            assert (score > both.threshold(rate)) == (both.p_value(score) <= rate)


def true_rates(fitted: list[Calibration], rate: float, tail: stats.rv_continuous) -> tuple[float, float]:
    """Mean share of new good parts above the thresholds, and its standard error."""
    found = tail.sf([one.threshold(rate) for one in fitted])
    return float(found.mean()), float(found.std() / len(found) ** 0.5)


@pytest.mark.parametrize("tail", [stats.expon(), stats.norm(), stats.lognorm(1)], ids=["exponential", "normal", "log"])
@pytest.mark.parametrize(("parts", "rate"), [(31, 0.05), (22, 0.1), (70, 0.02)])
def test_new_good_parts_alarm_at_most_at_the_rate(parts: int, rate: float, tail: stats.rv_continuous) -> None:
    """Where the density of scores falls; a rank more breaks the rate, and the larger score gives a part of it away."""
    samples = tail.rvs(size=(1500, parts), random_state=np.random.default_rng(parts))
    fitted = [calibration(scores) for scores in samples]
    mean, error = true_rates(fitted, rate, tail)
    assert mean <= rate + 3 * error
    rank = int(rate * (parts + 1))
    assert mean > true_rates([replace(one, interpolated=False) for one in fitted], rate, tail)[0] + 3 * error
    assert tail.sf(np.sort(samples)[:, -1 - rank]).mean() > rate + 3 * error


def test_a_uniform_tail_has_the_rate_itself() -> None:
    samples = np.random.default_rng(5).uniform(size=(2000, 31))
    mean, error = true_rates([calibration(scores) for scores in samples], 0.05, stats.uniform())
    assert abs(mean - 0.05) <= 4 * error


class TestModelFolders:
    SCORES: Floats = np.array([*range(20, 50), 100.0])

    def folder(self, place: Path, *, of_before: bool) -> Path:
        info = CalibrationInfo.of(calibration(self.SCORES))
        if of_before:
            record = info.model_dump(exclude={"interpolated"})
            info = CalibrationInfo(**record)
        return save_model(place, tiny_network(), tiny_info(calibration=info, format_version=info.least_version))

    def test_a_model_of_before_keeps_its_thresholds(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path / "old", of_before=True)
        record = json.loads((folder / "model.json").read_text())
        assert record["format_version"] == 1 and "interpolated" not in record["calibration"]
        found = load_model(folder).info.calibration.loaded()
        assert [found.threshold(rate) for rate in (0.05, 0.09, 0.1)] == [100, 49, 48]
        assert [found.p_value(score) for score in (100, 99, 49, 48.5)] == [2 / 32, 2 / 32, 3 / 32, 3 / 32]
        assert "under 9.3 %" in found.statement()

    def test_another_rate_does_not_change_the_way(self, tmp_path: Path) -> None:
        for of_before, expected in ((True, 48), (False, 47.8)):
            folder = self.folder(tmp_path / str(of_before), of_before=of_before)
            before = load_model(folder).info
            info = set_false_alarm_rate(folder, 0.1)
            assert info.calibration.interpolated is not of_before and info.format_version == before.format_version
            assert load_model(folder).info.calibration.loaded().threshold() == pytest.approx(expected)

    def test_a_new_model_says_so(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path / "new", of_before=False)
        record = json.loads((folder / "model.json").read_text())
        assert record["format_version"] == 8 and record["calibration"]["interpolated"] is True
        assert load_model(folder).info.calibration.loaded().threshold() == pytest.approx(69.4)

    @pytest.mark.parametrize("calibrate", [False, True])
    def test_an_update_keeps_the_way_unless_its_images_calibrate(
        self, usual: FitReport, tmp_path: Path, calibrate: bool
    ) -> None:
        loaded = load_model(usual.folder)
        assert loaded.info.calibration.interpolated
        info = loaded.info.calibration.model_copy(update={"interpolated": False})
        folder = save_model(tmp_path / "m", loaded.model, loaded.info.model_copy(update={"calibration": info}))
        before = load_model(folder).info.calibration.loaded()
        new = write_all(tmp_path / "new", [plate(seed) for seed in range(200, 204)])
        update(folder, new, calibrate=calibrate, false_alarm_rate=0.15, device="cpu")
        after = load_model(folder).info.calibration.loaded()
        assert after.interpolated is calibrate and after.part_count == before.part_count + 4 * calibrate
        if not calibrate:
            assert after.threshold() == before.threshold(0.15) in before.scores

    def test_a_version_that_does_not_know_it_is_refused(self) -> None:
        info = CalibrationInfo.of(calibration(self.SCORES))
        text = write_info(tiny_info(calibration=info, format_version=8), [])
        with pytest.raises(ModelError):
            read_info(text.replace(b'"format_version": 8', b'"format_version": 7'))
        with pytest.raises(ValueError, match="interpolated calibration, which format versions 1 to 7 do not know"):
            tiny_info(calibration=info, format_version=7)

    def test_a_fixed_threshold_is_not_interpolated(self) -> None:
        info = CalibrationInfo.of(Calibration.fixed(0.5, "imported"))
        assert not info.interpolated and info.least_version == 1
