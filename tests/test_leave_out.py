"""Scores without an image's own part are those of a bank that never knew the part."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from blemish.detectors.coreset import greedy_coreset
from blemish.detectors.leave_out import FARTHEST, RefilledBank, left_out_distances
from blemish.detectors.memory_bank import MemoryBank

Floats = npt.NDArray[np.float32]


def textures(seed: int, images: int, cells: int = 60, dimensions: int = 6) -> Floats:
    """Features `(n, P, d)` with clusters that all images share and oddities that each has for itself."""
    random = np.random.default_rng(seed)
    centres = 4 * random.normal(size=(8, dimensions))
    features = centres[random.integers(8, size=(images, cells))] + random.normal(size=(images, cells, dimensions))
    features[:, 0] += 3 * random.normal(size=(images, dimensions))
    return features.astype(np.float32)


def bank_of(features: Floats, count: int) -> MemoryBank:
    points = features.reshape(-1, features.shape[2])
    chosen = greedy_coreset(points, count)
    return MemoryBank(points[chosen], chosen // features.shape[1], chosen % features.shape[1])


def plainly(features: Floats, bank: MemoryBank, parts: npt.NDArray[np.int64]) -> Floats:
    """Take the part's rows out, add the farthest patch of the other parts one by one, and measure; in float64."""
    points = features.astype(np.float64)
    result = np.empty(features.shape[:2])
    for part in np.unique(parts):
        keep = parts[bank.images] != part
        rows = list(bank.rows[keep].astype(np.float64))
        others = points[parts != part].reshape(-1, features.shape[2])
        for _ in range(int((~keep).sum())):
            if not rows:
                rows.append(others[0])
                continue
            away = np.min([((others - row) ** 2).sum(1) for row in rows], axis=0)
            rows.append(others[away.argmax()])
        for i in np.flatnonzero(parts == part):
            result[i] = np.sqrt(np.min([((points[i] - row) ** 2).sum(1) for row in rows], axis=0))
    return result.astype(np.float32)


@pytest.mark.parametrize(
    "parts", [np.arange(12), np.repeat(np.arange(4), 3), np.array([0, 0, 5, 5, 5, 9, 2, 2, 7, 7, 7, 7])]
)
def test_it_is_greedy_selection_going_on_without_the_part(parts: npt.NDArray[np.int64]) -> None:
    features = textures(1, 12)
    bank = bank_of(features, 70)
    seen: list[int] = []
    distances = left_out_distances(features, bank, parts, seen.append)
    np.testing.assert_allclose(distances, plainly(features, bank, parts), rtol=2e-3, atol=2e-3)
    assert seen == list(range(1, 13))


def test_selection_looks_no_further_than_it_must() -> None:
    """Of 4,800 patches, it looks at some hundred for each part; the result is that of all."""
    features = textures(3, 40, cells=120)
    features[:3, :100] *= 3  # so far out that the farthest patches are of few parts
    bank = bank_of(features, 200)
    parts = np.arange(40) // 2
    assert features[..., 0].size > 10 * FARTHEST
    found = left_out_distances(features, bank, parts)
    np.testing.assert_allclose(found, plainly(features, bank, parts), rtol=2e-3, atol=3e-3)


def test_patches_that_come_one_image_after_another() -> None:
    """All patches as candidates, then those alone that a bank of twice the size has more: nearly as good."""
    features, parts = textures(4, 30), np.arange(30)
    bank = bank_of(features, 90)
    whole = left_out_distances(features, bank, parts)
    everything = MemoryBank(
        features.reshape(-1, features.shape[2]), np.repeat(np.arange(30), 60), np.tile(np.arange(60), 30)
    )
    streamed = RefilledBank(bank, parts, everything)
    np.testing.assert_allclose(streamed.distances(features, parts), whole, rtol=1e-3, atol=1e-3)
    by_one = np.concatenate([streamed.distances(features[i : i + 1], parts[i : i + 1]) for i in range(30)])
    np.testing.assert_allclose(by_one, whole, rtol=1e-3, atol=1e-3)
    larger = bank_of(features, 180)
    spare = RefilledBank(bank, parts, larger.take(np.arange(90, 180)))
    thin = spare.distances(features, parts)
    empty = RefilledBank(bank, parts, larger.take(slice(0)))
    masked = empty.distances(features, parts)
    too_large = [np.mean(np.maximum(0, each.max(axis=1) / whole.max(axis=1) - 1)) for each in (thin, masked)]
    assert too_large[0] < 0.3 * too_large[1]


def test_a_bank_of_one_part_only_is_replaced_whole() -> None:
    features = textures(2, 6)
    bank = MemoryBank(features[0, :5], np.zeros(5, np.int64), np.arange(5))
    distances = left_out_distances(features, bank, np.arange(6))
    assert np.isfinite(distances).all()
    assert distances[0].min() > 0  # none of its own rows is left


def test_p_values_of_new_parts_are_uniform_where_masking_alone_is_far_too_cautious() -> None:
    """Over many draws, the score of one more part ranks evenly among the left-out scores of the others."""
    ranks, masked_ranks = [], []
    for seed in range(60):
        features = textures(100 + seed, 25)
        known, new = features[:-1], features[-1]
        bank = bank_of(known, 150)
        score = bank.distances(new).max()
        left_out = left_out_distances(known, bank, np.arange(24)).max(axis=1)
        masked = [bank.take(bank.images != i).distances(known[i]).max() for i in range(24)]
        ranks.append(np.mean(left_out < score))
        masked_ranks.append(np.mean(np.array(masked) < score))
    # The mean of 60 uniform ranks lies within 0.5 +- 0.12 in 99.9 of 100 cases.
    assert 0.38 < np.mean(ranks) < 0.62
    assert np.mean(masked_ranks) < np.mean(ranks)
