"""The samples of PaddleX's list files, `train.txt` and `val.txt`, and what other tools' lists of that name are."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from shlex import quote

from blemish.datasets.annotations.image_index import plain_path
from blemish.datasets.annotations.recognising import annotation_file
from blemish.datasets.annotations.yolo_lines import label_lines
from blemish.datasets.files import fold, read_file, some
from blemish.datasets.lists.classes import ClassNames, is_class_list, read_class_names
from blemish.datasets.lists.lines import Line, read_list
from blemish.datasets.masks.reading import read_mask
from blemish.datasets.samples import GOOD, Sample, relative_name
from blemish.datasets.words import is_bad, is_good
from blemish.errors import DatasetError

log = logging.getLogger("blemish")

LISTS = {"train": "train.txt", "test": "val.txt"}
DEFECT = "defect"
_YOLO = ("data.yaml", "data.yml", "dataset.yaml", "obj.data", "obj.names")
_MOST_LABELS = 1 << 20  # bytes

Refuse = Callable[[Path, int, str], None]  # a list file, the line's number, what is wrong with it


def read_listed(folder: Path, refuse: Refuse) -> dict[str, tuple[Sample, ...]]:
    """The samples of `train.txt` and `val.txt`, by split; none where there is no such file.

    An image and its mask stand on a line. A line of one column is a good image, and so is one whose mask is empty, or
    the image itself; but not in a folder of defects. Lists of a class number beside each image are read where a
    `labels.txt` says which class is good.

    An image to learn from whose mask cannot be read is a defect. A line that cannot be read is handed to `refuse` and
    left out. Raises `DatasetError` for lists of other tools.
    """
    lists = {split: read_list(folder / name) if (folder / name).is_file() else [] for split, name in LISTS.items()}
    _refuse_annotated(folder, [line for lines in lists.values() for line in lines])
    files = _Files(folder)
    return {split: tuple(_samples(files, split, lines, refuse)) for split, lines in lists.items()}


def _samples(files: _Files, split: str, lines: list[Line], refuse: Refuse) -> Iterator[Sample]:
    folder, source = files.folder, files.folder / LISTS[split]
    classes = read_class_names(folder, source) if is_class_list(folder, lines) else None
    unread: list[str] = []
    for line in lines:
        problem = line.problem or files.problem(line) or ("" if classes is None else classes.problem(line))
        if problem:
            refuse(source, line.number, problem)
            continue
        sample, is_read = _sample(files, split, line, classes)
        unread += [] if is_read else [sample.name]
        yield sample
    if unread and split == "train":
        log.warning("left out, since their masks are missing or cannot be read: %s", some(unread))


def _sample(files: _Files, split: str, line: Line, classes: ClassNames | None) -> tuple[Sample, bool]:
    """The sample of a line, and whether its mask, if any, can be read."""
    path = files.find(line.columns[0])
    name = relative_name(path, files.folder)
    if classes is not None:
        return Sample(path, name, split, classes.kind(line.columns[1])), True
    # PaddleX's way to say that there is no mask is the image itself
    mask = files.find(line.columns[1]) if len(line.columns) == 2 and line.columns[0] != line.columns[1] else None
    if mask == path and plain_path(line.columns[0]) != plain_path(line.columns[1]):
        mask = files.folder / line.columns[1]  # two files of another machine, of which only the image is here
    mask = None if mask == path else mask
    marked = _is_marked(mask)
    kind = _kind(name, mask, marked)
    if kind == GOOD and split == "train" and marked is not False:
        kind = DEFECT  # whatever it is called
    return Sample(path, name, split, kind, () if mask is None else (mask,)), marked is not None


def _is_marked(mask: Path | None) -> bool | None:
    """Whether a mask marks anything; None if it cannot be read."""
    if mask is None:
        return False
    try:
        return bool(read_mask(mask).any())
    except DatasetError:
        return None


def _kind(name: str, mask: Path | None, marked: bool | None) -> str:
    """The type of the defect by the folder below `test`, else by what the mask holds and what the folders are called.

    A mask that cannot be read may mark a defect.
    """
    folders = () if PurePosixPath(name).is_absolute() else PurePosixPath(name).parts[:-1]
    if "test" in folders[:-1]:  # above the data set, a folder may have any name
        kind = folders[folders.index("test") + 1]
        return GOOD if is_good(kind) else kind
    called = next((folder for folder in reversed(folders) if is_good(folder) or is_bad(folder)), None)
    if called is not None and is_bad(called):
        return called
    return GOOD if mask is None or marked is False else DEFECT


class _Files:
    """Finds what lists name, also as Windows writes paths, and as they were on another machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_base: dict[str, list[Path]] | None = None
        self._moved: dict[Path, str] = {}  # by file, the path of another machine that it was found by

    def find(self, column: str) -> Path:
        """The file, or where it ought to be."""
        path = self.folder / column
        if os.path.lexists(path) or "\0" in column:
            return path
        slashed = self.folder / column.replace("\\", "/")
        if os.path.lexists(slashed):
            return slashed
        return (self._only(column) if _is_absolute(column) else None) or path

    def problem(self, line: Line) -> str:
        """What keeps a line's image from being one."""
        if os.path.isdir(self.find(line.columns[0])):  # noqa: PTH112 - Path.is_dir() raises on names that are too long
            return f"{line.columns[0]} is a folder; list its images one by one"
        return ""

    def _only(self, column: str) -> Path | None:
        """The only file whose path ends like that of another machine, if no other path has led to it."""
        parts = PurePosixPath(fold(plain_path(column))).parts
        found = self._bases().get(parts[-1], []) if parts else []
        for path in found:
            own = PurePosixPath(fold(relative_name(path, self.folder))).parts
            if len(found) == 1 or own == parts[-len(own) :]:
                return path if self._moved.setdefault(path, column) == column else None
        return None

    def _bases(self) -> dict[str, list[Path]]:
        if self._by_base is None:
            self._by_base = defaultdict(list)
            for parent, folders, files in os.walk(self.folder):
                folders[:] = [name for name in folders if not name.startswith(".")]
                for name in files:
                    self._by_base[fold(name)].append(Path(parent, name))
        return self._by_base


def _is_absolute(column: str) -> bool:
    return column.startswith(("/", "\\")) or column[1:3] in (":\\", ":/")


def _refuse_annotated(folder: Path, lines: list[Line]) -> None:
    """Images that stand alone are good, but not where an annotation tool's files lie beside them.

    Lists of images alone are Ultralytics' or Darknet's where there are label files: the defects are in those.
    """
    alone = [line.columns[0].replace("\\", "/") for line in lines if len(line.columns) == 1]
    alone = [image for image in alone if PurePosixPath(image).name]
    if alone and all(len(line.columns) < 2 for line in lines):
        known = next((name for name in _YOLO if (folder / name).is_file()), None)
        known = known or next((name for image in alone if (name := _label_file(folder, image))), None)
        if known:
            raise _annotated(folder, "Ultralytics or Darknet", known, "yolo")
    for image in alone:
        path = folder / image
        for beside in (path.with_suffix(".json"), path.with_suffix(".xml")):
            if not os.path.isfile(beside):  # noqa: PTH113 - Path.is_file() raises on names that are too long
                continue
            told = annotation_file(PurePosixPath(beside.name), partial(read_file, beside))
            if told is not None and told.tool and fold(path.stem) in told.marked:
                raise _annotated(folder, told.title, relative_name(beside, folder), told.tool)


def _annotated(folder: Path, title: str, file: str, tool: str) -> DatasetError:
    return DatasetError(
        f"{folder} has a list of images alone, and annotations of {title} ({file}), which may mark defects; "
        f"run `blemish convert {quote(str(folder))} --from {tool}`"
    )


def _label_file(folder: Path, image: str) -> str | None:
    """The label file of an image, as YOLO finds it: the last `images` in its path replaced, or beside it."""
    path = PurePosixPath(image)
    places = [place for place, part in enumerate(path.parts[:-1]) if part.lower() == "images"]
    if places:
        parts = (*path.parts[: places[-1]], "labels", *path.parts[places[-1] + 1 :])
        labels = PurePosixPath(*parts).with_suffix(".txt")
        if os.path.isfile(folder / labels):  # noqa: PTH113 - Path.is_file() raises on names that are too long
            return labels.as_posix()
    beside = folder / path.with_suffix(".txt")
    try:
        if beside.stat().st_size > _MOST_LABELS:
            return None
        return path.with_suffix(".txt").as_posix() if label_lines(beside.read_text("utf-8")) is not None else None
    except (OSError, ValueError):
        return None
