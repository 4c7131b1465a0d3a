"""Recognises the annotation files of other tools by their content, and what they say of which images.

Nothing is decoded or drawn here, so that thousands of files can be looked at before a folder is taken for one of good
images. What is said of an image counts as a mark unless the file leaves it unmarked for certain.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from blemish.datasets.annotations import label_tables, recognising_json, recognising_xml
from blemish.datasets.annotations.marks import AnnotationFile, Marks
from blemish.datasets.annotations.yolo_lines import label_lines
from blemish.datasets.files import decode_text, image_stem, parse_json, parse_yaml, read_file
from blemish.datasets.words import role
from blemish.errors import DatasetError
from blemish.images import is_image_name

__all__ = ["SUFFIXES", "AnnotationFile", "annotation_file", "marked_stems"]

_MOST_JSON = 1 << 30
_MOST_TEXT = 1 << 26

# keys that only annotations have; a damaged JSON file with one of them is no file of settings
_KEYS = (b'"annotations"', b'"file_name"', b'"regions"', b'"objects"', b'"annotationResults"')
_UNREADABLE = AnnotationFile("", "a damaged file", frozenset(), frozenset(), unreadable=True)

Read = Callable[[int], bytes]


def annotation_file(name: PurePosixPath, read: Read) -> AnnotationFile | None:
    """What a file says of images, if it is one of an annotation tool; None for any other file.

    `read(limit)` gives the file's bytes, and raises `DatasetError` where there are more than `limit`.
    """
    suffix = name.suffix.lower()
    if suffix not in SUFFIXES or name.name.lower().endswith("_res.json"):
        return None
    try:
        return _RECOGNISERS[suffix](name, read(_MOST_JSON if suffix in (".json", ".xml") else _MOST_TEXT))
    except DatasetError:  # too large, or no text in any encoding that is known
        return None


def marked_stems(root: Path, read: Iterable[str] = ()) -> dict[str, list[str]]:
    """The folded stems that annotation files below a folder mark, and the folders of these files.

    `read` are the names of files, relative to the folder, that need not be looked at.
    """
    known, found = set(read), dict[str, list[str]]()
    for parent, folders, files in os.walk(root):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        folder = Path(parent).relative_to(root).as_posix()
        for file in sorted(files):
            path = PurePosixPath(folder, file)
            if file.startswith(".") or path.as_posix() in known or path.suffix.lower() not in SUFFIXES:
                continue
            said = annotation_file(path, lambda limit, path=path: read_file(root / path, limit))  # type: ignore[misc]
            for stem in said.marked if said else ():
                found.setdefault(stem, []).append(folder)
    return found


def _json(name: PurePosixPath, data: bytes) -> AnnotationFile | None:
    if _is_lines(data):
        return _manifest(name, data)
    try:
        content = parse_json(data)
    except DatasetError:
        # a file cut short beside its image: what it said is lost
        if b'"shapes"' in data:
            return Marks("labelme", "LabelMe").mark(image_stem(name.name)).file()
        return _UNREADABLE if any(key in data for key in _KEYS) else None
    return recognising_json.recognise(name, content)


def _is_lines(data: bytes) -> bool:
    """Whether a JSON file holds an object a line, as manifests do."""
    head = data[:65536].lstrip()
    return head.startswith(b"{") and b'"source-ref"' in head.split(b"\n", 1)[0]


def _manifest(_: PurePosixPath, data: bytes) -> AnnotationFile | None:
    """Lookout for Vision's and Ground Truth's manifests: an object a line."""
    if b'"source-ref"' not in data:
        return None
    marks = Marks("lookout", "Amazon Lookout for Vision or SageMaker Ground Truth")
    for line in filter(str.strip, decode_text(data).splitlines()):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and "source-ref" in entry:
            marks.say(entry["source-ref"], recognising_json.manifest_line_is_clean(entry))
    return marks.file()


def _yaml(_: PurePosixPath, data: bytes) -> AnnotationFile | None:
    try:
        content = parse_yaml(data)
    except DatasetError:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("names"), list | dict):
        return None
    return Marks("yolo", "YOLO").file() if {"train", "val", "path", "nc", "test"} & content.keys() else None


def _text(name: PurePosixPath, data: bytes) -> AnnotationFile | None:
    text = decode_text(data)
    if name.name.lower() == "labels.txt" and (dagm := _dagm(text)):
        return dagm
    lines = label_lines(text)
    if lines is None or (not lines and not _may_be_labels(name)):
        return label_tables.boxes(name, text) or label_tables.recognise(name, text)
    marks = Marks("yolo", "YOLO")
    stem = image_stem(name.name)
    return (marks.mark(stem) if lines else marks.clear(stem)).file()


def _may_be_labels(name: PurePosixPath) -> bool:
    """Whether an empty text file may be one of YOLO's: in a folder of labels, or named by a number."""
    folder = role(name.parent.name)
    return folder.mask or folder.maybe_mask or any(sign.isdigit() for sign in name.stem)


def _dagm(text: str) -> AnnotationFile | None:
    """DAGM's list: `576 1 0576.PNG 1 0576_label.PNG`, where the last column but one says whether there is a defect."""
    marks = Marks("", "DAGM's Labels.txt")
    for line in text.splitlines():
        columns = line.split()
        if len(columns) == 5 and is_image_name(columns[2]) and columns[3] in ("0", "1"):
            marks.say(columns[2], columns[3] == "0")
        elif len(columns) > 1:
            return None
    return marks.file() if marks.is_used else None


def _table(name: PurePosixPath, data: bytes) -> AnnotationFile | None:
    """Tables of images and labels; VisA's, VGG Image Annotator's and those of others."""
    text = decode_text(data)
    delimiter = label_tables.delimiter(text)
    try:
        rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return None
    columns = {str(name).strip().lstrip("#").casefold(): name for name in (rows[0] if rows else ())}
    if "region_shape_attributes" in columns and "filename" in columns:
        marks = Marks("via", "VGG Image Annotator")
        shape = columns["region_shape_attributes"]
        for row in rows:
            marks.say(row.get(columns["filename"]), str(row.get(shape) or "{}").strip() in ("{}", '"{}"'))
        return marks.file()
    return label_tables.recognise(name, text)


_RECOGNISERS: dict[str, Callable[[PurePosixPath, bytes], AnnotationFile | None]] = {
    ".json": _json,
    ".xml": recognising_xml.recognise,
    ".txt": _text,
    ".csv": _table,
    ".tsv": _table,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".manifest": _manifest,
    ".jsonl": _manifest,
    ".ndjson": _manifest,
}
SUFFIXES = frozenset(_RECOGNISERS)
