"""Pixel metrics against scikit-learn, plain slow implementations of their definitions, and hand-made cases."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from blemish.errors import UsageError
from blemish.metrics import Confusion, PixelScores, counting, curve, pimo
from blemish.metrics.counting import ranks

LIMITS = (0.05, 0.3, 1.0)


def collect(pairs):
    scores = PixelScores()
    for anomaly_map, mask in pairs:
        scores.add(anomaly_map, mask)
    return scores


def pooled(pairs):
    """Scores and labels of all pixels of all images."""
    masks = [np.zeros(m.shape, bool) if mask is None else mask for m, mask in pairs]
    return np.concatenate([m.ravel() for m, _ in pairs]), np.concatenate([m.ravel() for m in masks])


def regions_of(mask):
    """Boolean masks of 8-connected regions, by flooding."""
    left = {tuple(p) for p in np.argwhere(mask)}
    while left:
        found, front = set(), [next(iter(left))]
        while front:
            y, x = front.pop()
            if (y, x) in left:
                left.remove((y, x))
                found.add((y, x))
                front += [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        region = np.zeros(mask.shape, bool)
        region[tuple(np.transpose(list(found)))] = True
        yield region


def reference_au_pro(pairs, limit):
    """The published definition: one global sort of weighted pixels, cumulative sums, the last of each tie."""
    regions = sum(0 if mask is None else len(list(regions_of(mask))) for _, mask in pairs)
    scores, overlap, alarm = [], [], []
    for anomaly_map, mask in pairs:
        weight = np.zeros(anomaly_map.shape)
        for region in [] if mask is None else regions_of(mask):
            weight[region] = 1 / region.sum() / regions
        scores += anomaly_map.ravel().tolist()
        overlap += weight.ravel().tolist()
        alarm += (weight == 0).ravel().tolist()
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    x, y = np.cumsum(np.array(alarm)[order]) / sum(alarm), np.cumsum(np.array(overlap)[order])
    last = [k for k in range(len(order)) if k + 1 == len(order) or scores[order[k]] != scores[order[k + 1]]]
    x, y = np.append(0, x[last]), np.append(0, y[last])
    area = 0.0
    for x0, x1, y0, y1 in zip(x, x[1:], y, y[1:], strict=False):
        if x0 >= limit:
            break
        end = min(x1, limit)
        at_end = y1 if x1 <= limit else y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        area += (end - x0) * (y0 + at_end) / 2
    return area / limit


def reference_au_pimo(pairs, low=1e-5, high=1e-4, steps=20_000):
    """Recall of each anomalous image, linear in the false-positive rate, averaged over a fine grid of its logarithm."""
    good = [m.ravel() for m, mask in pairs if mask is None]
    thresholds = np.unique(pooled(pairs)[0])[::-1]
    rate = np.append(0, np.mean([[np.mean(g >= t) for t in thresholds] for g in good], axis=0))
    grid = np.exp(np.linspace(np.log(low), np.log(high), 2 * steps + 1)[1::2])
    end = np.searchsorted(rate, grid, "left")  # rate[end - 1] < grid <= rate[end]
    values = []
    for anomaly_map, mask in pairs:
        if mask is not None:
            recall = np.append(0, [np.mean(anomaly_map[mask] >= t) for t in thresholds])
            part = (grid - rate[end - 1]) / (rate[end] - rate[end - 1])
            values.append(np.mean(recall[end - 1] * (1 - part) + recall[end] * part))
    return np.array(values)


@st.composite
def category(draw):
    """Good and anomalous images of different sizes, on a grid of few or many values."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels, lift = draw(st.sampled_from([1, 3, 20, 10**6])), draw(st.sampled_from([0, 0.3, 1]))
    pairs = []
    for defects in [True, *draw(st.lists(st.booleans(), max_size=4))]:
        shape = draw(st.tuples(st.integers(2, 12), st.integers(2, 12)))
        mask = generator.random(shape) < draw(st.sampled_from([0.05, 0.2, 0.5]))
        mask[0, 0], mask[1, 1] = True, False
        scores = np.round(generator.gamma(2, size=shape) * levels) / levels + mask * lift
        pairs.append((scores.astype(np.float32), mask if defects else None))
    return pairs


@settings(max_examples=60, deadline=None)
@given(category())
def test_equal_to_the_definitions(pairs):
    scores = collect(pairs)
    values, labels = pooled(pairs)
    assert scores.pixel_auroc() == pytest.approx(oracle.roc_auc_score(labels, values), abs=1e-9)
    assert scores.pixel_ap() == pytest.approx(oracle.average_precision_score(labels, values), abs=1e-9)
    for limit in LIMITS:
        assert scores.au_pro(limit) == pytest.approx(reference_au_pro(pairs, limit), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(category(), st.randoms())
def test_a_rising_transform_and_the_order_of_images_change_nothing(pairs, random):
    values = np.unique(pooled(pairs)[0])
    ranked = [(np.searchsorted(values, m).astype(np.float32) ** 2 - 50, mask) for m, mask in pairs]
    random.shuffle(ranked)
    one, other = collect(pairs), collect(ranked)
    assert other.pixel_auroc() == pytest.approx(one.pixel_auroc(), abs=1e-12)
    assert other.pixel_ap() == pytest.approx(one.pixel_ap(), abs=1e-12)
    for limit in LIMITS:
        assert other.au_pro(limit) == pytest.approx(one.au_pro(limit), abs=1e-12)
    if one.au_pimo().mean is not None:
        assert other.au_pimo().mean == pytest.approx(one.au_pimo().mean, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2))
def test_ranks_order_as_the_scores_do(values):
    scores = np.array([*values, 0.0, -0.0, *np.nextafter(np.float32(values[:2]), np.float32(0))], np.float32)
    of = ranks(scores)
    np.testing.assert_array_equal(scores[:, None] > scores, of[:, None] < of)
    np.testing.assert_array_equal(scores[:, None] == scores, of[:, None] == of)


def all_figures(scores):
    pro = [scores.au_pro(limit) for limit in LIMITS]
    return [scores.pixel_auroc(), scores.pixel_ap(), *pro, *np.ravel(scores.pro_curve(50)), *scores.au_pimo().per_image]


@settings(max_examples=30, deadline=None)
@given(category(), st.integers(1, 400))
def test_scores_on_the_disk_and_many_passes_change_nothing(pairs, memory):
    usual = collect(pairs)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(counting, "SLOTS", 2)
        for module in (counting, curve, pimo):
            patched.setattr(module, "BLOCK", 7)
        bounded = PixelScores(memory)
        for anomaly_map, mask in pairs:
            bounded.add(anomaly_map, mask)
        np.testing.assert_allclose(all_figures(bounded), all_figures(usual), rtol=1e-12, atol=1e-12)
        assert bounded.confusion_at(1.5) == usual.confusion_at(1.5)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    def peak(count):
        """Of so many images of a quarter of a megapixel, a third of them with defects everywhere among the scores."""
        generator, mask = np.random.default_rng(0), two_squares().repeat(12, 0).repeat(12, 1)
        tracemalloc.start()
        scores = PixelScores(1_000_000, tmp_path)
        for number in range(count):
            anomaly_map = generator.gamma(2, size=mask.shape).astype(np.float32)
            scores.add(anomaly_map, mask if number % 3 == 0 else None)
        assert 0.45 < scores.pixel_auroc() < 0.55
        assert np.isfinite(all_figures(scores)).all()
        scores.confusion_at(3)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(counting, "SLOTS", 512)
        for module in (counting, curve, pimo):
            patched.setattr(module, "BLOCK", 1 << 18)
        few, many = peak(3), peak(16)  # the latter have 17 MB of scores
    assert many < few + 3_000_000


def big_category(levels, sizes, seed=0):
    """Good images large enough to show a rate of 1e-5, and two anomalous ones."""
    generator = np.random.default_rng(seed)
    pairs = [(np.round(generator.gamma(2, size=s) * levels) / levels, None) for s in sizes]
    for _ in range(2):
        mask = np.zeros((50, 60), bool)
        mask[5:15, 20:40] = True
        pairs.append((np.round((generator.gamma(2, size=mask.shape) + 9 * mask) * levels) / levels, mask))
    return [(m.astype(np.float32), mask) for m, mask in pairs]


@pytest.mark.parametrize("levels", [0.4, 2, 60])
@pytest.mark.parametrize("sizes", [[(320, 320)] * 3, [(320, 330), (400, 500)], [(40, 30), (9, 5), (300, 50)]])
def test_au_pimo_equal_to_its_definition(levels, sizes):
    pairs = big_category(levels, sizes)
    found = collect(pairs).au_pimo()
    np.testing.assert_allclose(found.per_image, reference_au_pimo(pairs), atol=1e-4)
    assert found.mean == pytest.approx(found.per_image.mean())
    assert (found.note is None) == (min(h * w for h, w in sizes) >= 100_000)


def test_au_pimo_by_hand():
    good = np.arange(100_000, dtype=np.float32).reshape(250, 400)  # the k-th highest pixel has rate k / 100,000
    mask = np.eye(2, dtype=bool)
    # one defect pixel above all good ones, the other below the fourth highest: found from rate 4e-5 on
    scores = collect([(good, None), (np.array([[2e5, 0], [0, 99_995.5]], np.float32), mask)])
    found = scores.au_pimo()
    assert found.mean == pytest.approx(0.5 + 0.5 * np.log10(10 / 4))
    assert found.note is None


def test_au_pimo_sees_good_images_only():
    pairs = big_category(60, [(320, 320)] * 2)
    loud = [(m if mask is None else np.where(mask, m, 1e6).astype(np.float32), mask) for m, mask in pairs]
    np.testing.assert_array_equal(collect(pairs).au_pimo().per_image, collect(loud).au_pimo().per_image)


def test_au_pimo_where_the_highest_pixels_lie_in_one_of_many_good_images():
    pairs = big_category(60, [(30, 30)] * 9 + [(500, 600)])
    lifted = [(m + np.float32(5 * (m.size == 300_000)), mask) for m, mask in pairs]
    np.testing.assert_allclose(collect(lifted).au_pimo().per_image, reference_au_pimo(lifted), atol=1e-4)


def test_au_pimo_says_when_it_is_not_reliable_or_not_defined():
    mask = np.eye(4, dtype=bool)
    small = collect([(np.zeros((4, 4), np.float32), None), (mask.astype(np.float32), mask)])
    assert small.au_pimo().mean == 1
    assert "a good image has 16 pixels, fewer than 100,000" in small.au_pimo().note
    only_bad, only_good = collect([(mask.astype(np.float32), mask)]), collect([(np.eye(4, dtype=np.float32), None)])
    for scores, missing in ((only_bad, "good"), (only_good, "anomalous")):
        assert scores.au_pimo().mean is None
        assert len(scores.au_pimo().per_image) == 0
        assert f"there is no {missing} image" in scores.au_pimo().note


def two_squares():
    mask = np.zeros((40, 50), bool)
    mask[3:9, 3:9] = mask[20:36, 30:46] = True
    return mask


@pytest.mark.parametrize("limit", [0.001, 0.05, 0.3, 1.0])
def test_a_perfect_detector_has_all_of_it_at_any_limit(limit):
    mask = two_squares()
    noise = np.random.default_rng(0).random(mask.shape, np.float32)
    assert collect([(noise + 2 * mask, mask), (noise, None)]).au_pro(limit) == pytest.approx(1, abs=1e-12)
    assert collect([(mask.astype(np.float32), mask)]).au_pro(limit) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("limit", LIMITS)
def test_a_constant_map_is_the_diagonal(limit):
    mask = two_squares()
    scores = collect([(np.full(mask.shape, 7, np.float32), mask)])
    assert scores.au_pro(limit) == pytest.approx(limit / 2)
    assert scores.pixel_auroc() == 0.5
    assert scores.pixel_ap() == pytest.approx(mask.mean())


def test_a_detector_upside_down_finds_nothing_within_the_limit():
    mask = two_squares()
    scores = collect([(-mask.astype(np.float32), mask)])
    assert (scores.au_pro(0.3), scores.pixel_auroc()) == (0, 0)


def test_small_and_large_regions_weigh_the_same():
    mask = two_squares()
    only_small = np.zeros(mask.shape, np.float32)
    only_small[3:9, 3:9] = 1
    # half of the regions at once, the other half with everything else: y runs from 0.5 to 1
    assert collect([(only_small, mask)]).au_pro(1.0) == pytest.approx(0.75)
    one_pixel = np.zeros((9, 9), bool)
    one_pixel[4, 4] = True
    both = [(only_small, mask), (np.zeros((9, 9), np.float32), one_pixel)]
    assert collect(both).au_pro(1.0) == pytest.approx((1 / 3 + 1) / 2)


def test_pixels_that_touch_by_a_corner_are_one_region():
    mask = np.zeros((6, 6), bool)
    mask[1, 1] = mask[2, 2] = mask[4, 4] = True  # a region of two pixels, and one of one
    scores = np.zeros((6, 6), np.float32)
    scores[1, 1] = 1  # half of the first region: a quarter of the mean
    assert collect([(scores, mask)]).au_pro(1.0) == pytest.approx((0.25 + 1) / 2)


def test_the_limit_is_interpolated():
    # ten good pixels, in steps of a tenth; the limit 0.25 falls between two of them and inside a tie with the defect
    mask = np.array([[True] + [False] * 10])
    scores = np.array([[5, 9, 8, 5, 5, 1, 1, 1, 1, 1, 1]], np.float32)
    # 0 to rate 0.2, then straight to 1 at rate 0.4
    assert collect([(scores, mask)]).au_pro(0.25) == pytest.approx(0.05 * 0.25 / 2 / 0.25)
    assert collect([(scores, mask)]).au_pro(0.4) == pytest.approx(0.2 * 1 / 2 / 0.4)


def test_pro_curve_is_thin_exact_and_reaches_the_limit():
    generator = np.random.default_rng(0)
    mask = two_squares()
    scores = collect([((generator.random(mask.shape) + 0.7 * mask).astype(np.float32), mask)])
    full, thin = scores.pro_curve(10**6, 0.3), scores.pro_curve(40, 0.3)
    assert 20 <= len(thin[0]) <= 40
    assert set(zip(*thin, strict=True)) <= set(zip(*full, strict=True))
    for rate, overlap in (full, thin):
        assert (rate[0], overlap[0], rate[-1]) == (0, 0, 0.3)
        assert (np.diff(rate) >= 0).all()
        assert (np.diff(overlap) >= 0).all()
    assert oracle.auc(*full) / 0.3 == pytest.approx(scores.au_pro(0.3))
    assert oracle.auc(*thin) / 0.3 == pytest.approx(scores.au_pro(0.3), abs=0.02)
    assert scores.pro_curve(50)[0][-1] == scores.pro_curve(50)[1][-1] == 1


def test_what_is_not_defined_is_none_and_says_why():
    noise = np.random.default_rng(0).random((8, 8), np.float32)
    good = collect([(noise, None), (noise, np.zeros((8, 8), bool))])
    full = collect([(noise, np.ones((8, 8), bool))])
    for scores, reason in ((good, "no pixel is marked as a defect"), (full, "no pixel is good")):
        assert scores.undefined == reason
        assert scores.pixel_auroc() is scores.pixel_ap() is scores.au_pro() is scores.pro_curve() is None
    assert collect([]).undefined is not None
    full.add(noise, None)
    assert full.undefined is None
    assert full.pixel_auroc() == pytest.approx(0.5)


def test_an_image_added_after_a_look_counts():
    pairs = big_category(60, [(30, 30)])
    scores = collect(pairs[:-1])
    first = scores.au_pro()
    scores.add(*pairs[-1])
    assert scores.au_pro() == collect(pairs).au_pro() != first


def test_maps_are_copied():
    noise = np.random.default_rng(0).random((8, 8), np.float32)
    mask = np.eye(8, dtype=bool)
    scores, expected = collect([(noise, None), (noise, mask)]), collect([(noise.copy(), None), (noise.copy(), mask)])
    noise[:] = 0
    mask[:] = False
    assert scores.pixel_auroc() == expected.pixel_auroc()


@pytest.mark.parametrize(
    ("anomaly_map", "mask", "message"),
    [
        (np.full((3, 3), np.nan, np.float32), None, "not finite numbers"),
        (np.array([[1, np.inf]], np.float32), None, "not finite numbers"),
        (np.zeros((1, 3, 3), np.float32), None, "has two dimensions"),
        (np.zeros((0, 3), np.float32), None, "has two dimensions"),
        (np.zeros((3, 3), np.float32), np.zeros((3, 4), bool), r"mask \(3, 4\) does not fit a map \(3, 3\)"),
        (np.zeros((3, 3), np.float32), np.zeros((3, 3), np.uint8), "a uint8 mask"),
    ],
)
def test_a_wrong_map_or_mask_is_refused_and_leaves_nothing(anomaly_map, mask, message):
    scores = PixelScores()
    with pytest.raises(UsageError, match=message):
        scores.add(anomaly_map, mask)
    assert scores.confusion_at(0).accuracy is None


@pytest.mark.parametrize("limit", [0, -1, 1.5])
def test_a_wrong_limit_is_refused(limit):
    scores = collect(big_category(60, [(9, 9)]))
    for call in (scores.au_pro, lambda limit: scores.pro_curve(limit=limit)):
        with pytest.raises(UsageError, match="lies in"):
            call(limit)


@settings(max_examples=40, deadline=None)
@given(category(), st.floats(0, 4))
def test_confusion_equal_to_scikit_learn(pairs, threshold):
    confusion = collect(pairs).confusion_at(threshold)
    values, labels = pooled(pairs)
    flagged = values > np.float32(threshold)
    (tn, fp), (fn, tp) = oracle.confusion_matrix(labels, flagged, labels=[False, True])
    assert confusion == Confusion(tp, fp, fn, tn)
    assert confusion.miou == pytest.approx(oracle.jaccard_score(labels, flagged, average="macro", labels=[0, 1]))
    assert confusion.accuracy == pytest.approx(oracle.accuracy_score(labels, flagged))
    assert confusion.kappa == pytest.approx(oracle.cohen_kappa_score(labels, flagged))
    assert confusion.dice == pytest.approx(oracle.f1_score(labels, flagged))


def test_a_model_that_never_fires_earns_half_of_the_miou_and_nothing_else():
    mask = np.zeros((300, 300), bool)
    mask[:30, :30] = True
    confusion = collect([(np.zeros(mask.shape, np.float32), mask)]).confusion_at(1)
    assert confusion.miou == pytest.approx(0.5, abs=0.01)
    assert (confusion.kappa, confusion.dice, confusion.accuracy) == (0, 0, 0.99)


def test_a_class_that_is_nowhere_earns_no_number():
    quiet = collect([(np.zeros((5, 5), np.float32), None)])
    confusion = quiet.confusion_at(1)
    assert (confusion.miou, confusion.dice, confusion.kappa, confusion.accuracy) == (None, None, None, 1)
    noisy = quiet.confusion_at(-1)  # everything flagged, nothing of it a defect
    assert (noisy.miou, noisy.dice, noisy.kappa, noisy.accuracy) == (0, 0, 0, 0)


def test_regions_are_those_at_full_resolution():
    """A tiny region counts as much as any: it must not vanish as it would in a mask made smaller."""
    mask = np.zeros((900, 900), bool)
    mask[100:400, 100:400] = mask[700, 700] = True
    smooth = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3)
    smooth[700, 700] = 0
    assert collect([(smooth, mask)]).au_pro(0.3) == pytest.approx(0.5, abs=0.1)
