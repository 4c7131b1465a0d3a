"""Tables and text files of labels as people keep them, of no tool: images with a class each, boxes of numbers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from blemish.datasets.annotations.marks import AnnotationFile, Marks, is_clean_label
from blemish.datasets.files import fold, image_stem
from blemish.datasets.words import role
from blemish.images import is_image_name

TABLE = "a table of images and labels"
BOXES = "a text file of boxes"
_LABELS = frozenset(
    (
        "label",
        "class",
        "classid",
        "category",
        "anomaly",
        "anomalyclass",
        "defect",
        "target",
        "verdict",
        "result",
        "encodedpixels",
    )
)
_IMAGES = frozenset(
    (
        "image",
        "filename",
        "file",
        "imagepath",
        "path",
        "imageid",
        "img",
        "name",
        "imagename",
        "images",
        "imagefile",
        "filepath",
        "id",
    )
)
_LOOKED_AT = 50  # rows
_YES_NO = frozenset(("0", "1", "true", "false", "yes", "no", "0.0", "1.0"))


def delimiter(text: str) -> str:
    """The sign between the columns of a table, by its first line; a blank where there is none."""
    first = text.partition("\n")[0]
    best = max(",;\t", key=first.count)
    return best if best in first else " "


def recognise(name: PurePosixPath, text: str) -> AnnotationFile | None:
    """A table with a column of images and one of labels, with a header or without."""
    rows = _rows(text)
    if len(rows) < 2:
        return None
    header = rows[0] if not any(map(_is_image, rows[0])) else []
    body = rows[1:] if header else rows
    image = _image_column(header, body, name)
    label = None if image is None else _label_column(header, body, image)
    if image is None or label is None:
        return None
    marks = Marks("", TABLE)
    for row in body:
        marks.say(row[image], is_clean_label(row[label]))
    return marks.file()


def boxes(name: PurePosixPath, text: str) -> AnnotationFile | None:
    """A text file of four numbers a line or more, which mark what is in the picture of its name."""
    lines = [line for line in text.splitlines() if line.strip()]
    is_boxes = bool(lines) and all(re.fullmatch(r"\s*(\d+[\s,]+){3,7}\S*\s*", line) for line in lines)
    return Marks("", BOXES).mark(image_stem(name.name)).file() if is_boxes else None


def _rows(text: str) -> list[list[str]]:
    """The rows that are as long as most; none where the text is no table."""
    sign = delimiter(text)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=sign, skipinitialspace=True))
    except csv.Error:
        return []
    cells = [[cell.strip() for cell in row if cell or sign != " "] for row in rows if any(row)]
    width = len(cells[0]) if cells else 0
    same = [row for row in cells if len(row) == width]
    return same if width > 1 and len(same) > 0.9 * len(cells) else []


def _image_column(header: Sequence[str], rows: Sequence[Sequence[str]], name: PurePosixPath) -> int | None:
    few = rows[:_LOOKED_AT]
    for column in range(len(rows[0]) if rows else 0):
        if sum(_is_image(row[column]) for row in few) > len(few) / 2:
            return column
    named = [column for column, title in enumerate(header) if _plain(title) in _IMAGES]
    said = role(name.stem)  # numbers are images only in a file that is called so
    return named[0] if named and (said.maybe_mask or said.mask or said.split) else None


def _label_column(header: Sequence[str], rows: Sequence[Sequence[str]], image: int) -> int | None:
    others = [column for column in range(len(rows[0])) if column != image]
    named = [column for column in others if header and _plain(header[column]) in _LABELS]
    return next(iter(named), None) if named else next((c for c in others if _says_verdicts(rows, c)), None)


def _says_verdicts(rows: Sequence[Sequence[str]], column: int) -> bool:
    values = {fold(row[column]) for row in rows}
    return len(values) > 1 and (values <= _YES_NO or (len(values) <= 20 and all(_is_verdict(each) for each in values)))


def _is_verdict(value: str) -> bool:
    found = role(value)
    return found.is_labelled or found.unsure


def _is_image(value: str) -> bool:
    return is_image_name(PurePosixPath(fold(value)).name)


def _plain(title: str) -> str:
    return re.sub(r"[^a-z0-9]", "", title.casefold())
