"""COCO: one JSON file for many images, with polygons, run-length encoded masks or boxes."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from blemish.datasets.annotations import shapes
from blemish.datasets.annotations.annotation import Annotation, Reading, Shape, leave_out
from blemish.datasets.annotations.image_index import ImageIndex
from blemish.datasets.annotations.shapes import Draw, is_number, read_points
from blemish.datasets.files import read_json, visible_files
from blemish.errors import DatasetError, UsageError
from blemish.images.rle import decode_mask

MOST_BYTES = 1 << 30
_SPLITS = {"train": "train", "val": "test", "valid": "test", "validation": "test", "test": "test"}


def read_coco(source: Path) -> Reading:
    """The annotations of all COCO files in a folder and its sub-folders; the categories are the types of defects.

    A file or folder called train, val, valid or test says the split of its images. Images that no file lists are left
    out; listed ones without annotations are good.
    """
    reading, foreign, count = Reading(), [], 0
    index = ImageIndex(source)
    content: Any
    for path in visible_files(source.resolve(), ".json"):
        name = path.relative_to(source.resolve()).as_posix()
        content = None
        try:
            content = read_json(path, MOST_BYTES)
            if not _is_coco(content):
                foreign.append(name)
                continue
            count += 1
            _read_file(index, path, name, content, reading)
        except DatasetError as error:
            reading.fail(f"{name}: {error}")
            _doubt_all(index, path, content, reading)
    if not count and not reading.failed:
        raise DatasetError(f"{source} holds no COCO file: JSON with `images`, `annotations` and `categories`")
    leave_out(reading, foreign, "JSON file", "of another tool")
    index.settle(reading)
    known = {annotation.name for annotation in reading.annotations}
    leave_out(reading, set(index.names) - known, "image", "in no COCO file")
    return reading


def _doubt_all(index: ImageIndex, path: Path, content: Any, reading: Reading) -> None:
    """The images of a file that failed as a whole are not good because another file says so."""
    images = content.get("images") if isinstance(content, dict) else None
    for image in images if isinstance(images, list) else ():
        try:
            found = index.peek(image.get("file_name"), path.parent) if isinstance(image, dict) else None
        except DatasetError:
            continue
        if found is not None:
            reading.unknown.add(found)


def _is_coco(content: Any) -> bool:
    return isinstance(content, dict) and all(
        isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
    )


def _read_file(index: ImageIndex, path: Path, name: str, content: dict[str, Any], reading: Reading) -> None:
    categories = {_key(item, "id"): str(item.get("name", "")) for item in _objects(content["categories"])}
    by_image: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in _objects(content["annotations"]):
        by_image[_key(item, "image_id")].append(item)
    images = {_key(item, "id"): item for item in _objects(content["images"])}
    if len(images) < len(content["images"]):
        raise DatasetError("gives several images the same `id`")
    dangling = bool(by_image.keys() - images.keys())
    if dangling:
        reading.fail(f"{name}: has annotations of images that it does not list")
    unsure = "without an annotation in a file that has some of images that it does not list" if dangling else ""
    for key, image in images.items():
        file_name = image.get("file_name")
        try:
            found = index.locate(file_name, path.parent)
        except DatasetError as error:
            reading.fail(f"{name}: {error}")
            continue
        try:
            shapes_found = tuple(_shape(mark, categories) for mark in by_image.get(key, ()))
        except DatasetError as error:
            reading.fail(f"{name}: {file_name}: {error}", found)
            continue
        reading.annotations.append(
            Annotation(index.relative(found), found, name, shapes_found, _size(image), split_of(name), unsure=unsure)
        )


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _shape(mark: dict[str, Any], categories: dict[str, str]) -> Shape:
    category = _key(mark, "category_id")
    if category not in categories:
        raise DatasetError(f"has category {category}, which is not among the `categories`")
    return Shape(categories[category], _draw(mark))


def _draw(mark: dict[str, Any]) -> Draw | None:
    """None where there is no polygon of three points or more."""
    segmentation = mark.get("segmentation")
    if isinstance(segmentation, dict):
        return partial(_paint_rle, rle=segmentation)
    if isinstance(segmentation, list) and any(part != [] for part in segmentation):
        # VGG Image Annotator writes one polygon as a flat list
        parts = [segmentation] if all(is_number(part) for part in segmentation) else segmentation
        outlines = [outline for part in parts if len(outline := _outline(part)) >= 3]
        return partial(_fill_all, outlines=outlines) if outlines else None
    box = mark.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(number) for number in box):
        raise DatasetError("has an annotation with neither `segmentation` nor `bbox`")
    return shapes.box_of(*box)


def _outline(flat: Any) -> shapes.Points:
    """[x0, y0, x1, y1, ...] as (n, 2)."""
    if not isinstance(flat, list) or len(flat) % 2:
        raise DatasetError("has a polygon that is not a list of x, y, x, y, ...")
    return read_points([list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)], 0, "polygon")


def _fill_all(mask: shapes.Mask, outlines: list[shapes.Points]) -> None:
    for outline in outlines:
        shapes.fill_outline(mask, outline)


def _paint_rle(mask: shapes.Mask, rle: dict[str, Any]) -> None:
    if rle.get("size") != list(mask.shape):
        raise DatasetError(f"a run-length mask has the size {rle.get('size')}, the image {list(mask.shape)}")
    try:
        mask |= decode_mask(rle)
    except UsageError as error:
        raise DatasetError(str(error)) from None


def _objects(items: list[Any]) -> list[dict[str, Any]]:
    if not all(isinstance(item, dict) for item in items):
        raise DatasetError("has an entry that is not an object")
    return items


def _key(item: dict[str, Any], key: str) -> str:
    """An id as text: some tools write 7 in one place and "7" in another."""
    value = item.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise DatasetError(f"has an entry without `{key}`")
    return str(value).strip()


def split_of(name: str) -> str | None:
    """The split that a file's name or folder tells: `instances_val2017.json`, `valid/_annotations.coco.json`."""
    words = re.findall(r"[a-z]+", "/".join(Path(name).parts[-2:]).lower())
    return next((_SPLITS[word] for word in reversed(words) if word in _SPLITS), None)
