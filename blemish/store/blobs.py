"""Thumbnails, images and maps as files that are named for their content."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from blemish.errors import StoreError
from blemish.models.files import sha256, sibling, sync_folder, write_synced

_NAME = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """Contents under `folder/ab/cdef...`, by their SHA-256; equal contents are kept once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()  # between finding a content that is there and removing it

    def put(self, content: bytes) -> str:
        """Keep a content; it is on the disk when this returns. Returns its name, 64 hexadecimal digits.

        Raises `StoreError` where it cannot be written.
        """
        name = sha256(content)
        path = self.path(name)
        try:
            if not self._refreshed(path, len(content)):
                _write(path, content)
        except OSError as error:
            raise StoreError(f"a picture cannot be kept: {error.strerror}") from error
        return name

    def get(self, name: str) -> bytes:
        """The content of a name, verified. Raises `StoreError` for one that is missing or damaged."""
        try:
            content = self.path(name).read_bytes()
        except OSError as error:
            raise StoreError(f"the picture {name[:12]} cannot be read: {error.strerror}") from error
        if sha256(content) != name:
            raise StoreError(f"the picture {name[:12]} is damaged")
        return content

    def path(self, name: str) -> Path:
        """Where a content lies, or would lie. Raises `StoreError` for what is no name."""
        if not _NAME.fullmatch(name):
            raise StoreError("a picture's name has 64 hexadecimal digits")
        return self.folder / name[:2] / name[2:]

    def collect(self, is_referenced: Callable[[str], bool], grace_s: float = 3600.0) -> int:
        """Remove what is not referenced; returns how many.

        The grace spares contents that were put shortly before the record that will refer to them. What a crash left
        half-written goes after it too.
        """
        removed = 0
        for path in self._files():
            name = path.parent.name + path.name
            if _NAME.fullmatch(name) is not None and is_referenced(name):
                continue
            with self._lock, suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - grace_s:
                    path.unlink()
                    removed += 1
        return removed

    def _files(self) -> Iterator[Path]:
        for part in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            yield from part.iterdir()

    def _refreshed(self, path: Path, size: int) -> bool:
        """Whether the content is there, whole; then its grace begins anew."""
        with self._lock, suppress(FileNotFoundError):
            if path.stat().st_size == size:
                os.utime(path)
                return True
        return False


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and on the disk."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent.parent)
    temporary = sibling(path, ".part")
    try:
        write_synced(temporary, content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
