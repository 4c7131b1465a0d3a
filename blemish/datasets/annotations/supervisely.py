"""Supervisely: one JSON file an image in `ann`, the images in `img`, the classes in `meta.json`.

Vertices are pixels and belong to the shape, as Supervisely itself draws them.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.datasets.annotations import shapes
from blemish.datasets.annotations.annotation import Annotation, Reading, Shape, leave_out
from blemish.datasets.annotations.coco import split_of
from blemish.datasets.annotations.image_index import ImageIndex
from blemish.datasets.annotations.shapes import Draw, Mask, Points, read_points
from blemish.datasets.annotations.verdicts import of_tags, split_of_tags
from blemish.datasets.annotations.voc_masks import open_png
from blemish.datasets.files import read_json, visible_files
from blemish.errors import DatasetError
from blemish.images import is_image_name

MOST_BYTES = 1 << 28
_MOST_PNG = 1 << 26  # bytes of a bitmap once unpacked: more than any mask's PNG has, and less than a bomb's


def read_supervisely(source: Path) -> Reading:
    """The annotations of a project or a data set of it; images without an annotation file are left out."""
    reading, foreign = Reading(), []
    index = ImageIndex(source)
    for path in visible_files(index.root, ".json"):
        name = index.relative(path)
        try:
            content = read_json(path, MOST_BYTES)
            if not isinstance(content, dict) or not isinstance(content.get("objects"), list):
                foreign += [] if path.name in ("meta.json", "obj_class_to_machine_color.json") else [name]
                continue
            _read_one(index, path, content, reading)
        except DatasetError as error:
            reading.fail(f"{name}: {error}")
    if not reading.annotations and not reading.failed:
        raise DatasetError(f"{source} holds no Supervisely annotation: JSON files with `objects` and `size` in `ann`")
    index.settle(reading)
    leave_out(reading, foreign, "JSON file", "of another tool")
    leave_out(reading, set(index.names) - {one.name for one in reading.annotations}, "image", "with no annotation file")
    return reading


def _read_one(index: ImageIndex, path: Path, content: dict[str, Any], reading: Reading) -> None:
    image = _image(index, path)
    try:
        found = tuple(_shape(item) for item in content["objects"])
    except DatasetError:
        reading.unknown.add(image)
        raise
    size = content.get("size")
    width, height = (size.get("width"), size.get("height")) if isinstance(size, dict) else (None, None)
    stated = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    verdicts, unsure = of_tags(content.get("tags"))
    name = index.relative(path)
    split = split_of_tags(content.get("tags")) or split_of(index.relative(path.parent))
    reading.annotations.append(
        Annotation(index.relative(image), image, name, found, stated, split, verdicts=verdicts, unsure=unsure)
    )


def _image(index: ImageIndex, path: Path) -> Path:
    """`img/000.png` for `ann/000.png.json`, or for `ann/000.json` as it was once."""
    stem = path.stem
    folder = path.parent.parent / "img"
    if is_image_name(stem):
        found = index.exact(folder, stem) or index.find(stem, path.parent)
    else:
        found = index.by_stem(stem, folder) or index.by_stem_anywhere(stem, path.parent)
    if found is None:
        raise DatasetError(f"its image {stem} is not there")
    return found


def _shape(item: Any) -> Shape:
    if not isinstance(item, dict):
        raise DatasetError("has an object that is none")
    label = item.get("classTitle")
    if not isinstance(label, str):
        raise DatasetError("has an object without `classTitle`")
    return Shape(label, _draw(str(item.get("geometryType") or _old_kind(item)), item))


def _old_kind(item: dict[str, Any]) -> str:
    """The kind of a shape where it is not said, as in old exports."""
    return "bitmap" if item.get("bitmap") else "polygon"


def _draw(kind: str, item: dict[str, Any]) -> Draw | None:
    """None for shapes that cannot be painted, and for polygons of fewer than three points."""
    if kind == "bitmap":
        return partial(_paste, *_bitmap(item.get("bitmap")))
    if kind not in ("polygon", "rectangle", "line", "polyline", "point"):
        return None
    points = item.get("points")
    if not isinstance(points, dict):
        raise DatasetError(f"has a {kind} without `points`")
    outside = points.get("exterior")
    if kind == "polygon":
        outline = read_points(outside, 0, kind)
        holes = points.get("interior") or []
        if not isinstance(holes, list):
            raise DatasetError("has a polygon whose `interior` is not a list")
        inside = [hole for hole in (read_points(hole, 0, "hole") for hole in holes) if len(hole) >= 3]
        return partial(_fill, outline=outline, holes=inside) if len(outline) >= 3 else None
    if kind == "rectangle":
        return partial(shapes.fill_box, points=read_points(outside, 2, kind))
    return shapes.points_of(outside) if kind == "point" else shapes.line_of(outside)


def _fill(mask: Mask, outline: Points, holes: list[Points]) -> None:
    part = np.zeros_like(mask)
    shapes.fill_polygon(part, outline)
    for hole in holes:
        gap = np.zeros_like(mask)
        shapes.fill_polygon(gap, hole)
        part[gap > 0] = 0
    mask |= part


def _bitmap(bitmap: Any) -> tuple[int, int, bytes]:
    """Left, top and the PNG of a bitmap, whose text is packed by zlib."""
    origin, text = (bitmap.get("origin"), bitmap.get("data")) if isinstance(bitmap, dict) else (None, None)
    ((left, top),) = read_points([origin], 1, "bitmap")
    if not isinstance(text, str):
        raise DatasetError("has a bitmap without `data`")
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text), _MOST_PNG)
    except (binascii.Error, ValueError, zlib.error):
        raise DatasetError("has a bitmap that is not Base64 text of zlib data") from None
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise DatasetError("has a bitmap of more than a mask needs, or one cut short")
    return int(left), int(top), data


def _paste(left: int, top: int, data: bytes, mask: Mask) -> None:
    shapes.paste(mask, left, top, _opaque(data))


def _opaque(data: bytes) -> npt.NDArray[np.bool_]:
    """Where a PNG is not transparent; where it is not black, if nothing in it is transparent. (h, w)"""
    with open_png("a bitmap", lambda: data) as image:
        colours = np.array(image.convert("RGBA"))  # (h, w, 4)
    clear = colours[..., 3] < 128
    return np.asarray(~clear if clear.any() else colours[..., :3].any(axis=2))
