"""Which images of a folder are judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blemish.datasets import Dataset, Sample, find_categories, load_dataset
from blemish.datasets.files import file_hash
from blemish.errors import DatasetError
from blemish.models import short_hash


def samples_to_judge(
    data: Path, good: Sequence[str] = (), leave_out: Sequence[str] = ()
) -> tuple[Dataset, tuple[Sample, ...]]:
    """The data set in a folder and its test images; all of them where there is no split.

    `good` names folders of good parts, `leave_out` images that do not count. Raises `DatasetError` for a folder without
    test images, for one of several products, and where nothing tells which test images are good.
    """
    if data.is_dir() and not good and not (data / "train").is_dir():
        _refuse_categories(data)
    dataset = load_dataset(data, good=good, leave_out=leave_out)
    if dataset.question:
        raise DatasetError(dataset.question)
    if dataset.layout in ("plain", "folders"):
        return dataset, (*dataset.train, *dataset.test)
    if not dataset.test:
        raise DatasetError(
            f"{data} has training images only, and a model knows those; evaluation needs test/good, test/<defect> or "
            "val.txt, or a folder of new good images"
        )
    return dataset, dataset.test


def without_learned(samples: Sequence[Sample], known: Sequence[str]) -> tuple[tuple[Sample, ...], list[str]]:
    """The samples that a model has not learned from, and the names of the others; `known` are its short hashes.

    Where it has learned from all of them, nothing is left out.
    """
    hashes = set(known)
    learned = {sample.name for sample in samples if sample.is_good and _hash(sample) in hashes}
    if len(learned) == len(samples):
        return tuple(samples), []
    return tuple(sample for sample in samples if sample.name not in learned), sorted(learned)


def _hash(sample: Sample) -> str | None:
    try:
        return short_hash(file_hash(sample.path))
    except OSError:
        return None  # whoever judges it says so


def _refuse_categories(data: Path) -> None:
    categories = find_categories(data)
    if categories and not any((data / name).exists() for name in ("train.txt", "val.txt", "test")):
        raise DatasetError(
            f"{data} holds several products ({', '.join(path.name for path in categories[:5])}); name one of them, "
            f"such as {categories[0]}, or use blemish bench {data}"
        )
