"""Image metrics against scikit-learn, scipy and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as oracle

from blemish.errors import UsageError
from blemish.metrics import (
    auroc,
    average_precision,
    binomial_interval,
    bootstrap_interval,
    f1_at,
    f1_max,
    image,
    roc_curve,
)
from blemish.metrics.binomial import binomial_tail

GOOD, BAD = False, True


@st.composite
def scored(draw):
    """Labels of both classes with scores on a coarse grid, so that most are tied."""
    n = draw(st.integers(2, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = generator.random(n) < draw(st.floats(0.05, 0.95))
    labels[:2] = [GOOD, BAD]
    return labels, generator.integers(0, draw(st.integers(1, 12)), n) / 8 + labels * draw(st.integers(0, 8)) / 8


@settings(max_examples=50, deadline=None)
@given(scored())
def test_equal_to_scikit_learn(case):
    labels, scores = case
    assert auroc(labels, scores) == pytest.approx(oracle.roc_auc_score(labels, scores), abs=1e-9)
    expected = oracle.average_precision_score(labels, scores)
    assert average_precision(labels, scores) == pytest.approx(expected, abs=1e-9)
    for threshold in (scores.min() - 1, np.median(scores), scores.max()):
        assert f1_at(labels, scores, threshold) == pytest.approx(oracle.f1_score(labels, scores > threshold), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(scored())
def test_roc_curve_is_that_of_scikit_learn_and_its_thresholds_flag_what_lies_above(case):
    labels, scores = case
    fpr, tpr, thresholds = roc_curve(labels, scores)
    expected_fpr, expected_tpr, _ = oracle.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(fpr, expected_fpr, atol=1e-12)
    np.testing.assert_allclose(tpr, expected_tpr, atol=1e-12)
    for x, y, threshold in zip(fpr, tpr, thresholds, strict=True):
        assert x == np.mean(scores[~labels] > threshold)
        assert y == np.mean(scores[labels] > threshold)
    assert np.isfinite(thresholds).all()


@settings(deadline=None)
@given(scored())
def test_f1_max_is_the_best_of_all_thresholds(case):
    labels, scores = case
    value, threshold = f1_max(labels, scores)
    every = [f1_at(labels, scores, t) for t in np.append(scores, scores.min() - 1)]
    assert value == max(every) == f1_at(labels, scores, threshold)


@settings(deadline=None)
@given(scored())
def test_a_rising_transform_of_the_scores_changes_nothing(case):
    labels, scores = case
    other = np.exp(scores) * 5 - 100
    assert auroc(labels, other) == auroc(labels, scores)
    assert average_precision(labels, other) == average_precision(labels, scores)
    assert f1_max(labels, other)[0] == f1_max(labels, scores)[0]
    assert bootstrap_interval(labels, other, "auroc", repeats=20) == bootstrap_interval(
        labels, scores, "auroc", repeats=20
    )


@settings(deadline=None)
@given(scored(), st.randoms())
def test_the_order_of_the_images_changes_nothing(case, random):
    labels, scores = case
    order = random.sample(range(len(labels)), len(labels))
    assert auroc(labels[order], scores[order]) == auroc(labels, scores)
    assert average_precision(labels[order], scores[order]) == average_precision(labels, scores)


def test_hand_made_values():
    assert auroc([GOOD, GOOD, BAD, BAD], [1, 2, 2, 3]) == 3.5 / 4
    assert auroc([GOOD, BAD], [5, 5]) == 0.5
    assert average_precision([BAD, GOOD, BAD], [3, 2, 1]) == pytest.approx((1 + 2 / 3) / 2)
    assert f1_max([GOOD, BAD, BAD], [1, 2, 3]) == (1, 1)
    assert f1_max([BAD, BAD], [1, 1])[0] == 1
    assert f1_max([BAD, GOOD, GOOD, BAD], [5, 4, 3, 2]) == (2 / 3, 4)  # as good as flagging all four


def test_tiny_differences_are_not_ties():
    scores = [1.0, np.nextafter(1.0, 2)]
    assert auroc([GOOD, BAD], scores) == 1
    assert auroc([GOOD, BAD], [5e-324, 1e-323]) == 1
    assert auroc([GOOD, BAD], [-1.7e308, 1.7e308]) == 1


def test_bootstrap_interval_is_that_of_a_plain_loop():
    generator = np.random.default_rng(3)
    labels = generator.random(80) < 0.4
    scores = np.round(generator.normal(size=80) + labels, 1)
    good, bad = scores[~labels], scores[labels]
    for metric, measure in (("auroc", auroc), ("average_precision", average_precision)):
        values = []
        for _ in range(800):
            drawn = generator.choice(good, len(good)), generator.choice(bad, len(bad))
            values.append(measure(np.repeat([GOOD, BAD], [len(good), len(bad)]), np.concatenate(drawn)))
        expected = np.quantile(values, [0.025, 0.975])
        low, high = bootstrap_interval(labels, scores, metric, repeats=4000)
        np.testing.assert_allclose([low, high], expected, atol=0.02)
        narrow = bootstrap_interval(labels, scores, metric, level=0.5)
        assert low < narrow[0] < measure(labels, scores) < narrow[1] < high


def test_bootstrap_interval_repeats_with_its_seed_and_may_draw_in_parts(monkeypatch):
    generator = np.random.default_rng(0)
    labels, scores = np.arange(40) % 2 == 0, generator.random(40)
    first = bootstrap_interval(labels, scores, "auroc", repeats=300, seed=5)
    assert first == bootstrap_interval(labels, scores, "auroc", repeats=300, seed=5)
    assert first != bootstrap_interval(labels, scores, "auroc", repeats=300, seed=6)
    monkeypatch.setattr(image, "_DRAWS_AT_ONCE", 100)
    np.testing.assert_allclose(bootstrap_interval(labels, scores, "auroc", repeats=300, seed=5), first, atol=0.05)
    assert bootstrap_interval([GOOD, GOOD, BAD], [1, 2, 3], "average_precision") == (1, 1)


@pytest.mark.parametrize("n", [1, 2, 7, 60, 1000, 20_000])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_binomial_interval_is_that_of_scipy(n, level):
    for k in sorted({0, 1, n // 3, n - 1, n}):
        expected = stats.binomtest(k, n).proportion_ci(level, method="exact")
        np.testing.assert_allclose(binomial_interval(k, n, level), expected, rtol=1e-8, atol=1e-12)


def test_binomial_interval_of_no_trials():
    assert binomial_interval(0, 0) == (0, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auroc([GOOD, GOOD], [1, 2]), "AUROC needs good and anomalous images; there are 2 good, 0 anomalous"),
        (lambda: average_precision([BAD], [1]), "average precision needs good and anomalous images; there are 0 good"),
        (lambda: roc_curve([], []), "a ROC curve needs good and anomalous images"),
        (lambda: bootstrap_interval([BAD], [1], "auroc"), "an interval of auroc needs good and anomalous"),
        (lambda: f1_at([GOOD], [1], 0), "F1 needs anomalous images; there are 1 good, 0 anomalous"),
        (lambda: f1_max([GOOD], [1]), "F1 needs anomalous images"),
        (lambda: auroc([GOOD, BAD], [1, float("nan")]), "the score of image 1 is not a finite number"),
        (lambda: f1_at([GOOD, BAD], [float("inf"), 1], 0), "the score of image 0 is not a finite number"),
        (lambda: auroc([GOOD, BAD], [1, 2, 3]), "one label and one score per image"),
        (lambda: auroc([[GOOD, BAD]], [[1, 2]]), "one label and one score per image"),
        (lambda: binomial_interval(3, 2), "3 of 2 is no share"),
        (lambda: binomial_interval(1, 2, 1.0), "the level of an interval lies between 0 and 1"),
        (lambda: bootstrap_interval([GOOD, BAD], [1, 2], "auroc", level=95), "the level of an interval"),
    ],
)
def test_what_is_not_defined_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.parametrize(
    ("least", "trials", "chance"), [(0, 5, 0.3), (3, 5, 0.3), (5, 5, 0.3), (30, 41, 0.05), (900, 2000, 0.4)]
)
def test_the_binomial_tail_is_that_of_scipy(least, trials, chance):
    assert binomial_tail(least, trials, chance) == pytest.approx(stats.binom.sf(least - 1, trials, chance), rel=1e-9)
