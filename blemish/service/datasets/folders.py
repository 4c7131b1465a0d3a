"""Which folders may be learnt from, and what they are called: never by a path of the server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from blemish.datasets.files import inside
from blemish.datasets.words import role
from blemish.errors import DatasetError
from blemish.images import is_image_name
from blemish.service.datasets.uploaded import FOLDER, Uploaded
from blemish.service.errors import ServiceError

UPLOADED = "uploaded"
_DEEPEST, _MOST_FOLDERS, _MOST_FOUND = 3, 2000, 200
_LISTS = ("train.txt", "val.txt")


@dataclass(frozen=True)
class Source:
    """A folder of images: the `key` by which pages ask for it, the `name` that they show, and the `root` that nothing
    in it may lead out of; all paths are absolute, with links followed.
    """

    key: str
    name: str
    folder: Path
    root: Path

    @property
    def is_uploaded(self) -> bool:
        """Whether it came through the page, which may then change it too."""
        return self.key.startswith(f"{UPLOADED}/")

    def file(self, name: str) -> Path:
        """An image file in it; 404 for anything else, and where it would lead out of the root."""
        try:
            path = inside(self.root, self.folder, name)
        except DatasetError:
            raise _no_file() from None
        if not (is_image_name(path.name) and path.is_file()):
            raise _no_file()
        return path


class Sources:
    """All of them. `roots` are the folders of `--data`."""

    def __init__(self, output: Path, roots: Sequence[Path]) -> None:
        self.uploaded = Uploaded(output.resolve() / FOLDER)
        self._roots = [root.resolve() for root in roots]

    def all(self) -> list[Source]:
        """The uploaded ones by name, then what is found below each root."""
        uploaded = [self.find(f"{UPLOADED}/{name}") for name in self.uploaded.names()]
        return [*uploaded, *(found for number in range(len(self._roots)) for found in self._below(number))]

    def find(self, key: str) -> Source:
        """The folder of a key; 404 where there is none, and where it would lead out of its root."""
        place, _, name = key.partition("/")
        try:
            if place == UPLOADED and name in self.uploaded.names():
                return Source(key, name, self.uploaded.folder / name, self.uploaded.folder / name)
            root = self._roots[int(place)] if place.isascii() and place.isdigit() and len(place) < 4 else None
            folder = None if root is None else inside(root, root, name)
        except (DatasetError, IndexError):
            folder = root = None
        if root is None or folder is None or not folder.is_dir():
            raise ServiceError(404, "no_such_folder", "there is no such folder of images")
        return Source(key, self._shown(root, name), folder, root)

    def _below(self, number: int) -> Iterator[Source]:
        root = self._roots[number]
        for folder in _data_sets(root):
            name = folder.relative_to(root).as_posix()
            yield Source(f"{number}/{name}", self._shown(root, name), folder, root)

    def _shown(self, root: Path, name: str) -> str:
        """Relative to the root, whose own name tells it from another root."""
        relative = PurePosixPath(name).as_posix()
        if relative == ".":
            return root.name or "the folder itself"
        return relative if len(self._roots) == 1 else f"{root.name}/{relative}"


def _data_sets(root: Path) -> Iterator[Path]:
    """Folders below the root that look like data sets, the root itself too; not those that say they hold defects, and
    links to folders are not followed.
    """
    found = 0
    for number, (parent, folders, files) in enumerate(os.walk(root)):
        folder = Path(parent)
        depth = len(folder.relative_to(root).parts)
        if number >= _MOST_FOLDERS or found >= _MOST_FOUND:
            return
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not (role(name).bad or role(name).mask)
        )
        if _is_data_set(folders, files):
            found += 1
            folders.clear()
            yield folder
        if depth >= _DEEPEST:
            folders.clear()


def _is_data_set(folders: Sequence[str], files: Sequence[str]) -> bool:
    has_images = any(is_image_name(name) and not name.startswith(".") for name in files)
    return has_images or not set(_LISTS).isdisjoint(files) or any(role(name).split == "train" for name in folders)


def _no_file() -> ServiceError:
    return ServiceError(404, "no_such_image", "there is no such image")
