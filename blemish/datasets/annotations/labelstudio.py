"""Label Studio: JSON and JSON-MIN of image tasks, with regions in percent of the image and choices for all of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from blemish.datasets.annotations import shapes
from blemish.datasets.annotations.annotation import Annotation, Reading, Shape, leave_out
from blemish.datasets.annotations.brush_rle import decode_brush
from blemish.datasets.annotations.coco import split_of
from blemish.datasets.annotations.image_index import ImageIndex
from blemish.datasets.annotations.labelstudio_tasks import Region, image_of, is_export, read_task
from blemish.datasets.annotations.shapes import Draw, Mask
from blemish.datasets.files import read_json, visible_files
from blemish.errors import DatasetError

MOST_BYTES = 1 << 30


def read_labelstudio(source: Path) -> Reading:
    """The annotations of all exports in a folder; choices are labels of whole images.

    Images that no export names are left out, and so are those whose task was skipped or not done. Several
    annotations of one task count together.
    """
    reading, foreign, count = Reading(), [], 0
    index = ImageIndex(source)
    for path in visible_files(index.root, ".json"):
        name = index.relative(path)
        try:
            content = read_json(path, MOST_BYTES)
        except DatasetError as error:
            reading.fail(f"{name}: {error}")
            continue
        tasks = content if isinstance(content, list) and all(isinstance(task, dict) for task in content) else []
        if not tasks or not is_export(tasks):
            foreign.append(name)
            continue
        count += 1
        for task in tasks:
            _read_one(index, path, task, reading)
    if not count and not reading.failed:
        raise DatasetError(f"{source} holds no export of Label Studio: JSON or JSON-MIN with tasks")
    index.settle(reading)
    leave_out(reading, foreign, "JSON file", "of another tool")
    leave_out(reading, set(index.names) - {one.name for one in reading.annotations}, "image", "in no export")
    return reading


def _read_one(index: ImageIndex, path: Path, entry: dict[str, Any], reading: Reading) -> None:
    name, image = index.relative(path), None
    try:
        image = index.locate(image_of(entry), path.parent)
        task = read_task(entry)
        found = tuple(Shape(region.label, _draw(region)) for region in task.regions)
        sizes = {region.size for region in task.regions} - {None}
        if len(sizes) > 1:
            raise DatasetError("has regions for images of several sizes")
    except DatasetError as error:
        reading.fail(f"{name}: {image_of(entry) or 'a task'}: {error}", image)
        return
    reading.annotations.append(
        Annotation(
            index.relative(image),
            image,
            name,
            found,
            sizes.pop() if sizes else None,
            split_of(name),
            verdicts=task.verdicts,
            unsure=task.unsure,
        )
    )


def _draw(region: Region) -> Draw | None:
    """None for shapes that cannot be painted, and for those on an image that was turned in the tool."""
    least = _SHAPES.get(region.kind)
    if least is None or region.is_turned:
        return None
    if region.kind == "brush":
        return partial(_brush, codes=region.value.get("rle"))
    if region.kind == "polygon":
        points = shapes.read_points(region.value.get("points"), 0, "polygon")
        return partial(_polygon, points=points) if len(points) >= 3 else None
    names, paint = least
    numbers = [region.value.get(name) for name in names]
    turn = region.value.get("rotation") or 0
    if not all(shapes.is_number(number) for number in (*numbers, turn)):
        raise DatasetError(f"has a {region.kind} without numbers for {', '.join(names)}")
    return partial(paint, numbers=numbers, turn=turn)


def _scaled(mask: Mask, *shares: float) -> list[float]:
    """Percents of the width and the height in turn, as pixels."""
    height, width = mask.shape
    return [share * side / 100 for share, side in zip(shares, (width, height) * len(shares), strict=False)]


def _rectangle(mask: Mask, numbers: list[float], turn: float) -> None:
    """Label Studio turns a rectangle about its first corner."""
    left, top, width, height = _scaled(mask, *numbers)
    shapes.turned_box_of((left, top), (width, height), turn, (0.0, 0.0))(mask)


def _ellipse(mask: Mask, numbers: list[float], turn: float) -> None:
    x, y, across, down = _scaled(mask, *numbers)
    shapes.ellipse_of((x, y), (across, down), turn)(mask)


def _keypoint(mask: Mask, numbers: list[float], turn: float) -> None:  # noqa: ARG001 - a point has no turn
    shapes.points_of([_scaled(mask, *numbers)])(mask)


def _polygon(mask: Mask, points: shapes.Points) -> None:
    height, width = mask.shape
    shapes.fill_outline(mask, points * np.array([width, height]) / 100)


def _brush(mask: Mask, codes: Any) -> None:
    mask[decode_brush(codes, *mask.shape)] = 255


_Paint = Callable[..., None]
_SHAPES: dict[str, tuple[tuple[str, ...], _Paint]] = {
    "rectangle": (("x", "y", "width", "height"), _rectangle),
    "ellipse": (("x", "y", "radiusX", "radiusY"), _ellipse),
    "keypoint": (("x", "y"), _keypoint),
    "polygon": ((), _polygon),
    "brush": ((), _brush),
}
