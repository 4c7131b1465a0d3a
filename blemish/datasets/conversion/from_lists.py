"""PaddleX's list files as annotations: the mask file of every image."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from blemish.datasets.annotations.annotation import Annotation, Reading, Shape
from blemish.datasets.annotations.shapes import Mask
from blemish.datasets.files import inside
from blemish.datasets.layouts.loading import load_dataset
from blemish.datasets.masks.reading import mask_of
from blemish.datasets.samples import Sample
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
    masks = tuple(inside(source, source, str(mask.relative_to(source))) for mask in sample.masks)
    draw = partial(_paint, sample=replace(sample, path=path, masks=masks)) if masks else None
    shapes = () if sample.is_good else (Shape(sample.kind, draw),)
    return Annotation(sample.name, path, sample.name, shapes, split=sample.split)


def _paint(mask: Mask, sample: Sample) -> None:
    mask[mask_of(sample, (mask.shape[0], mask.shape[1]))] = 255
