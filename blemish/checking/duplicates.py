"""Copies of an image: the same pixels, or the same shot saved, resized or lit anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.checking.findings import Finding
from blemish.datasets import Sample

if TYPE_CHECKING:
    from blemish.checking.survey import ImageFacts

Floats = npt.NDArray[np.float32]

SIDE = 64
SIGMA = 1.5  # pixels at that size: what is coarser than this is light and pose, which many good images share
LIKENESS = (
    0.97  # correlation; JPEG copies of photographs at quality 40 and copies at 60 % size reach it, other shots seldom
)
COMMON = 10  # from so many images on, what they have in common is taken off first
HASH_BITS = 64
MOST_BITS_APART = 20  # at a correlation of 0.97, 5 of 64 bits differ on average, more than 20 never
ROWS = 2048


def detail(image: npt.NDArray[np.uint8]) -> Floats:
    """The fine detail of an RGB image (H, W, 3) on a grid of 64 x 64, flat, of unit contrast; zero where it is flat."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    fine = small - cv2.GaussianBlur(small, (0, 0), SIGMA)  # (64, 64)
    spread = float(fine.std())
    return np.asarray(fine.ravel() / spread if spread > 0 else fine.ravel() * 0, np.float32)


def near_pairs(details: Floats) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, of images `(n, 4096)` whose detail is alike once that of the whole set is taken off.

    Hashes of 64 signs (Charikar 2002, "Similarity estimation techniques from rounding algorithms") say which pairs
    are worth comparing.
    """
    apart = details - details.mean(axis=0) if len(details) >= COMMON else details - details.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(apart, axis=1, keepdims=True)
    apart = np.divide(apart, lengths, out=np.zeros_like(apart), where=lengths > 1e-6)
    planes = np.random.default_rng(0).standard_normal((details.shape[1], HASH_BITS)).astype(np.float32)
    signs = np.where(apart @ planes > 0, np.float32(1), np.float32(-1))  # (n, 64)
    for start in range(0, len(details), ROWS):
        alike = signs[start : start + ROWS] @ signs.T >= HASH_BITS - 2 * MOST_BITS_APART
        for i, j in np.argwhere(np.triu(alike, start + 1)):
            if apart[start + i] @ apart[j] > LIKENESS:
                yield start + int(i), int(j)


def copy_findings(images: list[ImageFacts]) -> list[Finding]:
    """What copies of the same pixels there are."""
    return [_copies(group) for group in _by_pixels(images).values() if len(group) > 1]


def near_findings(images: list[ImageFacts], parts: Mapping[str, int]) -> tuple[list[Finding], int]:
    """What images show one part, and how many different parts the good training images show.

    `parts` are the numbers of the parts that some training images show, by name, as a training finds them; only the
    others are compared by their detail.
    """
    copies = _by_pixels(images)
    findings = []
    firsts = [group[0] for group in copies.values()]
    number = [parts.get(facts.sample.name) for facts in firsts]
    pairs = [(number.index(part), i) for i, part in enumerate(number) if part is not None]
    if len(firsts) > 1:
        alike = near_pairs(np.stack([facts.detail for facts in firsts]))
        pairs += [(i, j) for i, j in alike if number[i] is None or number[j] is None]
    groups = _connected(len(firsts), pairs)
    for group in groups:
        if len(group) > 1:
            findings.append(_near([firsts[i] for i in group]))
    learnt = sum(any(is_learnt(f.sample) for i in group for f in copies[firsts[i].digest]) for group in groups)
    return findings, learnt


def _by_pixels(images: list[ImageFacts]) -> dict[bytes, list[ImageFacts]]:
    copies: dict[bytes, list[ImageFacts]] = defaultdict(list)
    for facts in images:
        if facts.is_readable:
            copies[facts.digest].append(facts)
    return copies


def is_learnt(sample: Sample) -> bool:
    """Whether a detector learns from it."""
    return sample.split == "train" and sample.is_good


def _copies(group: list[ImageFacts]) -> Finding:
    """One picture that is there several times."""
    names = tuple(dict.fromkeys(facts.sample.name for facts in group))
    splits = {facts.sample.split for facts in group}
    good = {facts.sample.is_good for facts in group}
    if len(splits) > 1 and False in good:
        return Finding("defect_in_training", "a defect of the test images is among the training images", names)
    if len(splits) > 1:
        return Finding("leaked_image", "a test image is among the training images, so it tests nothing", names)
    if len(good) > 1:
        return Finding("contradicting_labels", "one picture stands among the good images and among the defects", names)
    if len(names) == 1:
        return Finding("duplicate_images", "is listed more than once", names)
    return Finding("duplicate_images", "have the same pixels; keep one of them", names)


def _near(group: list[ImageFacts]) -> Finding:
    names = tuple(facts.sample.name for facts in group)
    if len({facts.sample.split for facts in group}) > 1:
        message = "are nearly the same picture, in training and in test; test with parts that were not trained on"
        return Finding("near_duplicates_across_splits", message, names)
    message = (
        "seem to show one part, which then counts once; where names tell the part, train with --group-by PATTERN "
        "(Calibrate.group_by)"
    )
    return Finding("near_duplicates", message, names)


def _connected(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The groups that pairs make of 0 ... count - 1, each in order; single ones too."""
    group = {i: [i] for i in range(count)}
    for i, j in pairs:
        if group[i] is not group[j]:
            small, large = sorted((group[i], group[j]), key=len)
            large += small
            for member in small:
                group[member] = large
    return [sorted(members) for members in {id(members): members for members in group.values()}.values()]
