"""The nearest rows of two parts, found without most products, are those of all products."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from blemish.detectors import two_nearest
from blemish.detectors.coreset import greedy_coreset
from blemish.detectors.memory_bank import BEFORE, MemoryBank
from blemish.detectors.two_nearest import LEAST_PIVOTS, PATCHES_EACH, ROWS_EACH, PartRows

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

ROWS, IMAGES, PATCHES = 320, 40, 210


def patches(kind: str) -> Floats:
    """Patches of images in clusters, `(n, P, d)`: a few large ones, or far from zero, or with many that are equal."""
    random = np.random.default_rng(5)
    centres = random.normal(scale=6, size=(20, 12))
    found = centres[random.integers(20, size=(IMAGES, PATCHES))] + random.normal(size=(IMAGES, PATCHES, 12))
    if kind == "far":
        found += 40
    if kind == "equal":
        found = np.round(found / 3) * 3
    return found.astype(np.float32)


def plainly(points: Floats, bank: MemoryBank, parts: Ints) -> tuple[Ints, Floats, Floats]:
    """The part of the nearest row, its squared distance, and that of the nearest row of another part; in float64."""
    of_rows = bank.parts_of(parts)
    squared = np.stack([((points.astype(np.float64) - row) ** 2).sum(axis=1) for row in bank.rows])  # (M, N)
    part = of_rows[squared.argmin(axis=0)]
    others = np.where(of_rows[:, None] == part, np.inf, squared).min(axis=0)
    return part, squared.min(axis=0).astype(np.float32), others.astype(np.float32)


@pytest.mark.parametrize("kind", ["near", "far", "equal"])
@pytest.mark.parametrize("parts", ["each", "pairs", "two", "before"])
def test_a_search_by_pivots_finds_what_all_products_do(kind: str, parts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    features = patches(kind)
    points = features.reshape(-1, features.shape[2])
    chosen = greedy_coreset(points, ROWS)
    bank = MemoryBank(points[chosen], chosen // PATCHES, chosen % PATCHES)
    of = {"each": np.arange(IMAGES), "pairs": np.arange(IMAGES) // 2, "two": np.arange(IMAGES) % 2}.get(parts)
    if of is None:  # half of the rows are of images that are gone
        bank = MemoryBank(bank.rows, np.where(np.arange(ROWS) < ROWS // 2, BEFORE, bank.images), bank.cells)
        of = np.arange(IMAGES)
    assert min(len(bank) // ROWS_EACH, len(points) // PATCHES_EACH) >= LEAST_PIVOTS, "else nothing is searched"
    compared = 0
    products = PartRows._products

    def counted(self: PartRows, some: Floats, rows: slice | Ints) -> Floats:
        nonlocal compared
        found = products(self, some, rows)
        compared += found.size
        return found

    monkeypatch.setattr(PartRows, "_products", counted)
    monkeypatch.setattr(two_nearest, "CLOSE", 24)
    norms = np.einsum("nd,nd->n", points, points)
    near = PartRows(bank, of).two_nearest(points, norms)
    part, first, second = plainly(points, bank, of)
    within = 4e-6 * float(norms.max())
    np.testing.assert_allclose(near.first, first, atol=within)
    differs = near.part != part
    assert (np.abs(first - second)[differs] <= within).all(), "only where two parts are as near"
    np.testing.assert_allclose(near.second, second, atol=within)
    if kind == "near" and parts == "each":
        assert compared < 0.6 * len(points) * ROWS, "most products are not needed"


def test_one_part_has_no_second() -> None:
    points = patches("near").reshape(-1, 12)
    bank = MemoryBank(points[:ROWS], np.zeros(ROWS, np.int64), np.arange(ROWS))
    near = PartRows(bank, np.zeros(IMAGES, np.int64)).two_nearest(points, np.einsum("nd,nd->n", points, points))
    assert np.isinf(near.second).all() and (near.part == 0).all() and (near.first[:ROWS] < 1e-3).all()
