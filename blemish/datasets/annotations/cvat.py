"""CVAT for images 1.1: one XML file for many images, with boxes, polygons, lines, points, ellipses, masks and tags.

Format: CVAT's documentation of its XML, version 1.1. Coordinates are measured from the image's corner.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from blemish.datasets.annotations import shapes
from blemish.datasets.annotations.annotation import Annotation, Reading, Shape, leave_out
from blemish.datasets.annotations.image_index import ImageIndex
from blemish.datasets.annotations.recognising_xml import CVAT_SHAPES
from blemish.datasets.annotations.shapes import Draw, Mask
from blemish.datasets.annotations.xml_files import parse_xml
from blemish.datasets.files import read_file, visible_files
from blemish.datasets.words import role
from blemish.errors import DatasetError
from blemish.images.rle import MAX_PIXELS

MOST_BYTES = 1 << 28


def read_cvat(source: Path) -> Reading:
    """The annotations of all CVAT files in a folder; tags are labels of whole images, subsets say the split.

    Images that no file lists are left out; listed ones without shapes are good.
    """
    reading, foreign, count = Reading(), [], 0
    index = ImageIndex(source)
    for path in visible_files(index.root, ".xml"):
        name = index.relative(path)
        try:
            root = parse_xml(read_file(path, MOST_BYTES))
            if root.tag != "annotations":
                foreign.append(name)
                continue
            count += 1
            if root.find("track") is not None:
                raise DatasetError("is CVAT's XML of a video; export it as `CVAT for images 1.1`, with its images")
        except DatasetError as error:
            reading.fail(f"{name}: {error}")
            continue
        for image in root.iter("image"):
            _read_one(index, path, image, reading)
    if not count and not reading.failed:
        raise DatasetError(f"{source} holds no CVAT file: XML with <annotations> and <image>")
    index.settle(reading)
    leave_out(reading, foreign, "XML file", "of another tool")
    leave_out(reading, set(index.names) - {one.name for one in reading.annotations}, "image", "in no CVAT file")
    return reading


def _read_one(index: ImageIndex, path: Path, item: Element, reading: Reading) -> None:
    name, image = index.relative(path), None
    try:
        image = index.locate(item.get("name"), path.parent)
        found = tuple(Shape(child.get("label") or "", _draw(child)) for child in item if child.tag in CVAT_SHAPES[:-1])
    except DatasetError as error:
        reading.fail(f"{name}: {item.get('name')}: {error}", image)
        return
    tags = tuple(child.get("label") or "" for child in item if child.tag == "tag")
    split = role(item.get("subset") or "").split
    reading.annotations.append(
        Annotation(index.relative(image), image, name, found, _size(item), split and _SPLITS[split], verdicts=tags)
    )


_SPLITS = {"train": "train", "val": "test", "test": "test"}


def _size(item: Element) -> tuple[int, int] | None:
    width, height = item.get("width") or "", item.get("height") or ""
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None


def _draw(item: Element) -> Draw | None:
    """None for shapes in space, and for polygons of fewer than three points."""
    if item.tag == "box":
        left, top, right, bottom = _numbers(item, "xtl", "ytl", "xbr", "ybr")
        width, height = right - left, bottom - top
        return shapes.turned_box_of((left, top), (width, height), _turn(item), (width / 2, height / 2))
    if item.tag == "ellipse":
        x, y, across, down = _numbers(item, "cx", "cy", "rx", "ry")
        return shapes.ellipse_of((x, y), (across, down), _turn(item))
    if item.tag == "mask":
        return _mask(item)
    if item.tag in ("cuboid", "skeleton"):
        return None
    points = _points(item.get("points") or "")
    if item.tag == "polygon":
        return shapes.outline_of(points)
    return shapes.line_of(points) if item.tag == "polyline" else shapes.points_of(points)


def _turn(item: Element) -> float:
    return _numbers(item, "rotation")[0] if item.get("rotation") else 0.0


def _numbers(item: Element, *names: str) -> list[float]:
    try:
        values = [float(item.get(name) or "") for name in names]
    except ValueError:
        raise DatasetError(f"has a {item.tag} without numbers for {', '.join(names)}") from None
    if not all(shapes.is_number(value) for value in values):
        raise DatasetError(f"has a {item.tag} that is no place in an image")
    return values


def _points(text: str) -> list[list[float]]:
    try:
        return [[float(number) for number in pair.split(",")] for pair in text.split(";") if pair.strip()]
    except ValueError:
        raise DatasetError(f"has points that are not x,y;x,y: {text[:40]!r}") from None


def _mask(item: Element) -> Draw:
    """Runs of pixels, row by row, of a mask that lies in a box of the image; the first run is not marked."""
    left, top, width, height = (int(number) for number in _numbers(item, "left", "top", "width", "height"))
    if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
        raise DatasetError("has a mask without a size")
    try:
        runs = np.array([int(run) for run in (item.get("rle") or "").split(",")], np.int64)
    except (ValueError, OverflowError):
        raise DatasetError("has a mask whose `rle` is not a list of numbers") from None
    pixels = width * height
    if len(runs) > pixels + 1 or runs.min() < 0 or runs.max() > pixels or runs.sum() > pixels:
        raise DatasetError("has a mask whose `rle` does not fit its size")
    return partial(_paint, box=(left, top, width, height), runs=runs)


def _paint(mask: Mask, box: tuple[int, int, int, int], runs: npt.NDArray[np.int64]) -> None:
    left, top, width, height = box
    marked = np.zeros(height * width, np.bool_)
    marked[: runs.sum()] = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    shapes.paste(mask, left, top, marked.reshape(height, width))
