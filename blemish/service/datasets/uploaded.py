"""Folders of uploaded good images: every file is verified before it is kept, and kept once."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from itertools import islice
from pathlib import Path

from blemish.datasets.files import PARTIAL, safe_name, write_whole
from blemish.errors import ImageError
from blemish.images import Limits, expand_bytes, is_image_name, list_images
from blemish.images.kinds import USUAL_SUFFIX, image_format
from blemish.models.files import sibling
from blemish.service.errors import ServiceError
from blemish.service.settings import NAME

FOLDER = "datasets"
MOST_IMAGES = 50_000
_MOST_PAGES = 64


class Taken(Enum):
    """What became of an upload."""

    NEW = "new"
    KNOWN = "known"


class Uploaded:
    """`datasets/NAME/` in the output folder. Every call may come from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, set[bytes]] = {}  # hashes of the files
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Of all folders, sorted."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(one.name for one in found if re.fullmatch(NAME, one.name) and one.is_dir())

    def count(self, name: str) -> int:
        """How many image files a folder holds."""
        return len(list_images(self.folder / name))

    def add(self, name: str, file: str, data: bytes, limits: Limits) -> Taken:
        """Keep an image under a name like its own, unless the folder has its very bytes already.

        Raises `ImageError` for what is no image or exceeds the limits, and `ServiceError` where there is no more room.
        """
        _verify(data, file, limits)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        with self._lock, _writing():
            known = self._known.get(name)
            if known is None:
                known = self._known[name] = {_digest(path) for path in list_images(self.folder / name)}
            if digest in known:
                return Taken.KNOWN
            if len(known) >= MOST_IMAGES:
                raise ServiceError(409, "too_many_images", f"a folder holds at most {MOST_IMAGES} images")
            write_whole(self._free(self.folder / name, _own_name(file, data)), data, synced=True)
            known.add(digest)
        return Taken.NEW

    def fill(self, name: str, write: Callable[[Path], int]) -> int:
        """A new folder, made and filled by `write`, in the place of what was there; returns what it returns."""
        with self._lock, _writing():
            shutil.rmtree(self.folder / name, ignore_errors=True)
            self._known.pop(name, None)
            return write(self.folder / name)

    def remove_image(self, name: str, path: Path) -> None:
        """Remove one image of a folder."""
        with self._lock, _writing():
            path.unlink(missing_ok=True)
            self._known.pop(name, None)

    def remove(self, name: str) -> None:
        """Remove a folder with its images."""
        with self._lock, _writing():
            gone = sibling(self.folder / name, PARTIAL)
            (self.folder / name).rename(gone)
            self._known.pop(name, None)
        shutil.rmtree(gone, ignore_errors=True)

    @staticmethod
    def _free(folder: Path, name: str) -> Path:
        """A path of that name, or with a number where another image has it."""
        path, number = folder / name, 1
        while path.exists():
            number += 1
            path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
        return path


def _verify(data: bytes, name: str, limits: Limits) -> None:
    """Decode every page, as the training will."""
    pages = list(islice(expand_bytes(data, name, limits), _MOST_PAGES + 1))
    if len(pages) > _MOST_PAGES:
        raise ImageError(f"{name}: has more than {_MOST_PAGES} pages")
    for page in pages:
        page.read()


def _own_name(name: str, data: bytes) -> str:
    """A safe file name that is taken for an image."""
    plain = safe_name(name.replace("\\", "/").rpartition("/")[2], "image")
    return plain if is_image_name(plain) else plain + USUAL_SUFFIX[image_format(data) or "PNG"]


def _digest(path: Path) -> bytes:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()


@contextmanager
def _writing() -> Iterator[None]:
    """What the disk refuses, as a refusal without a path."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else f"the disk refuses it: {error.strerror}"
        raise ServiceError(507, "disk", reason) from error
