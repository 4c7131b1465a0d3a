"""VGG Image Annotator (VIA), versions 1 and 2: one JSON or CSV file for many images, with regions of any shape."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from blemish.datasets.annotations import shapes, via_entries
from blemish.datasets.annotations.annotation import Annotation, Reading, Shape, leave_out
from blemish.datasets.annotations.image_index import ImageIndex
from blemish.datasets.annotations.shapes import Draw
from blemish.datasets.files import decode_text, read_file, read_json, visible_files
from blemish.errors import DatasetError

MOST_BYTES = 1 << 28


def read_via(source: Path) -> Reading:
    """The annotations of all projects, annotation files and tables in a folder; images in none of them are left out.

    The type of a defect is the region's attribute that is called label, class or the like, else its first one.
    """
    reading, foreign, count = Reading(), [], 0
    index = ImageIndex(source)
    for path in visible_files(index.root, ".json", ".csv"):
        name = index.relative(path)
        try:
            entries = _entries(path)
            if entries is None:
                foreign.append(name)
                continue
            count += 1
        except DatasetError as error:
            reading.fail(f"{name}: {error}")
            continue
        for entry in entries:
            _read_one(index, path, entry, reading)
    if not count and not reading.failed:
        raise DatasetError(f"{source} holds no file of VGG Image Annotator: JSON with `filename` and `regions`, or CSV")
    index.settle(reading)
    leave_out(reading, foreign, "file", "of another tool")
    leave_out(reading, set(index.names) - {one.name for one in reading.annotations}, "image", "in no annotation file")
    return reading


def _entries(path: Path) -> list[dict[str, Any]] | None:
    if path.suffix.lower() == ".csv":
        return _table(decode_text(read_file(path, MOST_BYTES)))
    content = read_json(path, MOST_BYTES)
    return via_entries.entries_of(content) if isinstance(content, dict) else None


def _table(text: str) -> list[dict[str, Any]] | None:
    """Rows of a region each as entries of an image each."""
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise DatasetError(f"is not readable CSV: {error}") from None
    columns = ("filename", "file_attributes", "region_shape_attributes", "region_attributes")
    if not rows:
        return None
    rows = [{str(name).lstrip("#"): value for name, value in row.items()} for row in rows]
    if any(column not in rows[0] for column in columns):
        return None
    entries: dict[str, dict[str, Any]] = {}
    for row in rows:
        about, outline, names = (_cell(row[column]) for column in columns[1:])
        entry = entries.setdefault(
            str(row["filename"]), {"filename": row["filename"], "file_attributes": about, "regions": []}
        )
        if outline:
            entry["regions"].append({"shape_attributes": outline, "region_attributes": names})
    return list(entries.values())


def _cell(text: Any) -> Any:
    try:
        return json.loads(text or "{}")
    except (TypeError, ValueError, RecursionError):
        raise DatasetError("has a cell that is not JSON") from None


def _read_one(index: ImageIndex, path: Path, entry: dict[str, Any], reading: Reading) -> None:
    name, image = index.relative(path), None
    try:
        image = index.locate(entry.get("filename"), path.parent)
        found = tuple(Shape(via_entries.label_of(region), _draw(region)) for region in via_entries.regions_of(entry))
    except DatasetError as error:
        reading.fail(f"{name}: {entry.get('filename')}: {error}", image)
        return
    verdicts, unsure = via_entries.verdicts_of(entry)
    reading.annotations.append(Annotation(index.relative(image), image, name, found, verdicts=verdicts, unsure=unsure))


def _draw(region: Any) -> Draw | None:
    outline = region.get("shape_attributes") if isinstance(region, dict) else None
    if not isinstance(outline, dict):
        raise DatasetError("has a region without `shape_attributes`")
    kind = outline.get("name")
    if kind == "rect":
        return shapes.box_of(*_numbers(outline, "x", "y", "width", "height"))
    if kind in ("polygon", "polyline"):
        points = _points(outline)
        return shapes.outline_of(points) if kind == "polygon" else shapes.line_of(points)
    if kind == "point":
        return shapes.points_of([_numbers(outline, "cx", "cy")])
    if kind == "circle":
        x, y, radius = _numbers(outline, "cx", "cy", "r")
        return shapes.ellipse_of((x, y), (radius, radius))
    if kind == "ellipse":
        x, y, across, down = _numbers(outline, "cx", "cy", "rx", "ry")
        turn = _numbers(outline, "theta")[0] if "theta" in outline else 0.0
        return shapes.ellipse_of((x, y), (across, down), math.degrees(turn))
    raise DatasetError(f"has a region of unknown shape {kind!r}")


def _numbers(outline: dict[str, Any], *names: str) -> list[float]:
    values = [outline.get(name) for name in names]
    if not all(shapes.is_number(value) for value in values):
        raise DatasetError(f"has a region without numbers for {', '.join(names)}")
    return values  # type: ignore[return-value]


def _points(outline: dict[str, Any]) -> list[list[Any]]:
    across, down = outline.get("all_points_x"), outline.get("all_points_y")
    if not isinstance(across, list) or not isinstance(down, list) or len(across) != len(down):
        raise DatasetError("has a polygon without `all_points_x` and `all_points_y` of one length")
    return [list(pair) for pair in zip(across, down, strict=True)]
