"""Lines of manifests as Amazon Lookout for Vision and SageMaker Ground Truth write them.

A line names an image under `source-ref`. Every other key stands for one job, and the key with `-metadata` behind it
says of what kind it was. Whether an image is normal is said by the class name; the number beside it is not used, and
the examples of the service's own documentation have 1 for normal images too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from blemish.datasets.annotations.shapes import is_number
from blemish.errors import DatasetError

BACKGROUND = "background"
_COLOUR = re.compile(r"#?([0-9a-fA-F]{6})")
_DETAILS = "-metadata"
_SIDES = ("left", "top", "width", "height")


@dataclass(frozen=True)
class Box:
    """A box in pixels, measured from the image's corner."""

    label: str
    sides: tuple[float, float, float, float]  # as `_SIDES`


@dataclass(frozen=True)
class ColourMask:
    """A mask file, and the class of each of its colours (red, green, blue)."""

    reference: str
    classes: dict[tuple[int, int, int], str]


@dataclass(frozen=True)
class ManifestLine:
    """What a line says; `verdicts` are class names of the whole image, `is_boxed` says that boxes were asked for."""

    image: str
    verdicts: tuple[str, ...]
    boxes: tuple[Box, ...]
    masks: tuple[ColourMask, ...]
    is_boxed: bool


def read_line(entry: dict[str, Any]) -> ManifestLine:
    """A line of a manifest; `DatasetError` for what cannot be understood."""
    image = entry.get("source-ref")
    if not isinstance(image, str) or not image.strip():
        raise DatasetError("has no `source-ref`")
    verdicts: list[str] = []
    boxes: list[Box] = []
    masks: list[ColourMask] = []
    is_boxed = False
    for key, details in entry.items():
        if not key.endswith(_DETAILS) or not isinstance(details, dict):
            continue
        value = entry.get(key.removesuffix(_DETAILS))
        if isinstance(details.get("internal-color-map"), dict):
            masks += [ColourMask(value, _colours(details["internal-color-map"]))] if isinstance(value, str) else []
        elif isinstance(value, dict) and "annotations" in value:
            boxes += _boxes(value["annotations"], details)
            is_boxed = True
        elif "class-name" in details or "class-map" in details:
            verdicts += _classes(details)
    if not verdicts and entry.get("anomaly-label") in (0, 1):
        verdicts = ["normal", "anomaly"][entry["anomaly-label"] : entry["anomaly-label"] + 1]
    return ManifestLine(image, tuple(verdicts), tuple(boxes), tuple(masks), is_boxed)


def _classes(details: dict[str, Any]) -> list[str]:
    """The name of the class, or the names of several; a bare number is none."""
    if "class-name" in details:
        return [str(details["class-name"])]
    names = details["class-map"]
    if not isinstance(names, dict):
        raise DatasetError("has a `class-map` that is not an object")
    return [str(name) for name in names.values()]


def _boxes(annotations: Any, details: dict[str, Any]) -> list[Box]:
    names = details.get("class-map")
    if not isinstance(annotations, list) or not isinstance(names, dict):
        raise DatasetError("has boxes without `annotations` or `class-map`")
    boxes = []
    for item in annotations:
        sides: list[Any] = [item.get(side) if isinstance(item, dict) else None for side in _SIDES]
        if not all(is_number(side) for side in sides):
            raise DatasetError("has a box that is not made of numbers")
        number = str(item.get("class_id"))
        if number not in names:
            raise DatasetError(f"has class {number}, which is not in its `class-map`")
        left, top, width, height = sides
        boxes.append(Box(str(names[number]), (left, top, width, height)))
    return boxes


def _colours(entries: dict[str, Any]) -> dict[tuple[int, int, int], str]:
    colours = {}
    for entry in entries.values():
        match = _COLOUR.fullmatch(str(entry.get("hex-color"))) if isinstance(entry, dict) else None
        if match is None:
            raise DatasetError("has a colour map without `hex-color`")
        red, green, blue = bytes.fromhex(match[1])
        colours[red, green, blue] = str(entry.get("class-name"))
    return colours
