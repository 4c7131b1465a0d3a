"""What a YOLO data set says beside its label files: the names of the classes, and which images are for training.

Formats: Ultralytics' `data.yaml`; Darknet's `obj.data` and `obj.names`; `classes.txt` as labelling tools write it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from blemish.datasets.annotations.image_index import ImageIndex
from blemish.datasets.files import decode_text, fold, parse_yaml, read_file, visible_files
from blemish.datasets.words import role
from blemish.errors import DatasetError

_MOST_BYTES = 1 << 24
_NAMES = ("obj.names", "classes.txt", "_darknet.labels", "labels.txt")
_SPLITS = {"train": "train", "val": "test", "valid": "test", "test": "test"}


@dataclass
class YoloSet:
    """The names of the classes by number, if they are known; the split by folder or image; numbers of keypoints."""

    root: Path
    names: dict[int, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    images: dict[Path, str] = field(default_factory=dict)
    keypoints: int = 0
    warnings: list[str] = field(default_factory=list)

    def label(self, number: int) -> str:
        """The name of a class; `DatasetError` for one that the set does not have."""
        if self.names and number not in self.names:
            raise DatasetError(f"has class {number}, and the data set has no name for it")
        return self.names.get(number, f"class_{number}")

    def split(self, image: Path) -> str | None:
        """The split of an image by the set's lists and folders, else by the words in its own folders."""
        listed = self.images.get(image.resolve())
        if listed:
            return listed
        name = PurePosixPath(fold(image.relative_to(self.root).as_posix()))
        for folder in map(str, name.parents):
            if folder in self.folders:
                return self.folders[folder]
        words = (role(part).split for part in reversed(name.parts[:-1]))
        found = next((word for word in words if word), None)
        return None if found is None else _SPLITS[found]


def read_yolo_set(index: ImageIndex) -> YoloSet:
    """What the files beside the labels say; one that cannot be read is named in a warning."""
    known = YoloSet(index.root)
    for path in visible_files(index.root, ".yaml", ".yml"):
        _guarded(known, index, path, _read_yaml)
    for path in visible_files(index.root, ".data"):
        _guarded(known, index, path, _read_darknet)
    for path in (
        path for path in visible_files(index.root, ".names", ".txt", ".labels") if path.name.lower() in _NAMES
    ):
        if not known.names:
            _guarded(known, index, path, _read_names)
    for split in ("train", "val", "valid", "test"):
        path = index.root / f"{split}.txt"
        if path.is_file():
            _take_list(known, index, path, _SPLITS[split])
    return known


def _guarded(known: YoloSet, index: ImageIndex, path: Path, read: Any) -> None:
    try:
        read(known, index, path)
    except DatasetError as error:
        known.warnings.append(f"{index.relative(path)} {error}")


def _read_yaml(known: YoloSet, index: ImageIndex, path: Path) -> None:
    content = parse_yaml(read_file(path, _MOST_BYTES))
    names = content.get("names") if isinstance(content, dict) else None
    if not isinstance(names, list | dict):
        return
    pairs = enumerate(names) if isinstance(names, list) else names.items()
    known.names = known.names or {int(number): str(name) for number, name in pairs if str(number).isdecimal()}
    counts = content.get("kpt_shape")
    if isinstance(counts, list) and len(counts) == 2 and all(isinstance(count, int) for count in counts):
        known.keypoints = counts[0] * counts[1]
    for key, split in _SPLITS.items():
        places = content.get(key)
        for place in places if isinstance(places, list) else [places]:
            if isinstance(place, str):
                _take_place(known, index, path.parent / str(content.get("path") or ""), place, split)


def _take_place(known: YoloSet, index: ImageIndex, beside: Path, place: str, split: str) -> None:
    """A folder of images or a list of them; exporters write paths that were true elsewhere."""
    place = place.replace("\\", "/")
    inner = place.removeprefix("./")
    while inner.startswith("../"):
        inner = inner[3:]
    for folder, name in ((beside, place), (beside, inner), (index.root, inner)):
        found = _inside(index, folder, name)
        if found is not None and found.is_dir():
            known.folders.setdefault(fold(index.relative(found)), split)
            return
        if found is not None and found.suffix == ".txt" and found.is_file():
            _take_list(known, index, found, split)
            return


def _inside(index: ImageIndex, folder: Path, name: str) -> Path | None:
    try:
        found = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    return found if found.is_relative_to(index.root) and found != index.root else None


def _take_list(known: YoloSet, index: ImageIndex, path: Path, split: str) -> None:
    """The images of a list; kept from training if another list says so."""
    try:
        lines = decode_text(read_file(path, _MOST_BYTES)).splitlines()
    except DatasetError as error:
        known.warnings.append(f"{index.relative(path)} {error}")
        return
    for line in filter(None, map(str.strip, lines)):
        try:
            image = index.peek(line, path.parent)
        except DatasetError:
            continue  # an image that is not certain has no split
        if image is not None:
            known.images[image] = "test" if known.images.get(image) == "test" else split


def _read_darknet(known: YoloSet, index: ImageIndex, path: Path) -> None:
    for line in decode_text(read_file(path, _MOST_BYTES)).splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key in _SPLITS and value:
            _take_place(known, index, path.parent, PurePosixPath(value).name, _SPLITS[key])


def _read_names(known: YoloSet, index: ImageIndex, path: Path) -> None:  # noqa: ARG001 - as the other readers
    lines = decode_text(read_file(path, _MOST_BYTES)).splitlines()
    known.names = {number: line.strip() for number, line in enumerate(lines) if line.strip()}
