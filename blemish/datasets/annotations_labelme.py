"""LabelMe: one JSON file an image, with polygons, rectangles, circles, lines, points and masks."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from blemish.datasets import shapes
from blemish.datasets.annotations import Annotation, Reading, Shape, add_unannotated, leave_out
from blemish.datasets.files import inside, naming, read_file, read_json, safe_name
from blemish.datasets.shapes import Draw, Mask, Points, read_points
from blemish.errors import DatasetError
from blemish.images import decode_image

LISTS = {"train_anno_list.txt": "train", "val_anno_list.txt": "test", "test_anno_list.txt": "test"}  # PaddleX's
MOST_BYTES = 1 << 28


def read_labelme(source: Path) -> Reading:
    """The annotations in a folder and its sub-folders.

    PaddleX's `train_anno_list.txt` and `val_anno_list.txt`, a JSON file a line, say what is read and for which split,
    if they are there. Without them, images that no file describes count as good.
    """
    reading, foreign = Reading(), []
    listed = any((source / name).is_file() for name in LISTS)
    for path, split in _listed(source, reading) if listed else _found(source):
        name = path.relative_to(source.resolve()).as_posix()
        try:
            if not _read_one(source, path, split, reading):
                foreign.append(name)
        except DatasetError as error:
            reading.fail(f"{name}: {error}", path.stem)
    leave_out(reading, foreign, "files are JSON, but not LabelMe's,")
    if not reading.annotations and not reading.failed:
        raise DatasetError(f"{source} holds no LabelMe annotation: JSON files with `imagePath` and `shapes`")
    if listed:
        known = {annotation.origin for annotation in reading.annotations}
        others = [path.relative_to(source.resolve()).as_posix() for path, _ in _found(source)]
        leave_out(reading, set(others) - known - set(foreign), "JSON files are in no list")
    else:
        add_unannotated(source, reading)
    return reading


def _found(source: Path) -> Iterator[tuple[Path, None]]:
    for path in sorted(source.resolve().rglob("*.json")):
        if not any(part.startswith(".") for part in path.relative_to(source.resolve()).parts):
            yield path, None


def _listed(source: Path, reading: Reading) -> Iterator[tuple[Path, str]]:
    for list_name, split in LISTS.items():
        if not (source / list_name).is_file():
            continue
        with naming(source / list_name):
            lines = read_file(source / list_name, MOST_BYTES).decode("utf-8-sig", "replace").splitlines()
        for line in filter(None, map(str.strip, lines)):
            try:
                yield inside(source, source, line), split
            except DatasetError as error:
                reading.fail(f"{list_name}: {error}")


def _read_one(source: Path, path: Path, split: str | None, reading: Reading) -> bool:
    """Add the annotation in a JSON file; False if it is not LabelMe's."""
    content = read_json(path, MOST_BYTES)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        return False
    image = _image(source, path, content)
    try:
        found = tuple(_shape(shape) for shape in content["shapes"])
    except DatasetError:
        reading.unknown.add(image)
        raise
    embedded = partial(_embedded, path) if content.get("imageData") else None
    width, height = content.get("imageWidth"), content.get("imageHeight")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    if image.stem != path.stem:
        reading.elsewhere.add(path.stem)
    name, origin = _relative(source, image), _relative(source, path)
    reading.annotations.append(Annotation(name, image, origin, found, size, split, embedded))
    return True


def _image(source: Path, path: Path, content: dict[str, Any]) -> Path:
    """The image file that a JSON file names; one beside it where the name leads elsewhere but the image is embedded."""
    name = content.get("imagePath")
    if not isinstance(name, str) or not name.strip():
        raise DatasetError("has no `imagePath`")
    try:
        return inside(source, path.parent, name)
    except DatasetError:
        if not content.get("imageData"):
            raise
        return path.parent / safe_name(PureWindowsPath(name).name, path.stem)  # takes either kind of slash


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


def _draw(kind: str, shape: dict[str, Any]) -> Draw:
    least, fill = _TYPES[kind]
    points = read_points(shape.get("points"), least, kind)
    if fill is None:
        return partial(_paste, points=points, data=_base64(shape.get("mask"), "a `mask`"))
    return lambda mask: fill(mask, points)


def _fill_circle(mask: Mask, points: Points) -> None:
    shapes.fill_disc(mask, points[0], float(np.hypot(*(points[1] - points[0]))))


def _fill_points(mask: Mask, points: Points) -> None:
    for point in points:
        shapes.fill_disc(mask, point, shapes.POINT_RADIUS)


def _paste(mask: Mask, points: Points, data: bytes) -> None:
    left, top = np.floor(points.min(axis=0) + 0.5).astype(int)
    shapes.paste(mask, int(left), int(top), decode_image(data, "a `mask` shape")[..., 0] > 0)


# The points that a type of shape needs at the least, and how it is painted; a mask brings its own pixels.
_TYPES: dict[str, tuple[int, Callable[[Mask, Points], None] | None]] = {
    "polygon": (3, shapes.fill_polygon),
    "oriented_rectangle": (3, shapes.fill_polygon),
    "rectangle": (2, shapes.fill_box),
    "circle": (2, _fill_circle),
    "line": (2, shapes.fill_line),
    "linestrip": (2, shapes.fill_line),
    "point": (1, _fill_points),
    "points": (1, _fill_points),
    "mask": (2, None),
}
