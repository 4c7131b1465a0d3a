"""Banks: exact where the features fit, nearly as good from a stream, bounded in memory, clean if asked to be."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from blemish.detectors import memory_bank
from blemish.detectors.coreset import greedy_coreset
from blemish.detectors.memory_bank import MemoryBank, Selection, bank_of, merged_bank

ROOT = Path(__file__).resolve().parent.parent
Floats = npt.NDArray[np.float32]


def features(images: int = 60, patches: int = 50, dimensions: int = 16, seed: int = 0) -> Floats:
    """Patches `(n, P, d)` on a curved surface of few dimensions, as features are."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(images, patches, 4))
    bend = np.random.default_rng(99).normal(size=(4, dimensions))
    return (np.tanh(hidden @ bend) * 3 + 0.05 * random.normal(size=(images, patches, dimensions))).astype(np.float32)


def chunks(all_features: Floats, size: int) -> Iterator[tuple[Floats, int]]:
    """Chunks in one buffer that the next overwrites, as PatchCore gives them."""
    buffer = np.empty((size, *all_features.shape[1:]), np.float32)
    for start in range(0, len(all_features), size):
        part = all_features[start : start + size]
        buffer[: len(part)] = part
        yield buffer[: len(part)], start


def quiet(_done: int) -> None:
    pass


def radius(all_features: Floats, bank: MemoryBank) -> float:
    return float(bank.distances(all_features.reshape(-1, all_features.shape[2])).max())


def assert_rows_are_where_they_say(bank: MemoryBank, all_features: Floats) -> None:
    np.testing.assert_array_equal(bank.rows, all_features[bank.images, bank.cells])
    assert len(set(zip(bank.images.tolist(), bank.cells.tolist(), strict=True))) == len(bank)


@pytest.mark.parametrize(
    ("selection", "patches", "rows"),
    [
        (Selection(0.1, 5, 1000), 2001, 201),
        (Selection(0.1, 50, 1000), 100, 50),
        (Selection(0.1, 50, 1000), 30, 30),
        (Selection(0.5, 5, 100), 1000, 100),
        (Selection(1.0, 512, 100), 1000, 100),
    ],
)
def test_rows_of_a_bank(selection: Selection, patches: int, rows: int) -> None:
    assert selection.count(patches) == rows


def test_exact_where_it_fits() -> None:
    all_features = features(12)
    bank = bank_of(all_features, 0, Selection(0.1, 1, 10_000), quiet)
    flat = all_features.reshape(-1, 16)
    np.testing.assert_array_equal(bank.rows, flat[greedy_coreset(flat, 60)])
    assert_rows_are_where_they_say(bank, all_features)


def test_one_chunk_of_everything_covers_like_the_exact_one() -> None:
    all_features = features(12)
    selection = Selection(0.1, 1, 10_000)
    exact = bank_of(all_features, 0, selection, quiet)
    merged, _ = merged_bank(chunks(all_features, 12), 600, selection, quiet)
    assert radius(all_features, merged) <= 1.1 * radius(all_features, exact)


@pytest.mark.parametrize("size", [1, 7, 20, 59])
@pytest.mark.parametrize("least", [1, 64])
def test_a_stream_covers_nearly_as_well(size: int, least: int) -> None:
    """Greedy selection covers within twice the best radius; a stream may lose as much once more, and loses less."""
    all_features = features()
    all_features[41, 3] += 20  # one odd but good patch must not be lost on the way
    selection = Selection(0.05, least, 10_000)
    exact = bank_of(all_features, 0, selection, quiet)
    merged, _ = merged_bank(chunks(all_features, size), 3000, selection, quiet)
    assert len(merged) == len(exact) == 150
    assert_rows_are_where_they_say(merged, all_features)
    assert radius(all_features, merged) <= 1.5 * radius(all_features, exact)
    assert (41, 3) in zip(merged.images, merged.cells, strict=True)


def test_rows_that_wait_are_thinned_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    whole = memory_bank._union

    def watched(banks: list[MemoryBank]) -> MemoryBank:
        seen.append(sum(map(len, banks)))
        return whole(banks)

    monkeypatch.setattr(memory_bank, "_union", watched)
    merged, _ = merged_bank(chunks(features(200), 1), 10_000, Selection(0.01, 40, 100), quiet)
    assert len(merged) == 100 and len(seen) > 3 and max(seen) <= memory_bank.PENDING * 100 + 50


def test_distances_are_those_of_all_pairs() -> None:
    bank = bank_of(features(4), 0, Selection(0.2, 1, 100), quiet)
    queries = features(3, seed=5).reshape(-1, 16)
    expected = np.sqrt(((queries[:, None].astype(np.float64) - bank.rows) ** 2).sum(-1)).min(axis=1)
    np.testing.assert_allclose(bank.distances(queries), expected, rtol=1e-4)
    assert bank.distances(queries[:0]).shape == (0,)


class TestNoise:
    def planted(self) -> tuple[Floats, set[tuple[int, int]]]:
        """Odd patches in three images, each of its own kind."""
        all_features = features(30)
        odd = {(3, 5), (3, 6), (17, 40), (29, 0)}
        for number, (image, cell) in enumerate(sorted(odd)):
            all_features[image, cell, number] += 9
        return all_features, odd

    def test_odd_patches_are_in_the_bank_unless_dropped(self) -> None:
        all_features, odd = self.planted()
        bank = bank_of(all_features, 0, Selection(0.05, 1, 10_000), quiet)
        assert odd <= set(zip(bank.images.tolist(), bank.cells.tolist(), strict=True))

    @pytest.mark.parametrize("size", [30, 10, 5])
    def test_odd_patches_are_dropped(self, size: int) -> None:
        all_features, odd = self.planted()
        selection = Selection(0.05, 1, 10_000, noise_share=0.02)
        if size == 30:
            bank = bank_of(all_features, 0, selection, quiet)
        else:
            bank, _ = merged_bank(chunks(all_features, size), 1500, selection, quiet)
        assert not odd & set(zip(bank.images.tolist(), bank.cells.tolist(), strict=True))
        assert_rows_are_where_they_say(bank, all_features)

    def test_the_share_is_what_is_dropped(self) -> None:
        all_features, _ = self.planted()
        whole = Selection(1.0, 1, 10_000, noise_share=0.1)
        assert len(bank_of(all_features, 0, whole, quiet)) == 1500 - 150

    def test_same_seed_same_bank(self) -> None:
        all_features, _ = self.planted()
        selection = Selection(0.1, 1, 10_000, noise_share=0.1, seed=7)
        first, second = (bank_of(all_features, 0, selection, quiet) for _ in range(2))
        np.testing.assert_array_equal(first.rows, second.rows)

    def test_two_images_cannot_say_what_is_odd(self) -> None:
        all_features = features(2)
        assert len(bank_of(all_features, 0, Selection(1.0, 1, 10_000, noise_share=0.5), quiet)) == 100


STREAM = """
import resource, sys
import numpy as np
from blemish.detectors.memory_bank import Selection, merged_bank

images, patches, dimensions, chunk, least, most = map(int, sys.argv[1:])

def chunks():
    buffer = np.empty((chunk, patches, dimensions), np.float32)
    random = np.random.default_rng(0)
    for start in range(0, images, chunk):
        size = min(chunk, images - start)
        random.standard_normal(out=buffer[:size], dtype=np.float32)
        yield buffer[:size], start

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

before = peak()
bank, _ = merged_bank(chunks(), images * patches, Selection(0.01, least, most), lambda done: None)
print(len(bank), peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the peak is measured by getrusage")
@pytest.mark.parametrize(
    ("images", "patches", "dimensions", "chunk", "least", "most"),
    [(10_000, 128, 32, 500, 64, 512), (2_000, 64, 64, 8, 128, 256)],
    ids=["10,000 images", "tiny chunks"],
)
def test_memory_is_that_of_a_chunk(
    images: int, patches: int, dimensions: int, chunk: int, least: int, most: int
) -> None:
    """10,000 images as at full size, all lengths reduced alike: 160 MB of features, 8 MB a chunk."""
    arguments = map(str, (images, patches, dimensions, chunk, least, most))
    done = subprocess.run(
        [sys.executable, "-c", STREAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    rows, growth = map(int, done.stdout.split())
    assert rows == min(most, math.ceil(0.01 * images * patches))
    everything, in_hand = images * patches * dimensions * 4, chunk * patches * dimensions * 4
    assert in_hand < 0.06 * everything and growth < 0.35 * everything
