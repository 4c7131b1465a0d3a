"""What is wrong with a data set by the facts of its files alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from blemish.calibration import Calibration, sessions_told
from blemish.calibration.conformal import DEFAULT_RATE
from blemish.checking.duplicates import is_learnt
from blemish.checking.findings import Finding
from blemish.checking.groups import Trait, group_findings, traits_of
from blemish.checking.survey import ImageFacts
from blemish.datasets import Dataset, relative_name
from blemish.datasets.leaving_out import BY_NAME
from blemish.images import exif_times

# what is worth a word of a single image too; a file saved as JPEG among others is not
_OF_SINGLE_IMAGES = ("mixed_sizes", "mixed_colour", "mixed_bit_depth", "mixed_transparency")


def file_findings(images: list[ImageFacts]) -> Iterator[Finding]:
    """Images that are not there or cannot be read."""
    for facts in images:
        if facts.missing:
            yield Finding("missing_file", "is listed, but not there", (facts.sample.name,))
        elif facts.problem:
            yield Finding("unreadable_image", facts.problem, (facts.sample.name,))


def training_findings(dataset: Dataset, images: list[ImageFacts]) -> Iterator[Finding]:
    """Nothing to learn from, defects to learn from, nothing to measure false alarms with."""
    if not any(facts.is_readable and is_learnt(facts.sample) for facts in images):
        yield Finding("no_good_images", "there is no good image to learn from; put good images into train/good")
    odd = [sample.name for sample in dataset.train if not sample.is_good]
    if odd:
        yield Finding("defect_in_training", "listed for training, but marked as defects; they are left out", tuple(odd))
    if dataset.test and not any(sample.is_good for sample in dataset.test):
        message = "all test images are defects, so false alarms cannot be measured; put good images into test/good"
        yield Finding("no_good_test_images", message)


def count_finding(different: int) -> Finding | None:
    """What so few different good images mean for the false-alarm rate; None if they support the usual one."""
    if not different:
        return None
    zeros = np.zeros(different)
    calibration = Calibration(zeros, zeros, np.arange(different))
    if calibration.best_rate <= DEFAULT_RATE:
        return None
    return Finding("few_images", calibration.statement())


def session_findings(images: list[ImageFacts]) -> Iterator[Finding]:
    """What names, and the times that the camera has stated, tell of the sessions of the good images."""
    learnt = [facts.sample for facts in images if facts.is_readable and is_learnt(facts.sample)]
    times = exif_times([sample.path for sample in learnt])
    told = sessions_told([sample.name for sample in learnt], lambda: times)
    if told is not None:
        message = f"train so that the threshold covers each session (light, camera, day). {told.removesuffix('.')}"
        yield Finding("several_sessions", message)
    elif times and len(times) > 1:
        message = (
            "by their EXIF times, all good images are of one session (light, camera, day), and the false-alarm rate "
            "will hold for that session; to cover another day, train with good images of it: --holdout DIR"
        )
        yield Finding("one_session", message)


def mask_findings(root: Path, images: list[ImageFacts]) -> Iterator[Finding]:
    """What is odd about masks, and defects without one."""
    for facts in images:
        for remark in facts.mask.remarks if facts.mask else ():
            masks = (relative_name(path, root) for path in remark.paths)
            yield Finding(remark.code, remark.message, (facts.sample.name, *masks))
    unmarked = [facts.sample.name for facts in images if facts.mask is None and not facts.sample.is_good]
    if unmarked:
        message = "defects without a mask; they count for the image metrics only"
        yield Finding("missing_mask", message, tuple(unmarked))


def repeated_masks(images: list[ImageFacts]) -> Iterator[Finding]:
    """Equal masks of different pictures."""
    groups: dict[bytes, list[ImageFacts]] = defaultdict(list)
    for facts in images:
        if facts.mask is not None and 0 < facts.mask.share < 1 and not facts.sample.is_good:
            groups[facts.mask.digest].append(facts)
    for group in groups.values():
        if len({facts.digest for facts in group}) > 1:
            names = tuple(facts.sample.name for facts in group)
            yield Finding("repeated_mask", "different images have exactly the same mask", names)


def mixture_findings(images: list[ImageFacts]) -> Iterator[Finding]:
    """Images that are stored otherwise than the others: whole groups, or else single ones."""
    between = list(group_findings(images))
    yield from between
    readable = [facts for facts in images if facts.is_readable]
    for trait in traits_of(readable):
        if trait.code in _OF_SINGLE_IMAGES and not any(finding.code == trait.code for finding in between):
            yield from _mixture(trait, readable)


def _mixture(trait: Trait, images: list[ImageFacts]) -> Iterator[Finding]:
    counts = Counter(map(trait.value, images))
    if len(counts) < 2:
        return
    usual, count = counts.most_common(1)[0]
    others = [facts for facts in images if trait.value(facts) != usual]
    typical = trait.say(next(facts for facts in images if trait.value(facts) == usual))
    named = trait.say(others[0]) if len(counts) == 2 else f"of {len(counts) - 1} other sizes"
    files = tuple(facts.sample.name for facts in others)
    yield Finding(trait.code, f"{named}, while {count} of {len(images)} images are {typical}", files)


def unused_files(dataset: Dataset) -> Iterator[Finding]:
    """Files that are neither learned from nor judged, by the folder or for the reason."""
    for place, names in dataset.left_out.items():
        if place == "marked images":
            message = "a folder calls them good, but a mask or an annotation marks them; they are left out"
            yield Finding("good_image_with_mask", message, tuple(names))
        elif place == "masks of no image":
            yield Finding("unused_files", "masks that belong to no test image", tuple(names))
        elif place == BY_NAME:
            yield Finding("unused_files", "left out by name", tuple(names))
        elif place != "masks":
            yield Finding("unused_files", f"not used: {place}", tuple(names))
    if dataset.question:
        yield Finding("unknown_test_images", dataset.question)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, otherwise as they were found."""
    return tuple(sorted(findings, key=lambda finding: finding.severity != "error"))
