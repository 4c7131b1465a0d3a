"""The files of a data set by name, wherever they lie: in a folder or in a zip file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from blemish.datasets.files import naming, read_file
from blemish.images import is_image_name

_TEXT_SUFFIXES = frozenset((".json", ".xml", ".txt", ".yaml", ".yml", ".manifest", ".csv", ".jsonl", ".ndjson"))
_RESULT = "_res.json"  # a result beside its picture, which is no new image


@dataclass(frozen=True)
class File:
    """One file: its name relative to the tree, with forward slashes, and its size in bytes."""

    name: PurePosixPath
    size: int
    read: Callable[[int], bytes] = field(repr=False, compare=False)  # at most so many bytes, else `DatasetError`

    @property
    def folders(self) -> tuple[str, ...]:
        return self.name.parts[:-1]

    @property
    def stem(self) -> str:
        """The name without the suffix, and without an image's suffix before it: `000` of `000.jpg.png`."""
        return self.name.with_suffix("").stem if is_image_name(self.name.stem) else self.name.stem


@dataclass(frozen=True)
class Tree:
    """The files below a folder; hidden ones and pictures of results are left out.

    Attributes:
        title: what messages call the folder.
        own_name: the folder's own name.
        images: the files that are read as images, sorted by name.
        texts: the files that may hold annotations.
        others: names of all other files.
    """

    title: str
    own_name: str
    images: tuple[File, ...]
    texts: tuple[File, ...]
    others: tuple[PurePosixPath, ...]


def tree_of(title: str, own_name: str, files: Iterable[File]) -> Tree:
    """A tree of these files, sorted as paths are."""
    known = [file for file in files if not any(part.startswith((".", "__MACOSX")) for part in file.name.parts)]
    known.sort(key=lambda file: file.name)
    results = {
        (file.folders, file.name.name.removesuffix(".json")) for file in known if file.name.name.endswith(_RESULT)
    }
    images, texts, others = [], [], []
    for file in known:
        if is_image_name(file.name.name):
            if (file.folders, file.name.stem) not in results:
                images.append(file)
        elif file.name.suffix.lower() in _TEXT_SUFFIXES and not file.name.name.endswith(_RESULT):
            texts.append(file)
        else:
            others.append(file.name)
    return Tree(title, own_name, tuple(images), tuple(texts), tuple(others))


def folder_tree(folder: Path) -> Tree:
    """The tree of a folder on disk. Links to folders are followed, each real folder once."""
    return tree_of(str(folder), folder.resolve().name, _files(folder))


def _files(folder: Path) -> Iterable[File]:
    seen = {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, followlinks=True):
        within = Path(parent).relative_to(folder).as_posix()
        kept = []
        for name in sorted(folders):
            real = os.path.realpath(Path(parent, name))
            if not name.startswith(".") and real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        for name in files:
            path = Path(parent, name)
            yield File(PurePosixPath(within, name), _size(path), _reader(path))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a link to nothing; whoever reads it says so
        return 0


def _reader(path: Path) -> Callable[[int], bytes]:
    def read(limit: int) -> bytes:
        with naming(path):
            return read_file(path, limit)

    return read
