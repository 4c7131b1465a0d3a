"""Thumbnails, images and maps as files that are named for their content."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path


class Blobs:
    """Contents under `folder/ab/cdef...`, by their SHA-256; equal contents are kept once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        """Keep a content; it is on the disk when this returns. Returns its name, 64 hexadecimal digits."""
        raise NotImplementedError

    def get(self, name: str) -> bytes:
        """The content of a name, verified. Raises `StoreError` for one that is missing or damaged."""
        raise NotImplementedError

    def collect(self, referenced: Set[str], grace_s: float = 3600.0) -> int:
        """Remove what is not referenced and older than the grace; returns how many."""
        raise NotImplementedError
