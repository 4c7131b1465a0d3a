"""Tables that published data sets bring with them: which image is for what, and what it is.

VisA has `image_anno.csv` in a product and `split_csv/1cls.csv` beside it, Real-IAD a JSON file for each product. Others
of the same columns are read alike, where the labels leave no doubt.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from blemish.datasets.annotations.image_index import plain_path
from blemish.datasets.files import decode_text, fold
from blemish.datasets.layouts.folder_roles import Label
from blemish.datasets.tree import File, Tree, file_at
from blemish.datasets.words import role
from blemish.errors import DatasetError

_MOST = 1 << 28  # bytes
_IMAGES = ("image", "image_path", "filename", "file_name", "path")
_LABELS = ("label", "anomaly_class", "class")
_BESIDE = ("split_csv/1cls.csv", "{}.json", "realiad_jsons/{}.json", "realiad_jsons/realiad_jsons/{}.json")


@dataclass(frozen=True)
class Said:
    """What a table says of an image: the split, the label and its word; and the name of the mask."""

    split: str | None = None
    label: Label | None = None
    kind: str = ""
    mask: str = ""


def companions(folder: Path) -> tuple[File, ...]:
    """The tables that lie beside the folder of a product or one level above."""
    folder = folder.resolve()
    places = [above / name.format(folder.name) for above in folder.parents[:2] for name in _BESIDE]
    return tuple(file_at(path, PurePosixPath(path.name)) for path in places if path.is_file())


def read_tables(tree: Tree) -> tuple[dict[PurePosixPath, Said], set[PurePosixPath]]:
    """What the tables say of the images of a tree, by name, and the names of the tables that were read.

    Where several speak of an image, it is a defect if one of them says so, and in the split that the first names.
    """
    said: dict[PurePosixPath, Said] = {}
    used = set()
    paths = _Paths(tree)
    for file in (*tree.companions, *tree.texts):
        rows = [(name, row) for path, row in _rows(file) for name in paths.find(path)]
        if rows:
            used.add(file.name)
        for name, row in rows:
            said[name] = _both(said[name], row) if name in said else row
    return said, used


def _both(first: Said, second: Said) -> Said:
    known = second if second.label == "bad" and first.label != "bad" else first
    return Said(first.split or second.split, known.label, known.kind, first.mask or second.mask)


def tabled_masks(said: dict[PurePosixPath, Said], tree: Tree) -> dict[PurePosixPath, PurePosixPath]:
    """The masks that tables name, and the image of each."""
    paths = _Paths(tree)
    return {mask: name for name, row in said.items() if row.mask for mask in paths.find((row.mask,))}


def _rows(file: File) -> list[tuple[tuple[str, ...], Said]]:
    """The paths by which each row may mean its image, and what it says; none where a label leaves doubt."""
    suffix = file.name.suffix.lower()
    if suffix not in (".csv", ".json"):
        return []
    try:
        data = file.read(_MOST)
        records = _csv(data) if suffix == ".csv" else _json(data)
    except (DatasetError, csv.Error, ValueError, RecursionError):
        return []
    labels = {fold(record["label"]) for record in records}
    good = {label for label in labels if role(label).good}
    is_certain = bool(good) and not any(not label or label.isdigit() or role(label).unsure for label in labels)
    return [_row(record, good) for record in records] if is_certain else []


def _row(record: dict[str, str], good: set[str]) -> tuple[tuple[str, ...], Said]:
    path = plain_path(record["image"])
    label: Label = "good" if fold(record["label"]) in good else "bad"
    paths = (f"{record['prefix'].rstrip('/')}/{path}", path) if record["prefix"] else (path,)
    return paths, Said(role(record["split"]).split, label, record["label"], plain_path(record["mask"]))


def _csv(data: bytes) -> list[dict[str, str]]:
    """The rows of a table with a column of images and one of labels."""
    if not _has_columns(data.partition(b"\n")[0].decode("utf-8", "replace").strip().lower().split(",")):
        return []
    return list(filter(None, (_record(row) for row in csv.DictReader(io.StringIO(decode_text(data))))))


def _has_columns(names: Sequence[str]) -> bool:
    return not {name.strip() for name in names}.isdisjoint(_IMAGES) and not set(names).isdisjoint(_LABELS)


def _json(data: bytes) -> list[dict[str, str]]:
    """The images of Real-IAD's `train` and `test`."""
    if b'"image_path"' not in data:
        return []
    content = json.loads(decode_text(data))
    if not isinstance(content, dict):
        return []
    meta = content.get("meta")
    prefix = str(meta.get("prefix") or "") if isinstance(meta, dict) else ""
    rows = [
        _record({**row, "split": split, "prefix": prefix})
        for split in ("train", "test")
        for row in _dicts(content.get(split))
    ]
    return list(filter(None, rows))


def _dicts(items: Any) -> Iterable[dict[str, Any]]:
    return (item for item in items if isinstance(item, dict)) if isinstance(items, list) else ()


def _record(row: dict[Any, Any]) -> dict[str, str] | None:
    known = {str(name).strip().lower(): str(value or "").strip() for name, value in row.items()}
    image = next((known[name] for name in _IMAGES if known.get(name)), "")
    if not image:
        return None
    label = next((known[name] for name in _LABELS if name in known), "")
    mask = known.get("mask") or known.get("mask_path") or ""
    return {
        "image": image,
        "label": label,
        "split": known.get("split", ""),
        "mask": mask,
        "prefix": known.get("prefix", ""),
    }


class _Paths:
    """The pictures of a tree by the ends of their paths, the tree's own name before them."""

    def __init__(self, tree: Tree) -> None:
        self._own = tree.own_name
        self._by_name: dict[str, list[File]] = defaultdict(list)
        for file in tree.images:
            self._by_name[fold(file.name.name)].append(file)

    def find(self, paths: Sequence[str]) -> list[PurePosixPath]:
        """The only picture whose path ends so, by the first path that leads to one."""
        for path in paths:
            end = f"/{fold(path)}"
            found = [file.name for file in self._by_name[end.rpartition("/")[2]] if self._whole(file).endswith(end)]
            if found:
                return found if len(found) == 1 else []
        return []

    def _whole(self, file: File) -> str:
        return fold(f"/{self._own}/{file.name.as_posix()}")
