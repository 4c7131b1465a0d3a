"""Where a result is saved, and files that are either whole or absent."""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
from collections.abc import Callable, Hashable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from blemish.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 3}),
    ".jpg": ("JPEG", {"quality": 92, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 92, "subsampling": 0}),
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".webp": ("WEBP", {"quality": 92}),
}
_LONGEST_STEM = 200  # bytes; file systems allow 255 for the whole name


class ResultNamer:
    """Hands out the file stems of one run, so that two inputs never share one in the same folder.

    Whoever asks first gets the stem as wished; another owner gets `<stem>_2`, `<stem>_3`, and so on. The same owner
    always gets the same stem again. Stems that differ only in upper and lower case count as equal, because some file
    systems cannot tell them apart.
    """

    def __init__(self) -> None:
        self._given: dict[tuple[tuple[str, str], Hashable], PurePosixPath] = {}
        self._taken: dict[tuple[str, str], int] = {}  # -> how often it was wished for
        self._lock = threading.Lock()

    def stem(self, folder: Path, wished: PurePosixPath, owner: Hashable) -> PurePosixPath:
        """The stem, sub-folders included, that `owner` saves under below `folder`."""
        root = os.path.abspath(folder)  # noqa: PTH100 - Path.absolute() would keep `..`
        key = (root, wished.as_posix().casefold())
        with self._lock:
            if (key, owner) not in self._given:
                self._given[key, owner] = self._free(key, wished)
            return self._given[key, owner]

    def _free(self, key: tuple[str, str], wished: PurePosixPath) -> PurePosixPath:
        """The wished stem, or the first numbered one that is free."""
        stem = wished
        count = self._taken.get(key, 0)
        while (key[0], stem.as_posix().casefold()) in self._taken:
            count += 1
            stem = wished.with_name(f"{wished.name}_{max(count, 2)}")
        self._taken[key[0], stem.as_posix().casefold()] = 1
        self._taken[key] = max(count, 1)
        return stem


def safe_stem(name: PurePosixPath, page_index: int | None) -> PurePosixPath:
    """The stem of a result's files: `name` without suffix, with the page, without a way out of the folder."""
    parts = [re.sub(r'[\x00-\x1f<>:"|?*\\]', "_", part) for part in name.parts if part not in ("/", "..", ".")]
    last = PurePosixPath(parts.pop()).stem if parts else ""
    last = os.fsencode(last)[:_LONGEST_STEM].decode("utf-8", "replace").replace("\ufffd", "_") or "image"
    return PurePosixPath(*parts, last if page_index is None else f"{last}_{page_index}")


def image_suffix(name: PurePosixPath) -> str:
    """The suffix for the picture of this input: its own where pictures can be written so, else `.png`."""
    return name.suffix if name.suffix.lower() in _FORMATS else ".png"


def is_file_name(save_path: Path) -> bool:
    """Whether a path names one file, a `.json` or a picture, rather than a folder for many."""
    given = save_path.suffix.lower()
    return not save_path.is_dir() and (given == ".json" or given in _FORMATS)


def named_file(save_path: Path, suffix: str) -> Path | None:
    """The file that `save_path` names, as a `.json` or a picture like `suffix`; None when it names a folder."""
    if not is_file_name(save_path):
        return None
    return save_path if (save_path.suffix.lower() == ".json") == (suffix == ".json") else save_path.with_suffix(suffix)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text; what of a file name is no Unicode becomes a JSON escape."""
    _write(path, lambda: text.encode("utf-8", "backslashreplace"))


def write_image(path: Path, image: Image) -> None:
    """Write an RGB picture in the format of the path's suffix."""
    kind, options = _FORMATS[path.suffix.lower()]

    def encode() -> bytes:
        # in memory, since Pillow does not notice a full disk when it writes JPEG or BMP to a file itself
        buffer = io.BytesIO()
        image.save(buffer, format=kind, **options)
        return buffer.getvalue()

    _write(path, encode)


def _write(path: Path, encode: Callable[[], bytes]) -> None:
    """Write under a temporary name beside the target, then rename, so that nobody ever sees half a file."""
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        data = encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        if isinstance(error, FileExistsError | NotADirectoryError):
            reason = "a file stands where a folder is needed"
        raise UsageError(f"Cannot save {path}: {reason}. Choose another save_path.") from error
