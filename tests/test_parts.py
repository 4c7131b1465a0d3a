"""Which images show one part: from names, and from what other images explain of each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from plates import plate
from scipy.stats import gamma

from blemish.calibration import FoundParts, find_parts, parts_from_names
from blemish.calibration.parts import FEW_IMAGES, MOST_IMAGES, _gamma_tail
from blemish.calibration.remarks import linked, part_lines
from blemish.detectors import Setting
from blemish.detectors.patchcore import PatchCore
from blemish.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
Halves = npt.NDArray[np.float16]
Ints = npt.NDArray[np.int64]
PATCHES, DIMENSIONS = 60, 8


def sketched(truth: Ints, noise: float, seed: int = 0, patches: int = PATCHES) -> Halves:
    """Sketches of images of these parts: a product's pattern, what is the part's own, and what each shot adds to it."""
    random = np.random.default_rng(seed)
    pattern = 3 * random.normal(size=(patches, DIMENSIONS))
    own = random.normal(size=(truth.max() + 1, patches, DIMENSIONS))
    shots = noise * random.normal(size=(len(truth), patches, DIMENSIONS))
    return (pattern + own[truth] + shots).astype(np.float16)


def shuffled(parts: int, copies: int, seed: int = 0) -> Ints:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(parts), copies))


def same(one: Ints, other: Ints) -> bool:
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


@pytest.mark.parametrize("size", [2, 3, 4, 5, 9, 16])
def test_the_chance_of_a_leap_is_a_gamma_law(size: int) -> None:
    values = [0.01, 0.5, 1.0, 3.0, 12.0, 40.0]
    expected = gamma.sf(values, size / 2)
    np.testing.assert_allclose([_gamma_tail(size, value) for value in values], expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("parts", "copies"), [(3, 2), (10, 2), (6, 3), (10, 6), (5, 12), (3, 10), (20, 5), (40, 2), (100, 2)]
)
@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_shots_of_a_part_are_found(parts: int, copies: int, noise: float) -> None:
    truth = shuffled(parts, copies)
    assert same(find_parts(sketched(truth, noise)).parts, truth)


def test_parts_of_unequal_size_among_single_ones() -> None:
    truth = np.random.default_rng(2).permutation(np.repeat(np.arange(24), [1] * 14 + [2, 2, 2, 3, 3, 4, 5, 6, 8, 12]))
    assert same(find_parts(sketched(truth, 0.3)).parts, truth)


def test_unrelated_images_stay_apart() -> None:
    """Of sets of 6 to 60 images, in which parts also differ by a pose of one or two dimensions."""
    random = np.random.default_rng(3)
    pairs = links = unsure = 0
    for draw in range(80):
        images = int(random.integers(6, 60))
        sketches = sketched(np.arange(images), 0, draw).astype(np.float64)
        directions = random.normal(size=(1 + draw % 2, PATCHES, DIMENSIONS))
        pose = random.normal(size=(images, len(directions)))
        sketches += np.einsum("nk,kpd->npd", pose, directions) * (draw % 4)
        found = find_parts(sketches.astype(np.float16))
        counts = np.bincount(found.parts)
        pairs += images * (images - 1) // 2
        links += int((counts * (counts - 1) // 2).sum())
        unsure += found.unsure and images >= FEW_IMAGES
    assert links < 0.001 * pairs and unsure <= 4


def test_two_kinds_of_a_product_are_not_two_parts() -> None:
    kinds = 2 * np.random.default_rng(4).normal(size=(2, PATCHES, DIMENSIONS))[np.arange(80) % 2]
    sketches = (sketched(np.arange(80), 0).astype(np.float64) + kinds).astype(np.float16)
    assert len(np.unique(find_parts(sketches).parts)) == 80


@pytest.mark.parametrize("images", [1, 2, 3, 11, 50])
def test_identical_images_are_one_part(images: int) -> None:
    assert find_parts(np.repeat(sketched(np.zeros(1, int), 0), images, axis=0)).parts.tolist() == [0] * images


@pytest.mark.parametrize("images", [4, 11, 60])
def test_an_identical_pair_among_others(images: int) -> None:
    sketches = sketched(np.arange(images), 0, 6)
    sketches[-1] = sketches[1]
    parts = find_parts(sketches).parts
    assert parts[1] == parts[-1] and len(np.unique(parts)) == images - 1


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_neither_units_nor_the_order_of_images_matter(scale: float) -> None:
    truth = shuffled(12, 3)
    sketches = sketched(truth, 0.3)
    order = np.random.default_rng(8).permutation(len(truth))
    found = find_parts((scale * sketches.astype(np.float64)).astype(np.float16)[order]).parts
    assert same(found, truth[order])


def test_a_part_of_more_frames_than_can_be_told_is_unsure_by_their_order() -> None:
    """Frames of two parts that move on, in the order of their names; shuffled, nothing tells them from any poses."""
    turns = np.linspace(0, 3, MOST_IMAGES + 8)[:, None, None]
    start, end = np.random.default_rng(7).normal(size=(2, 2, PATCHES, DIMENSIONS))
    noise = 0.02 * np.random.default_rng(9).normal(size=(len(turns), PATCHES, DIMENSIONS))
    frames = np.concatenate([first + turns * last + noise for first, last in zip(start, end, strict=True)])
    assert find_parts(frames.astype(np.float16)).unsure


class TestPictures:
    """Through the detector, as `check`, `train` and `update` find them."""

    SETTING = Setting(160, 128, preset="fast", device="cpu")

    def shots(self, seed: int, count: int) -> list[npt.NDArray[np.uint8]]:
        """A plate as it lies a little differently each time, with noise of the camera."""
        random, found = np.random.default_rng(seed), []
        for _ in range(count):
            turn = cv2.getRotationMatrix2D((80, 60), random.uniform(-2, 2), 1)
            turn[:, 2] += random.uniform(-3, 3, 2)
            moved = cv2.warpAffine(plate(seed), turn, (160, 120), borderMode=cv2.BORDER_REFLECT)
            moved = np.pad(moved, ((0, 8), (0, 0), (0, 0)), mode="reflect")
            found.append(np.clip(moved + random.normal(0, 2, moved.shape), 0, 255).astype(np.uint8))
        return found

    @pytest.mark.parametrize(("parts", "copies"), [(24, 1), (10, 2), (6, 4)])
    def test_are_told_apart_and_together(self, parts: int, copies: int) -> None:
        images = [shot for seed in range(parts) for shot in self.shots(seed, copies)]
        found = find_parts(PatchCore(self.SETTING).fit(images).sketches)
        assert same(found.parts, np.repeat(np.arange(parts), copies)) and not found.unsure


class TestWhatIsSaid:
    def test_linked_images_are_named(self) -> None:
        names = [f"{number}.png" for number in range(6)]
        found = FoundParts(np.array([0, 1, 0, 2, 3, 3]))
        assert linked(names, found.parts) == [["0.png", "2.png"], ["4.png", "5.png"]]
        (line,) = part_lines(names, found)
        assert line.startswith("4 images seem to show 2 parts several times") and "0.png = 2.png; 4.png = 5.png" in line
        assert part_lines(names, FoundParts(found.parts, told=True)) == []

    def test_what_cannot_be_told_names_the_key(self) -> None:
        names = [f"{number}.png" for number in range(5)]
        (line,) = part_lines(names, find_parts(sketched(np.arange(5), 0)))
        assert "cannot be told" in line and "Calibrate.group_by" in line
        assert part_lines(names[:1], find_parts(sketched(np.arange(1), 0))) == []


@pytest.mark.skipif(sys.platform == "win32", reason="the peak is measured by getrusage")
def test_3000_images_in_bounded_memory() -> None:
    """All pairs of patches would take gigabytes; the sketches themselves are 12 MB."""
    code = """
import resource, sys
import numpy as np
from blemish.calibration import find_parts
random = np.random.default_rng(0)
truth = np.repeat(np.arange(1500), 2)
sketches = random.normal(size=(1500, 64, 32))[truth].astype(np.float16)
for i in range(len(sketches)):
    sketches[i] += (0.2 * random.normal(size=(64, 32))).astype(np.float16)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
before = peak()
print(len(np.unique(find_parts(sketches).parts)), peak() - before)
"""
    environment = {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, timeout=120
    )
    parts, growth = map(int, done.stdout.split())
    assert parts == 1500 and growth < 200e6
