"""PaddleX's list files as annotations: the mask file of every image."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from blemish.datasets.annotations import Annotation, Reading, Shape
from blemish.datasets.files import inside
from blemish.datasets.layouts import load_dataset
from blemish.datasets.masks import read_mask
from blemish.datasets.samples import Sample
from blemish.datasets.shapes import Mask
from blemish.errors import DatasetError


def read_lists(source: Path) -> Reading:
    """The samples of `train.txt` and `val.txt`, and the lines that cannot be read."""
    reading = Reading()
    dataset = load_dataset(source, lambda file, line, problem: reading.fail(f"{file.name}, line {line}: {problem}"))
    if dataset.layout != "list":
        raise DatasetError(
            f"{source} has neither train.txt nor val.txt; it is a data set of the {dataset.layout} layout"
        )
    for sample in (*dataset.train, *dataset.test):
        try:
            reading.annotations.append(_annotation(source, sample))
        except DatasetError as error:
            reading.fail(f"{sample.name}: {error}")
    return reading


def _annotation(source: Path, sample: Sample) -> Annotation:
    path = inside(source, source, sample.name)
    mask = inside(source, source, str(sample.masks[0].relative_to(source))) if sample.masks else None
    shapes = () if sample.is_good else (Shape(sample.kind, partial(_paint, path=mask) if mask else None),)
    return Annotation(sample.name, path, sample.name, shapes, split=sample.split)


def _paint(mask: Mask, path: Path) -> None:
    mask[read_mask(path, (mask.shape[0], mask.shape[1]))] = 255
