"""Which images show one part: from names, and from near-duplicates among embeddings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import beta, poisson

from blemish.calibration import find_parts, parts_from_names
from blemish.calibration.parts import CHANCE_LINKS, chance_cosine
from blemish.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
DIMENSIONS = 304
Floats = npt.NDArray[np.float32]


def planted(parts: int, copies: int, noise: float, seed: int = 0) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Embeddings of parts that were photographed several times, shuffled, and the true part numbers.

    Dimensions differ in size by factors, as features do; `noise` is a share of what parts differ by.
    """
    random = np.random.default_rng(seed)
    truth = random.permutation(np.repeat(np.arange(parts), copies))
    scale = np.exp(random.normal(size=DIMENSIONS))
    base = random.normal(size=(parts, DIMENSIONS))
    found = 7 + scale * (base[truth] + noise * random.normal(size=(len(truth), DIMENSIONS)))
    return found.astype(np.float32), truth


def same(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> bool:
    """Whether two numberings group alike."""
    return np.array_equal(one[:, None] == one[None], other[:, None] == other[None])


class TestNames:
    def test_the_first_group_names_the_part(self) -> None:
        names = ["a/tile07_exp1.png", "a/tile08_exp1.png", "b/tile07_exp2.png", "b/tile7_exp2.png"]
        assert parts_from_names(names, r"tile(\d+)").tolist() == [0, 1, 0, 2]

    def test_without_a_group_the_whole_match(self) -> None:
        assert parts_from_names(["x1a.png", "x1b.png", "y1a.png"], r"^[xy]1").tolist() == [0, 0, 1]

    def test_an_optional_group_that_takes_no_part_is_nothing_found(self) -> None:
        with pytest.raises(UsageError, match=r"finds nothing in `b\.png`"):
            parts_from_names(["a7.png", "b.png"], r"[ab](\d)?")

    def test_a_name_without_match_is_named(self) -> None:
        with pytest.raises(UsageError, match=r"`part\(\\d\)` finds nothing in `sub/x\.png`"):
            parts_from_names(["part1.png", "sub/x.png"], r"part(\d)")

    def test_refuses_a_bad_expression(self) -> None:
        with pytest.raises(UsageError, match="not a regular expression"):
            parts_from_names(["a"], "(")

    def test_strange_names(self) -> None:
        assert len(set(parts_from_names(["ä\n1.png", "ä\n2.png", "\udcff3.png"], r"(\d)").tolist())) == 3


@pytest.mark.parametrize("dimensions", [3, 4, 7, 16, 64])
@pytest.mark.parametrize("probability", [0.5, 0.01, 1e-6, 1e-10])
def test_chance_cosine_is_the_beta_law(dimensions: int, probability: float) -> None:
    """(1 + cosine) / 2 is distributed as Beta((k - 1) / 2, (k - 1) / 2); compared where it matters, at 1 - cosine."""
    shape = (dimensions - 1) / 2
    expected = 2 * beta.ppf(probability, shape, shape)
    assert 1 - chance_cosine(dimensions, probability) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("parts", "copies"), [(20, 2), (20, 3), (20, 4), (20, 6), (20, 12), (10, 6), (8, 20), (40, 6), (100, 6), (300, 2)]
)
@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_copies_are_found(parts: int, copies: int, noise: float) -> None:
    """Few parts with many images each are found as well as many parts with few."""
    embeddings, truth = planted(parts, copies, noise)
    assert same(find_parts(embeddings), truth)


def test_parts_of_unequal_size() -> None:
    random = np.random.default_rng(2)
    truth = random.permutation(np.repeat(np.arange(25), random.integers(1, 15, 25)))
    embeddings = random.normal(size=(25, DIMENSIONS))[truth] + 0.05 * random.normal(size=(len(truth), DIMENSIONS))
    assert same(find_parts(embeddings.astype(np.float32)), truth)


def test_unrelated_images_are_linked_no_more_often_than_stated() -> None:
    """200 sets: the largest scale links by chance in one set of a hundred, the smaller ones next to never."""
    random = np.random.default_rng(3)
    links = 0
    for _ in range(200):
        images = int(random.integers(12, 120))
        embeddings = random.normal(size=(images, DIMENSIONS)) * np.exp(random.normal(size=DIMENSIONS))
        links += images - len(np.unique(find_parts(embeddings.astype(np.float32))))
    assert links <= poisson.ppf(0.999, 200 * CHANCE_LINKS)


def test_a_few_kinds_of_parts_are_not_a_few_parts() -> None:
    """Four colours of a product are no four parts: within a colour, parts differ."""
    random = np.random.default_rng(4)
    kinds = 2 * random.normal(size=(4, DIMENSIONS))[random.integers(0, 4, 80)]
    assert len(np.unique(find_parts((kinds + random.normal(size=kinds.shape)).astype(np.float32)))) == 80


@pytest.mark.parametrize("images", [1, 2, 3, 11, 12, 50])
def test_identical_images_are_one_part(images: int) -> None:
    same_vector = np.random.default_rng(5).normal(size=(1, DIMENSIONS)).astype(np.float32)
    assert find_parts(np.repeat(same_vector, images, axis=0)).tolist() == [0] * images


@pytest.mark.parametrize("images", [4, 11, 13, 60])
def test_identical_pairs_among_others(images: int) -> None:
    random = np.random.default_rng(6)
    embeddings = random.normal(size=(images, DIMENSIONS)).astype(np.float32)
    embeddings[-1] = embeddings[1]
    found = find_parts(embeddings)
    assert found[1] == found[-1] and len(np.unique(found)) == images - 1


def test_chains_are_one_part() -> None:
    """A part that turns before the camera: first and last frame differ, neighbours hardly do."""
    random = np.random.default_rng(7)
    start, end = random.normal(size=(2, DIMENSIONS))
    angles = np.linspace(0, np.pi / 2, 40)[:, None]
    frames = np.cos(angles) * start + np.sin(angles) * end
    embeddings = np.concatenate([frames, random.normal(size=(160, DIMENSIONS))]).astype(np.float32)
    found = find_parts(embeddings)
    assert len(np.unique(found[:40])) == 1 and len(np.unique(found)) == 161


def test_the_order_of_images_does_not_matter() -> None:
    embeddings, _ = planted(15, 5, 0.1)
    order = np.random.default_rng(8).permutation(len(embeddings))
    assert same(find_parts(embeddings)[order], find_parts(embeddings[order]))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter(scale: float) -> None:
    embeddings, truth = planted(15, 5, 0.1)
    assert same(find_parts((embeddings * scale).astype(np.float32)), truth)


def test_dimensions_that_never_change() -> None:
    embeddings, truth = planted(15, 5, 0.1)
    embeddings[:, ::3] = 4.25
    assert same(find_parts(embeddings), truth)


def test_short_embeddings() -> None:
    random = np.random.default_rng(9)
    for length in (1, 2, 3, 5):
        found = find_parts(random.normal(size=(40, length)).astype(np.float32))
        assert len(np.unique(found)) == 40


@pytest.mark.skipif(sys.platform == "win32", reason="the peak is measured by getrusage")
def test_5000_images_in_bounded_memory() -> None:
    """All pairs at once would take 200 MB; the embeddings themselves are 6 MB."""
    code = """
import resource, sys
import numpy as np
from blemish.calibration import find_parts
random = np.random.default_rng(0)
truth = np.repeat(np.arange(1250), 4)
embeddings = (random.normal(size=(1250, 304))[truth] + 0.1 * random.normal(size=(5000, 304))).astype(np.float32)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
before = peak()
print(len(np.unique(find_parts(embeddings))), peak() - before)
"""
    environment = {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, timeout=120
    )
    parts, growth = map(int, done.stdout.split())
    assert parts == 1250 and growth < 130e6
