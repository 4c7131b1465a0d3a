"""Which images of a folder are judged."""

from __future__ import annotations

from pathlib import Path

from blemish.datasets import Dataset, Sample, find_categories, load_dataset
from blemish.errors import DatasetError


def samples_to_judge(data: Path) -> tuple[Dataset, tuple[Sample, ...]]:
    """The data set in a folder and its test images; of a plain folder of good images, all of them.

    Raises `DatasetError` for a folder without test images, and for one of several products.
    """
    if data.is_dir() and not (data / "train").is_dir():
        _refuse_categories(data)
    dataset = load_dataset(data)
    if dataset.layout != "plain":
        if not dataset.test:
            raise DatasetError(
                f"{data} has training images only, and a model knows those; evaluation needs test/good, "
                "test/<defect> or val.txt, or a folder of new good images"
            )
        return dataset, dataset.test
    return dataset, dataset.train


def _refuse_categories(data: Path) -> None:
    categories = find_categories(data)
    if categories and not any((data / name).exists() for name in ("train.txt", "val.txt", "test")):
        raise DatasetError(
            f"{data} holds several products ({', '.join(path.name for path in categories[:5])}); name one of them, "
            f"such as {categories[0]}, or use blemish bench {data}"
        )
