"""Thresholds and p-values: exact relations, validity by simulation with a planted wrong rule, and what is said."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from blemish.calibration import Calibration, LeftOut, cross_fitted
from blemish.detectors import Detector
from blemish.errors import UsageError
from blemish.images import Frame, InputGeometry, Inputs, Tiling

Floats = npt.NDArray[np.float64]


def calibration(scores: object, parts: object = None, rate: float = 0.01) -> Calibration:
    values = np.asarray(scores, np.float64)
    numbers = np.arange(len(values)) if parts is None else np.asarray(parts, np.int64)
    return Calibration(values, values + 1, numbers, rate)


def exact_p(scores: list[float], parts: list[int], score: float) -> Fraction:
    """The p-value by its definition, in exact arithmetic."""
    weights: dict[float, Fraction] = {}
    for each, part in zip(scores, parts, strict=True):
        weights[each] = weights.get(each, Fraction(0)) + Fraction(1, parts.count(part))
    above, below = [s for s in weights if s >= score], [s for s in weights if s < score]
    weight = sum((weights[s] for s in above), Fraction(0))
    if above and below and max(weights[min(above)], weights[max(below)]) <= 1:
        high, low = Fraction(min(above)), Fraction(max(below))
        weight -= weights[min(above)] * (1 - (high - Fraction(score)) / (high - low))
    return (1 + weight) / (len(set(parts)) + 1)


images = st.lists(st.tuples(st.integers(0, 6).map(float), st.integers(0, 9)), min_size=2, max_size=30).filter(
    lambda pairs: len({part for _, part in pairs}) > 1
)
rates = st.one_of(
    st.floats(1e-6, 1 - 1e-6),
    st.tuples(st.integers(1, 40), st.integers(2, 41)).filter(lambda t: t[0] < t[1]).map(lambda t: t[0] / t[1]),
)


@settings(max_examples=200, deadline=None)
@given(images, rates, st.one_of(st.integers(-1, 7).map(float), st.floats(-1, 7)))
@example([(float(i), i) for i in range(99)], 0.07, 93.0)
@example([(float(i // 3), i // 3) for i in range(57)], 0.05, 19.0)
@example([(float(i % 3), i // 3) for i in range(57)], 0.35, 1.0)
def test_above_the_threshold_is_a_small_p_value(pairs: list[tuple[float, int]], rate: float, score: float) -> None:
    scores, parts = [s for s, _ in pairs], [p for _, p in pairs]
    fitted = calibration(scores, parts)
    p = fitted.p_value(score)
    assert p == pytest.approx(float(exact_p(scores, parts, score)), abs=1e-9)
    if rate >= fitted.best_rate:
        assert (score > fitted.threshold(rate)) == (p <= rate)
    else:
        assert fitted.threshold(rate) == max(scores)
        assert (score > fitted.threshold(rate)) == (p == fitted.best_rate)


@settings(max_examples=200, deadline=None)
@given(images, rates, rates)
def test_more_rate_never_raises_a_threshold(pairs: list[tuple[float, int]], one: float, other: float) -> None:
    fitted = calibration(*zip(*pairs, strict=True))
    low, high = sorted((one, other))
    assert fitted.threshold(high) <= fitted.threshold(low)
    assert fitted.pixel_threshold(high) <= fitted.pixel_threshold(low)
    before = replace(fitted, interpolated=False)
    assert fitted.threshold(high) <= before.threshold(high) in fitted.scores
    assert fitted.pixel_threshold(low) <= before.pixel_threshold(low) in fitted.peaks


def test_stated_rates_are_reached_exactly() -> None:
    """99 parts and a rate of k % leave k - 1 good scores above the threshold, for every k."""
    fitted = calibration(np.arange(99))
    assert [int((fitted.scores > fitted.threshold(k / 100)).sum()) for k in range(1, 100)] == list(range(99))


def test_images_of_one_part_add_up_to_one_part() -> None:
    """11 of 13 parts, three images each: thirds that do not add up to whole numbers in floating point."""
    fitted = calibration(np.arange(39), np.arange(39) // 3)
    assert [fitted.p_value(39 - 3 * parts) <= (parts + 1) / 14 for parts in range(13)] == [True] * 13


def test_p_values_are_between_the_best_rate_and_one() -> None:
    fitted = calibration([1.0, 2.0, 2.0, 5.0], [0, 1, 1, 2])
    assert fitted.p_value(9) == fitted.best_rate == 0.25
    assert fitted.p_value(-9) == 1 and fitted.p_value(float("inf")) == 0.25
    assert fitted.p_value(2) == pytest.approx(0.5) and fitted.p_value(2) > 0.5
    assert fitted.p_value(1.5) == pytest.approx(0.625) and fitted.p_value(1) == 1


def test_a_part_counts_once_however_many_images_show_it() -> None:
    """Seen 50 times, one odd part is still one of ten."""
    scores, parts = [9.0] * 50 + [float(i) for i in range(9)], [0] * 50 + list(range(1, 10))
    assert calibration(scores, parts).p_value(8.5) == pytest.approx(1.5 / 11)
    assert calibration(scores).p_value(8.5) > 0.8


def test_the_pixel_threshold_limits_good_images_with_any_region() -> None:
    random = np.random.default_rng(0)
    fitted = Calibration(random.normal(size=400), random.gamma(2, size=400), np.arange(400))
    for rate in (0.01, 0.05, 0.2):
        assert (fitted.peaks > fitted.pixel_threshold(rate)).mean() <= rate


def flagged(rate: float, by_part: bool, worlds: int = 3000, parts: int = 40) -> int:
    """In how many independent worlds an image of a new part is called anomalous.

    Parts have between 1 and 12 images; the images of a part are alike, and odd parts are photographed more often:
    its photographer looked twice.
    """
    random = np.random.default_rng(int(rate * 1000))
    count = 0
    for _ in range(worlds):
        level = random.normal(size=parts + 1)
        numbers = np.repeat(np.arange(parts + 1), np.where(level > 1, 1, random.integers(4, 13, parts + 1)))
        scores = level[numbers] + 0.1 * random.normal(size=len(numbers))
        known = numbers < parts
        groups = numbers[known] if by_part else np.arange(known.sum())
        count += Calibration(scores[known], scores[known], groups).p_value(scores[-1]) <= rate
    return count


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_realised_rate_on_new_parts(rate: float) -> None:
    """Within the exact 99.9 % band of the largest attainable rate; counting images instead of parts is far outside."""
    attainable = np.floor(rate * 41) / 41
    low, high = binom.ppf([0.0005, 0.9995], 3000, attainable)
    assert low <= flagged(rate, by_part=True) <= high
    assert not low <= flagged(rate, by_part=False) <= high


@pytest.mark.parametrize("parts", [2, 20, 59, 99, 60, 1000])
@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05, 0.3, 0.9])
def test_upper_rate_is_the_beta_law(parts: int, rate: float) -> None:
    """Of the whole rank; between two ranks as far as the rate is, if the threshold is."""
    expected = Fraction(str(rate)) * (parts + 1)
    rank = max(1, int(expected))
    whole, above = (beta.ppf(0.95, k, parts + 1 - k) if k <= parts else 1 for k in (rank, rank + 1))
    fitted = calibration(range(parts))
    assert replace(fitted, interpolated=False).upper_rate(rate) == pytest.approx(whole, rel=1e-9)
    assert fitted.upper_rate(rate) == pytest.approx(whole + max(0, expected - rank) * (above - whole), rel=1e-9)


@pytest.mark.parametrize(("parts", "rate", "least"), [(79, 0.05, 0.04), (80, 0.05, 0.04), (31, 0.05, 0.03)])
def test_upper_rate_holds_in_simulation(parts: int, rate: float, least: float) -> None:
    """The threshold's true rate is above the stated bound in one world of twenty, or, between two ranks, in fewer."""
    random = np.random.default_rng(4)
    upper = calibration(np.arange(parts)).upper_rate(rate)
    true_rates = [1 - calibration(random.uniform(size=parts)).threshold(rate) for _ in range(2000)]
    low, high = binom.ppf([0.0005, 0.9995], 2000, [least, 0.05])
    assert low <= sum(rate > upper for rate in true_rates) <= high


@pytest.mark.parametrize(
    ("images", "parts", "rate", "statement"),
    [
        (
            60,
            60,
            0.01,
            "60 good images support a false-alarm rate of 1.6 % at best, not 1 %; 95 % confidence: under 4.9 %. "
            "99 parts would support 1 %.",
        ),
        (300, 300, 0.01, "300 good images support a false-alarm rate of 1 %; 95 % confidence: under 2.1 %."),
        (
            120,
            20,
            0.05,
            "120 good images of 20 parts support a false-alarm rate of 5 % of images; 95 % confidence: under 22 %. "
            "Verdicts of parts: 5 % of parts; 95 % confidence: under 15 %.",
        ),
        (
            5,
            2,
            0.05,
            "5 good images of 2 parts support a false-alarm rate of 33 % of images at best, not 5 %; 95 % confidence: "
            "under 78 %. Verdicts of parts: 33 % of parts; 95 % confidence: under 78 %. 19 parts would support 5 %.",
        ),
        (62, 62, 0.02, "62 good images support a false-alarm rate of 2 %; 95 % confidence: under 5.5 %."),  # 5.43 %
        (48, 48, 1 / 49, "48 good images support a false-alarm rate of 2 %; 95 % confidence: under 6.1 %."),
        (
            47,
            47,
            1 / 49,
            "47 good images support a false-alarm rate of 2.1 % at best, not 2 %; 95 % confidence: under 6.2 %. "
            "48 parts would support 2 %.",
        ),
    ],
)
def test_statements(images: int, parts: int, rate: float, statement: str) -> None:
    assert calibration(range(images), np.arange(images) % parts).statement(rate) == statement


def test_one_part_supports_nothing() -> None:
    for images in (1, 12):
        guess = calibration(range(images), [7] * images)
        said = guess.statement()
        assert "Not calibrated" in said and "too few for any false-alarm rate" in said and "20 parts" in said
        assert not guess.is_calibrated and guess.stated_rate is None and guess.upper_rate() == 1
        assert guess.p_value(100) is None and guess.p_value(-1) is None
        assert guess.threshold() == images - 1 and guess.pixel_threshold() == images  # the largest of each
        for ask in (guess.threshold, guess.pixel_threshold, guess.with_rate):
            with pytest.raises(UsageError, match="not calibrated, since its good images show one part"):
                ask(0.05)
    assert calibration([1.0, 2.0], rate=0.05).stated_rate == 0.05


def test_another_rate_without_new_scores() -> None:
    fitted = calibration(range(200), rate=0.05)
    assert fitted.threshold() == fitted.threshold(0.05) != fitted.threshold(0.2)
    assert fitted.with_rate(0.2).threshold() == fitted.threshold(0.2)
    assert fitted.with_rate(0.2).statement() == fitted.statement(0.2)


@settings(max_examples=50, deadline=None)
@given(images, rates)
def test_to_json_and_back(pairs: list[tuple[float, int]], rate: float) -> None:
    scores, parts = zip(*pairs, strict=True)
    fitted = Calibration(np.array(scores) / 3, np.array(scores) / 7, np.array(parts), rate, "a kind")
    back = Calibration.from_json(json.loads(json.dumps(fitted.to_json())))
    for name in ("scores", "peaks", "parts"):
        np.testing.assert_array_equal(getattr(back, name), getattr(fitted, name))
    assert (back.false_alarm_rate, back.kind) == (rate, "a kind")


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan"), float("inf")])
def test_refuses_what_is_no_rate(rate: float) -> None:
    two = calibration([1.0, 2.0])
    for call in (two.threshold, two.statement, two.with_rate):
        with pytest.raises(UsageError, match="between 0 and 1"):
            call(rate)
    with pytest.raises(UsageError, match="between 0 and 1"):
        calibration([1.0], rate=rate)


def test_refuses_scores_that_cannot_calibrate() -> None:
    with pytest.raises(UsageError, match="at least one"):
        calibration([])
    with pytest.raises(UsageError, match="as many"):
        Calibration(np.ones(3), np.ones(3), np.arange(2))
    with pytest.raises(UsageError, match="not a finite"):
        calibration([1.0, float("nan")])


class Brightness(Detector):
    """Scores an image by how far its grey level is from the nearest it was fitted on: easy to follow by hand."""

    Parameters = dict

    def fit(self, images, progress=None):  # type: ignore[no-untyped-def]
        self.levels = np.array([image[0, 0, 0] for image in images], np.float32)
        return self

    def graph(self):  # type: ignore[no-untyped-def]
        from blemish.graph import GraphBuilder

        graph = GraphBuilder()
        image = graph.input("image", np.uint8, ["N", 4, 4, 3])
        grey = graph.node("ReduceMean", graph.node("Cast", image, to=1), axes=[3], keepdims=1)  # [N, 4, 4, 1]
        apart = graph.node("Abs", graph.node("Sub", grey, graph.constant(self.levels)))  # [N, 4, 4, levels]
        nearest = graph.node("ReduceMin", apart, axes=[3], keepdims=0)
        graph.output(nearest, "anomaly_map", np.float32, ["N", 4, 4])
        graph.output(graph.node("ReduceMax", nearest, axes=[1, 2], keepdims=0), "score", np.float32, ["N"])
        return graph.model("brightness")


class TestCrossFitting:
    def scores(self, levels: list[int], parts: list[int]) -> LeftOut:
        grey = [np.full((4, 4, 3), level, np.uint8) for level in levels]
        inputs = Inputs(grey, Frame.whole(InputGeometry(4, 4, 1.0)), [(4, 4)] * len(grey))
        return cross_fitted(lambda: Brightness(None), inputs, np.array(parts), "cpu")  # type: ignore[arg-type]

    def test_a_part_is_judged_by_the_others(self) -> None:
        found = self.scores([10, 10, 40, 40, 100, 102], [5, 5, 0, 0, 9, 9])
        assert found.scores.tolist() == [30, 30, 30, 30, 60, 62]
        np.testing.assert_array_equal(found.scores, found.peaks)

    def test_the_tiles_of_an_image_are_one_part(self) -> None:
        """The right half of the odd image is odd; its left half, like all others, says nothing against that."""
        images = [np.full((4, 8, 3), 10, np.uint8) for _ in range(6)]
        images[3][:, 4:] = 90
        frame = Frame(InputGeometry(8, 4, 2.0), Tiling(4, 4, 2, 1, 4, 4))
        inputs = Inputs(images, frame, [(8, 4)] * 6)
        found = cross_fitted(lambda: Brightness(None), inputs, np.arange(6), "cpu")  # type: ignore[arg-type]
        assert found.scores.tolist() == found.peaks.tolist() == [0, 0, 0, 80, 0, 0]

    def test_folds_hold_whole_parts(self) -> None:
        """12 parts in 5 folds: no image is scored by its twin, in whatever order they come."""
        levels = [20 * part for part in range(12)] * 2
        assert self.scores(levels, list(range(12)) * 2).scores.min() == 20


class TestWithoutGoodImages:
    """What an imported model without good images can say."""

    FIXED = Calibration.fixed(0.01, "not calibrated")

    def test_the_fixed_threshold_decides_and_nothing_is_promised(self):
        assert self.FIXED.threshold() == self.FIXED.pixel_threshold() == 0.01
        assert self.FIXED.best_rate == self.FIXED.upper_rate() == 1
        assert self.FIXED.p_value(1e9) is None and self.FIXED.stated_rate is None and not self.FIXED.is_calibrated
        assert self.FIXED.statement().startswith("Not calibrated: 0.01")

    def test_a_rate_is_refused(self):
        for ask in (self.FIXED.threshold, self.FIXED.pixel_threshold, self.FIXED.with_rate):
            with pytest.raises(UsageError, match="not calibrated"):
                ask(0.05)

    def test_it_is_kept(self):
        read = Calibration.from_json(self.FIXED.to_json())
        assert read.fixed_threshold == 0.01 and read.kind == "not calibrated" and len(read.scores) == 0

    def test_scores_and_a_fixed_threshold_exclude_each_other(self):
        for scores, fixed in ((np.ones(2), 0.5), (np.empty(0), None)):
            with pytest.raises(UsageError, match="or else a fixed threshold"):
                Calibration(scores, scores, np.arange(len(scores)), fixed_threshold=fixed)
