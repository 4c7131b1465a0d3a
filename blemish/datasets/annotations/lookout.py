"""Manifests of Amazon Lookout for Vision and SageMaker Ground Truth: classes, boxes, and masks in colours."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.datasets.annotations import shapes
from blemish.datasets.annotations.annotation import Annotation, Reading, Shape, defect_type, leave_out
from blemish.datasets.annotations.coco import split_of
from blemish.datasets.annotations.image_index import ImageIndex
from blemish.datasets.annotations.manifest_lines import BACKGROUND, ColourMask, ManifestLine, read_line
from blemish.datasets.annotations.voc_masks import open_png
from blemish.datasets.files import decode_text, read_file, visible_files
from blemish.errors import DatasetError

MOST_BYTES = 1 << 28
_Colour = tuple[int, int, int]


def read_lookout(source: Path) -> Reading:
    """The annotations of all manifests in a folder; images that none of them names are left out.

    Addresses in S3 mean the only file whose path ends like them. A file or folder called `train` or `test` says the
    split.
    """
    reading, count = Reading(), 0
    index = ImageIndex(source)
    for path in visible_files(index.root, ".manifest", ".json", ".jsonl", ".ndjson", ".txt"):
        name = index.relative(path)
        try:
            data = read_file(path, MOST_BYTES)
            if b'"source-ref"' not in data:
                continue
            count += 1
            lines = decode_text(data).splitlines()
        except DatasetError as error:
            reading.fail(f"{name}: {error}")
            continue
        for number, line in enumerate(lines, 1):
            if line.strip():
                _read_one(index, path, number, line, reading)
    if not count and not reading.failed:
        raise DatasetError(f"{source} holds no manifest: lines of JSON with `source-ref`")
    index.settle(reading)
    known = {annotation.name for annotation in reading.annotations}
    masks = {index.relative(path) for path in index.masks}
    leave_out(reading, set(index.names) - known - masks, "image", "in no manifest")
    return reading


def _read_one(index: ImageIndex, path: Path, number: int, text: str, reading: Reading) -> None:
    name, image = f"{index.relative(path)}, line {number}", None
    try:
        entry = _object(text)
        image = index.locate(entry.get("source-ref"), path.parent)
        line = read_line(entry)
        found = _shapes(index, path, line, image)
    except DatasetError as error:
        reading.fail(f"{name}: {error}", image)
        return
    says = bool(line.verdicts or line.boxes or line.masks or line.is_boxed)
    unsure = "" if says else "with no label in the manifest"
    origin = index.relative(path)
    reading.annotations.append(
        Annotation(
            index.relative(image), image, origin, found, None, split_of(origin), verdicts=line.verdicts, unsure=unsure
        )
    )


def _object(text: str) -> dict[str, Any]:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        raise DatasetError("is not JSON") from None
    if not isinstance(entry, dict):
        raise DatasetError("is not an object")
    return entry


def _shapes(index: ImageIndex, path: Path, line: ManifestLine, image: Path) -> tuple[Shape, ...]:
    boxes = [Shape(box.label, shapes.box_of(*box.sides)) for box in line.boxes]
    painted = [shape for mask in line.masks for shape in _painted(index, path, mask, image, line)]
    return (*boxes, *painted)


def _painted(index: ImageIndex, path: Path, mask: ColourMask, image: Path, line: ManifestLine) -> list[Shape]:
    """A shape for every class whose colour is in a mask; one without outline where the mask of a defect is missing."""
    found = index.find_mask(mask.reference, path.parent)
    if found is None or found == image:
        defects = [verdict for verdict in line.verdicts if defect_type(verdict) is not None]
        if not defects and not line.verdicts:
            raise DatasetError(f"its mask {mask.reference} is not there")
        return []
    named = {tuple(colour): label for colour, label in mask.classes.items() if label.casefold() != BACKGROUND}
    ground = {tuple(colour) for colour, label in mask.classes.items() if label.casefold() == BACKGROUND}
    colours, clear = _read_colours(found)
    present = {(int(r), int(g), int(b)) for r, g, b in np.unique(colours[~clear], axis=0)}
    strange = present - named.keys() - ground
    if strange:
        raise DatasetError(
            f"{found.name} has the colour #{bytes(min(strange)).hex()}, which the manifest does not name"
        )
    return [
        Shape(named[colour], partial(_paint, path=found, colour=colour)) for colour in sorted(present & named.keys())
    ]


def _paint(mask: shapes.Mask, path: Path, colour: _Colour) -> None:
    colours, clear = _read_colours(path)
    if clear.shape != mask.shape:
        raise DatasetError(f"{path.name} has {clear.shape[1]}x{clear.shape[0]} pixels, its image another size")
    mask[(colours == np.array(colour)).all(axis=2) & ~clear] = 255


def _read_colours(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """The colours (H, W, 3) of a mask, and where it is transparent (H, W)."""
    with open_png(path.name, partial(read_file, path, MOST_BYTES)) as image:
        colours = np.array(image.convert("RGBA"))
    return colours[..., :3], colours[..., 3] == 0
