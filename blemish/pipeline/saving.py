"""Where a result is saved, and files that are either whole or absent."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar
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


_P = TypeVar("_P", bound=PurePath)
Owner = tuple[str, int | None]  # whose files they are: `input_path` and `page_index` of the result


class ResultNamer:
    """Hands out the file stems of one call, so that two inputs never share one in the same folder.

    Whoever asks first gets the stem as wished; another owner gets `<stem>_2`, `<stem>_3`, and so on. The same owner
    always gets the same stem again. Stems that differ only in upper and lower case count as equal, because some file
    systems cannot tell them apart.

    What other calls have saved there is not remembered, so that memory does not grow; the saved records tell it. A stem
    whose record is of another input is taken. Where there is a picture without a record, an input with a path
    replaces it, and one without a path, which nobody can tell from others, takes the next stem.
    """

    def __init__(self) -> None:
        # by hash, since they may be many; two of 64 bits that are equal by chance cost a number, or at worst a file
        self._numbers: dict[int, int] = {}  # of a wish and its owner -> the number that he has
        self._last: dict[int, int] = {}  # of a wish -> up to which number stems are taken; -1: some may be the owner's
        self._taken: set[int] = set()
        self._lock = threading.Lock()

    def stem(self, folder: Path, wished: PurePosixPath, owner: Owner | None) -> PurePosixPath:
        """The stem, sub-folders included, that `owner` saves under below `folder`; another one at every call for None.

        Reads the records of that name that are there already.
        """
        root = Path(os.path.abspath(folder))  # noqa: PTH100 - Path.absolute() would keep `..`
        with self._lock:
            if owner is None:
                return _numbered(wished, self._free(root, wished, None))
            key = hash((root, wished.as_posix().casefold(), owner))
            if key not in self._numbers:
                self._numbers[key] = self._free(root, wished, owner)
            return _numbered(wished, self._numbers[key])

    def _free(self, root: Path, wished: PurePosixPath, owner: Owner | None) -> int:
        """The first number under which the stem is free, or has a record of this very owner."""
        wish = hash((root, wished.as_posix().casefold(), owner is None))
        if wish not in self._last:
            # where nothing of the name is there yet, an owner who is new has none of the stems that follow either
            self._last[wish] = _used(root / wished) if owner is None else -1 if _exists(root / wished) else 0
        number = max(0, self._last[wish]) + 1
        while self._is_taken(root, _numbered(wished, number), owner):
            number += 1
        if self._last[wish] >= 0:
            self._last[wish] = number
        self._taken.add(hash((root, _numbered(wished, number).as_posix().casefold())))
        return number

    def _is_taken(self, root: Path, stem: PurePosixPath, owner: Owner | None) -> bool:
        return hash((root, stem.as_posix().casefold())) in self._taken or _is_of_another(root / stem, owner)


def _numbered(stem: _P, number: int) -> _P:
    return stem if number == 1 else stem.with_name(f"{stem.name}_{number}")


def _used(path: Path) -> int:
    """Up to which number stems are used without a gap, in few looks however many they are."""
    high = 1
    while _exists(_numbered(path, high)):
        high *= 2
    low = high // 2  # used, and `high` is not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _exists(_numbered(path, middle)) else (low, middle)
    return low


def _exists(path: Path) -> bool:
    """Whether a result was saved under this stem; inputs without a path have PNG pictures."""
    return any(os.path.lexists(f"{path}_res{suffix}") for suffix in (".json", ".png"))


def _is_of_another(path: Path, owner: Owner | None) -> bool:
    """Whether a result was saved under this stem that is not of this owner."""
    if owner is None:
        return _exists(path)
    try:
        record = json.loads(Path(f"{path}_res.json").read_bytes())
        saved, page = record["input_path"], record["page_index"]
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return True  # no record of ours
    return not isinstance(saved, str) or (os.path.abspath(saved), page) != (os.path.abspath(owner[0]), owner[1])  # noqa: PTH100


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
