"""The files of a data set by name, wherever they lie: in a folder or in a zip file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from blemish.datasets.files import naming, read_file
from blemish.errors import DatasetError
from blemish.images import is_image_name

_TEXT_SUFFIXES = frozenset((".json", ".xml", ".txt", ".yaml", ".yml", ".manifest", ".csv", ".tsv", ".jsonl", ".ndjson"))
_RESULT = "_res.json"  # a result beside its picture, which is no new image


@dataclass(frozen=True)
class File:
    """One file: its name relative to the tree, with forward slashes, and its size in bytes."""

    name: PurePosixPath
    size: int
    read: Callable[[int], bytes] = field(repr=False, compare=False)  # at most so many bytes, else `DatasetError`

    @cached_property
    def folders(self) -> tuple[str, ...]:
        return self.name.parts[:-1]

    @cached_property
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
        companions: tables that lie beside the folder and may speak of its images.
    """

    title: str
    own_name: str
    images: tuple[File, ...]
    texts: tuple[File, ...]
    others: tuple[PurePosixPath, ...]
    companions: tuple[File, ...] = ()


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
    """The tree of a folder on disk, links to folders followed.

    What lies in the folder itself counts by its own name alone. Raises `DatasetError` for two links to one folder, of
    which nobody can tell which name is right.
    """
    return tree_of(str(folder), folder.resolve().name, _files(folder))


def file_at(path: Path, name: PurePosixPath) -> File:
    """A file on disk under a name of the tree."""
    return File(name, _size(path), _reader(path))


def _files(folder: Path) -> Iterable[File]:
    root = os.path.realpath(folder)
    linked: dict[str, str] = {}  # real folders, by the links to them
    for parent, folders, files in os.walk(folder, followlinks=True):
        within = Path(parent).relative_to(folder)
        folders[:] = [name for name in sorted(folders) if _is_entered(folder, within / name, root, linked)]
        for name in files:
            yield file_at(Path(parent, name), PurePosixPath(within.as_posix(), name))


def _is_entered(folder: Path, within: Path, root: str, linked: dict[str, str]) -> bool:
    """Whether a folder is walked: not a hidden one, nor a link into the tree, above it or above where it lies."""
    if within.name.startswith("."):
        return False
    if not (folder / within).is_symlink():
        return True
    real = os.path.realpath(folder / within)
    above = [os.path.realpath(folder / outer) for outer in within.parents]
    if _holds(root, real) or any(_holds(real, outer) for outer in above):
        return False
    if real in linked:
        raise DatasetError(f"{folder / within} and {folder / linked[real]} are links to one folder; remove one of them")
    linked[real] = within.as_posix()
    return True


def _holds(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip(os.sep) + os.sep)


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
