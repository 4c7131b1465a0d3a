"""LabelMe: one JSON file an image, with polygons, rectangles, circles, lines, points and masks."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from blemish.datasets.annotations import shapes
from blemish.datasets.annotations.annotation import Annotation, Reading, Shape, leave_out
from blemish.datasets.annotations.image_index import ImageIndex, plain_path
from blemish.datasets.annotations.shapes import Draw, Mask, Points, read_points
from blemish.datasets.annotations.unannotated import add_unannotated
from blemish.datasets.annotations.verdicts import of_flags
from blemish.datasets.files import decode_text, fold, inside, naming, read_file, read_json, safe_name, visible_files
from blemish.errors import DatasetError
from blemish.images import decode_image, is_image_name

LISTS = {"train_anno_list.txt": "train", "val_anno_list.txt": "test", "test_anno_list.txt": "test"}  # PaddleX's
MOST_BYTES = 1 << 28


def read_labelme(source: Path) -> Reading:
    """The annotations in a folder and its sub-folders.

    PaddleX's `train_anno_list.txt` and `val_anno_list.txt`, a JSON file a line, say what is read and for which split,
    if they are there. Without them, images that no file describes count as good.
    """
    reading, foreign = Reading(), []
    index = ImageIndex(source)
    listed = any((source / name).is_file() for name in LISTS)
    for path, split in _listed(source, reading) if listed else _found(source):
        name = path.relative_to(source.resolve()).as_posix()
        try:
            if not _read_one(index, path, split, reading):
                foreign.append(name)
        except DatasetError as error:
            reading.fail(f"{name}: {error}", path.stem)
    leave_out(reading, foreign, "JSON file", "of another tool")
    if not reading.annotations and not reading.failed:
        raise DatasetError(f"{source} holds no LabelMe annotation: JSON files with `imagePath` and `shapes`")
    index.settle(reading)
    if listed:
        known = {annotation.origin for annotation in reading.annotations}
        others = [path.relative_to(source.resolve()).as_posix() for path, _ in _found(source)]
        leave_out(reading, set(others) - known - set(foreign), "JSON file", "in no list")
    else:
        add_unannotated(index, reading)
    return reading


def _found(source: Path) -> Iterator[tuple[Path, None]]:
    for path in visible_files(source.resolve(), ".json"):
        yield path, None


def _listed(source: Path, reading: Reading) -> Iterator[tuple[Path, str]]:
    for list_name, split in LISTS.items():
        if not (source / list_name).is_file():
            continue
        with naming(source / list_name):
            lines = decode_text(read_file(source / list_name, MOST_BYTES)).splitlines()
        for line in filter(None, map(str.strip, lines)):
            try:
                yield inside(source, source, line), split
            except DatasetError as error:
                reading.fail(f"{list_name}: {error}")


def _read_one(index: ImageIndex, path: Path, split: str | None, reading: Reading) -> bool:
    """Add the annotation in a JSON file; False if it is not LabelMe's."""
    content = read_json(path, MOST_BYTES)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        return False
    image, unsure = _image(index, path, content)
    try:
        found = tuple(_shape(shape) for shape in content["shapes"])
    except DatasetError:
        reading.unknown.add(image)
        raise
    embedded = partial(_embedded, path) if content.get("imageData") else None
    width, height = content.get("imageWidth"), content.get("imageHeight")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    if fold(image.stem) != fold(path.stem):
        reading.elsewhere.add(fold(path.stem))
    if not image.is_file():
        reading.skipped |= {fold(path.stem), fold(image.stem)}
    verdicts, undecided = of_flags(content.get("flags"))
    name, origin = _relative(index.source, image), _relative(index.source, path)
    reading.annotations.append(
        Annotation(name, image, origin, found, size, split, embedded, verdicts, undecided or unsure)
    )
    return True


def _image(index: ImageIndex, path: Path, content: dict[str, Any]) -> tuple[Path, str]:
    """The image file that a JSON file describes, and why that is not certain.

    It is the one that `imagePath` names; else one beside the JSON file that has its name; else where the image within
    the JSON file belongs.
    """
    name = content.get("imagePath")
    if not isinstance(name, str) or not name.strip():
        raise DatasetError("has no `imagePath`")
    base = PurePosixPath(plain_path(name)).name
    if is_image_name(base):
        found = index.find(name, path.parent)
        if found is not None:
            return found, ""
    if content.get("imageData"):
        own = "" if is_image_name(base) else path.stem
        found = index.by_stem(own, path.parent) if own else None
        return found or path.parent / safe_name(own or base, path.stem), ""
    beside = index.by_stem(path.stem, path.parent)
    if beside is not None:
        return beside, "called otherwise by the JSON file of the name, which marks nothing"
    return inside(index.source, path.parent, name), ""


def _relative(source: Path, image: Path) -> str:
    return Path(os.path.relpath(image, source.resolve())).as_posix()


def _embedded(path: Path) -> bytes:
    """The image within a JSON file, read again: to keep them all would fill the memory."""
    return _base64(read_json(path, MOST_BYTES).get("imageData"), "`imageData`")


def _base64(text: object, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=False) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        raise DatasetError(f"{what} is not Base64 text") from None


def _shape(shape: Any) -> Shape:
    if not isinstance(shape, dict):
        raise DatasetError("has a shape that is not an object")
    kind, label = shape.get("shape_type") or "polygon", shape.get("label")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise DatasetError(f"has a shape of unknown type {kind!r}; known are {', '.join(_TYPES)}")
    return Shape("" if label is None else str(label), _draw(kind, shape))


def _draw(kind: str, shape: dict[str, Any]) -> Draw | None:
    """None for outlines of fewer than three points, which tools leave behind after a click too many."""
    least, fill = _TYPES[kind]
    if fill is shapes.fill_polygon:
        points = read_points(shape.get("points"), 0, kind)
        return partial(shapes.fill_polygon, points=points) if len(points) >= least else None
    points = read_points(shape.get("points"), least, kind)
    if fill is None:
        return partial(_paste, points=points, data=_base64(shape.get("mask"), "a `mask`"))
    return lambda mask: fill(mask, points)


def _fill_circle(mask: Mask, points: Points) -> None:
    shapes.fill_disc(mask, points[0], float(np.hypot(*(points[1] - points[0]))))


def _paste(mask: Mask, points: Points, data: bytes) -> None:
    left, top = np.floor(points.min(axis=0) + 0.5).astype(int)
    shapes.paste(mask, int(left), int(top), decode_image(data, "a `mask` shape")[..., 0] > 0)


# The points that a type of shape needs at the least, and how it is painted; a mask brings its own pixels.
_TYPES: dict[str, tuple[int, Callable[[Mask, Points], None] | None]] = {
    "polygon": (3, shapes.fill_polygon),
    "oriented_rectangle": (3, shapes.fill_polygon),
    "rotation": (3, shapes.fill_polygon),  # X-AnyLabeling's
    "quadrilateral": (3, shapes.fill_polygon),  # likewise
    "rectangle": (2, shapes.fill_box),
    "circle": (2, _fill_circle),
    "line": (2, shapes.fill_line),
    "linestrip": (2, shapes.fill_line),
    "point": (1, shapes.fill_discs),
    "points": (1, shapes.fill_discs),
    "mask": (2, None),
}
