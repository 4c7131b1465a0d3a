"""Metrics of image scores: how well they tell anomalous images from good ones.

Everywhere, `labels` is bool `(n,)`, True for an anomalous image, and `scores` is `(n,)`, raw and unclamped, larger
meaning more anomalous. An image counts as flagged when its score lies *above* a threshold, as in a prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError
from blemish.metrics.binomial import check_level
from blemish.metrics.counting import last_of_equals

Vector = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
Metric = Literal["auroc", "average_precision"]

_DRAWS_AT_ONCE = 4_000_000


def auroc(labels: Labels, scores: npt.ArrayLike) -> float:
    """P(anomalous score > good score) + P(equal) / 2: the area under the ROC curve (Mann and Whitney 1947).

    Raises `UsageError` if one of the classes has no image, or a score is not finite.
    """
    ranking = _rank(labels, scores, "AUROC")
    return float(_auroc(ranking.hits, ranking.alarms)[0])


def average_precision(labels: Labels, scores: npt.ArrayLike) -> float:
    """Sum over the distinct scores, falling, of (gain in recall) x precision: the step-wise area, not the trapezoid.

    Raises `UsageError` if one of the classes has no image, or a score is not finite.
    """
    ranking = _rank(labels, scores, "average precision")
    return float(_average_precision(ranking.hits, ranking.alarms)[0])


def bootstrap_interval(
    labels: Labels,
    scores: npt.ArrayLike,
    metric: Metric,
    *,
    level: float = 0.95,
    repeats: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a metric when images are drawn again, good and anomalous apart (Efron 1979).

    Deterministic for a seed. It knows only the images that were seen: scores that part the classes perfectly give
    (1, 1), which says that nothing overlapped, not that nothing will.
    Raises `UsageError` as the metric does.
    """
    check_level(level)
    labels, scores = _check(labels, scores, f"an interval of {metric}")
    order = np.argsort(-scores, kind="stable")
    last = last_of_equals(scores[order])
    measure = _METRICS[metric]
    values = [
        measure(_sums(drawn * labels[order], last), _sums(drawn * ~labels[order], last))
        for drawn in _resamples(labels[order], repeats, seed)
    ]
    low, high = np.quantile(np.concatenate(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def roc_curve(labels: Labels, scores: npt.ArrayLike) -> tuple[Vector, Vector, Vector]:
    """(false-positive rate, true-positive rate, threshold), each `(k,)`, from nothing flagged to everything flagged.

    One point per distinct score and the origin before them; at point i the images with score > threshold[i] are
    flagged. Raises `UsageError` if one of the classes has no image, or a score is not finite.
    """
    hits, alarms, thresholds = _rank(labels, scores, "a ROC curve")
    return alarms[0] / alarms[0, -1], hits[0] / hits[0, -1], thresholds


def f1_at(labels: Labels, scores: npt.ArrayLike, threshold: float) -> float:
    """2 TP / (2 TP + FP + FN) of the images flagged by score > threshold; 0 if no defect is found.

    Raises `UsageError` if no image is anomalous, or a score is not finite.
    """
    labels, scores = _check(labels, scores, "F1", good=False)
    flagged = scores > threshold
    return float(2 * np.sum(flagged & labels) / (flagged.sum() + labels.sum()))


def f1_max(labels: Labels, scores: npt.ArrayLike) -> tuple[float, float]:
    """The largest F1 over all thresholds, and the highest threshold that has it: an oracle, chosen on test labels.

    Raises `UsageError` if no image is anomalous, or a score is not finite.
    """
    hits, alarms, thresholds = _rank(labels, scores, "F1", good=False)
    values = 2 * hits[0] / (hits[0] + alarms[0] + hits[0, -1])  # (k,)
    best = int(np.argmax(values))
    return float(values[best]), float(thresholds[best])


class _Ranking(NamedTuple):
    """Images flagged when the threshold falls past each distinct score; the first point flags none."""

    hits: Vector  # (1, k) anomalous ones
    alarms: Vector  # (1, k) good ones
    thresholds: Vector  # (k,) flagged is score > threshold


def _rank(labels: Labels, scores: npt.ArrayLike, what: str, *, good: bool = True) -> _Ranking:
    """The points of every curve over thresholds."""
    labels, scores = _check(labels, scores, what, good=good)
    order = np.argsort(-scores, kind="stable")
    labels, scores = labels[order], scores[order]
    last = last_of_equals(scores)
    thresholds = np.append(scores[last], np.nextafter(scores[-1], -np.inf))  # the last one flags everything
    return _Ranking(_sums(labels[None], last), _sums(~labels[None], last), thresholds)


def _sums(weights: npt.NDArray[np.generic], last: npt.NDArray[np.intp]) -> Vector:
    """Running sums (r, k) of weights (r, n), read at the ends of ties, 0 before the first."""
    sums = np.cumsum(weights, axis=1, dtype=np.float64)[:, last]
    return np.pad(sums, ((0, 0), (1, 0)))


def _auroc(hits: Vector, alarms: Vector) -> Vector:
    """Area `(r,)` under the ROC curve, by trapezoids: a tie counts half."""
    area = np.sum(np.diff(alarms) * (hits[:, 1:] + hits[:, :-1]) / 2, axis=1)
    return np.asarray(area / (alarms[:, -1] * hits[:, -1]))


def _average_precision(hits: Vector, alarms: Vector) -> Vector:
    """Average precision `(r,)`."""
    flagged = np.maximum(hits + alarms, 1)[:, 1:]  # a resample can lack the highest scores: 0 / 0 is no gain
    return np.asarray(np.sum(np.diff(hits) * hits[:, 1:] / flagged, axis=1) / hits[:, -1])


_METRICS = {"auroc": _auroc, "average_precision": _average_precision}


def _resamples(labels: Labels, repeats: int, seed: int) -> Iterator[Vector]:
    """How often each image is drawn, (r, n) at a time, `repeats` in all; each class keeps its size."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // len(labels))
    for start in range(0, repeats, at_once):
        drawn = np.empty((min(at_once, repeats - start), len(labels)))
        for members in (labels, ~labels):
            drawn[:, members] = _draw(generator, len(drawn), int(members.sum()))
        yield drawn


def _draw(generator: np.random.Generator, repeats: int, size: int) -> npt.NDArray[np.int64]:
    """Counts (repeats, size) of `size` draws with replacement."""
    chosen = generator.integers(size, size=(repeats, size)) + size * np.arange(repeats)[:, None]
    return np.bincount(chosen.ravel(), minlength=repeats * size).reshape(repeats, size)


def _check(labels: Labels, scores: npt.ArrayLike, what: str, *, good: bool = True) -> tuple[Labels, Vector]:
    """Both as arrays, or `UsageError` if the metric is not defined on them."""
    labels, scores = np.asarray(labels, np.bool_), np.asarray(scores, np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise UsageError(f"{what} needs one label and one score per image, not {labels.shape} and {scores.shape}")
    if not np.isfinite(scores).all():
        raise UsageError(f"{what}: the score of image {int(np.argmin(np.isfinite(scores)))} is not a finite number")
    if (good and labels.all()) or not labels.any():
        needed = " and ".join(["good"] * good + ["anomalous"])
        raise UsageError(f"{what} needs {needed} images; there are {np.sum(~labels)} good, {labels.sum()} anomalous")
    return labels, scores
