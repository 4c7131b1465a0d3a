"""YOLO, for boxes and for outlines: a text file an image, as Ultralytics, Darknet and their exporters write it."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from blemish.datasets.annotations import shapes
from blemish.datasets.annotations.annotation import Annotation, Reading, Shape
from blemish.datasets.annotations.image_index import ImageIndex
from blemish.datasets.annotations.shapes import Mask
from blemish.datasets.annotations.unannotated import add_unannotated
from blemish.datasets.annotations.yolo_lines import label_lines, parse_line
from blemish.datasets.annotations.yolo_sets import YoloSet, read_yolo_set
from blemish.datasets.files import decode_text, fold, image_stem, read_file, visible_files
from blemish.errors import DatasetError

MOST_BYTES = 1 << 26
_NO_LABELS = frozenset(("classes.txt", "labels.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt"))


def read_yolo(source: Path) -> Reading:
    """The annotations of a data set; the names of the classes are those of `data.yaml`, `obj.names` or `classes.txt`.

    An image whose label file is empty or missing is good if it lies beside labelled ones.
    """
    reading, index = Reading(), ImageIndex(source)
    known = read_yolo_set(index)
    reading.warnings += known.warnings
    labels = {
        fold(index.relative(path)): path
        for path in visible_files(index.root, ".txt")
        if path.name.lower() not in _NO_LABELS
    }
    used: set[Path] = set()
    for image in index.paths:
        path = _label_file(index.relative(image), labels)
        if path is not None:
            used.add(path)
            index.claim(image.resolve())
            _read_one(index, path, image.resolve(), known, reading)
    for path in sorted(set(labels.values()) - used):
        _read_apart(index, path, known, reading)
    if not any(annotation.shapes for annotation in reading.annotations) and not reading.failed:
        raise DatasetError(f"{source} holds no marks of YOLO: text files with lines of a class and shares of the image")
    index.settle(reading)
    add_unannotated(index, reading, known.split)
    return reading


def _label_file(name: str, labels: dict[str, Path]) -> Path | None:
    """As Ultralytics finds it, with the last `images` of the path replaced by `labels`; else beside the image."""
    path = PurePosixPath(fold(name)).with_suffix(".txt")
    places = [place for place, part in enumerate(path.parts[:-1]) if part == "images"]
    if places:
        parallel = PurePosixPath(*path.parts[: places[-1]], "labels", *path.parts[places[-1] + 1 :]).as_posix()
        if parallel in labels:
            return labels[parallel]
    return labels.get(path.as_posix())


def _read_one(index: ImageIndex, path: Path, image: Path, known: YoloSet, reading: Reading) -> None:
    origin = index.relative(path)
    try:
        name = index.relative(image)
        lines = [line for line in decode_text(read_file(path, MOST_BYTES)).splitlines() if line.strip()]
        found = tuple(_shape(line, known) for line in lines)
    except (DatasetError, ValueError) as error:
        reading.fail(f"{origin}: {error}", image)
        return
    reading.annotations.append(Annotation(name, image, origin, found, split=known.split(image)))


def _read_apart(index: ImageIndex, path: Path, known: YoloSet, reading: Reading) -> None:
    """A label file in a folder that is not called `labels`, or whose image is missing; other texts are passed by."""
    try:
        lines = label_lines(decode_text(read_file(path, MOST_BYTES)))
        image = index.by_stem_anywhere(image_stem(path.name), path.parent) if lines is not None else None
    except DatasetError as error:
        reading.fail(f"{index.relative(path)}: {error}", image_stem(path.name))
        return
    if image is not None:
        _read_one(index, path, image, known, reading)
    elif lines:
        reading.fail(f"{index.relative(path)}: its image is not there", image_stem(path.name))


def _shape(line: str, known: YoloSet) -> Shape:
    number, shares = parse_line(line)
    label = known.label(number)
    if known.keypoints and len(shares) == 4 + known.keypoints:
        shares = shares[:4]
    if len(shares) <= 5:  # the fifth is the confidence of a prediction
        x, y, width, height = shares[:4]
        left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        return Shape(label, partial(_fill, outline=np.array(corners)))
    if len(shares) % 2:
        raise DatasetError(f"the line {line[:40]!r} has an outline with half a point")
    return Shape(label, partial(_fill, outline=np.array(shares).reshape(-1, 2)))


def _fill(mask: Mask, outline: shapes.Points) -> None:
    """Shares (n, 2) of width and height are measured from the image's corner."""
    shapes.fill_outline(mask, outline * np.array(mask.shape[::-1]))
