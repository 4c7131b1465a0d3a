"""`good_patches.zip`: for every row of a memory bank, the small picture of the good image that it was taken from.

A plain ZIP file without compression, one JPEG file for each row, so that any program finds a row's picture without
reading the others. `docs/model-format.md` specifies it.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blemish.errors import ImageError, ModelError
from blemish.images import Limits, decode_image
from blemish.models.info import GOOD_PATCHES

Image = npt.NDArray[np.uint8]

MOST_ROWS = 50_000  # far from 65,535, where another kind of ZIP file begins
_LARGE, _SMALL = 64, 32  # pixels a side
_FEW_ROWS = 8192  # up to so many have large patches
_QUALITY = 90  # of 100; texture must not turn into blocks
_LIMITS = Limits(max_pixels=_LARGE * _LARGE, max_bytes=32 << 10)  # noise of 64 x 64 pixels takes 8 KiB
_END = struct.Struct("<4s4H2LH")  # entries, bytes of the directory, its place, bytes of a comment
_ENTRY = 64  # bytes of the directory for a file
_NEVER = (1980, 1, 1, 0, 0, 0)  # the same patches give the same bytes


def patch_side(rows: int) -> int:
    """Pixels a side of the patches of a bank of so many rows."""
    return _LARGE if rows <= _FEW_ROWS else _SMALL


def encode_patch(patch: Image) -> bytes:
    """An RGB patch `(h, w, 3)` as a JPEG file."""
    import cv2

    _, data = cv2.imencode(".jpg", patch[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()


def pack_patches(patches: Sequence[bytes]) -> bytes:
    """The ZIP file of the JPEG files of rows 0, 1, ..."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for row, patch in enumerate(patches):
            entry = zipfile.ZipInfo(_name(row), _NEVER)
            entry.create_system = 0  # else the file would tell the operating system
            archive.writestr(entry, patch)
    return packed.getvalue()


class GoodPatches:
    """The patches of a bank by row; every look into the file is bounded, whoever has written it."""

    def __init__(self, data: bytes) -> None:
        """Raises `ModelError` for anything but files 0.jpg, 1.jpg, ... of some KiB each, stored as they are."""
        _check_end(data)
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGES as error:
            raise _refusal("it is no ZIP file that can be read") from error
        self._entries = self._archive.infolist()
        for row, entry in enumerate(self._entries):
            _check(row, entry)

    def __len__(self) -> int:
        return len(self._entries)

    def encoded(self, row: int) -> bytes:
        """The JPEG file of a row; `ModelError` if it is damaged."""
        try:
            return self._archive.read(self._entries[row])
        except _DAMAGES as error:
            raise _refusal(f"{_name(row)} is damaged") from error

    def patch(self, row: int) -> Image:
        """RGB `(h, w, 3)`; `ModelError` if it is no JPEG file of at most 64 x 64 pixels."""
        data = self.encoded(row)
        if not data.startswith(b"\xff\xd8\xff"):
            raise _refusal(f"{_name(row)} is no JPEG file")
        try:
            return decode_image(data, _name(row), _LIMITS)
        except ImageError as error:
            raise _refusal(str(error)) from error


# what zipfile raises for files that are none
_DAMAGES = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError),
    *(ValueError, LookupError, ArithmeticError),
)


def _check_end(data: bytes) -> None:
    """Bound the directory by the record at the end, before zipfile makes an object of every entry."""
    *_, entries, directory, _, comment = _END.unpack(data[-_END.size :].rjust(_END.size))
    if data[-_END.size :][:4] != b"PK\5\6" or comment or data[-42:-38] == b"PK\6\7":
        raise _refusal("it is no plain ZIP file")
    if entries > MOST_ROWS or directory > MOST_ROWS * _ENTRY:
        raise _refusal(f"it holds more than {MOST_ROWS} files")


def _check(row: int, entry: zipfile.ZipInfo) -> None:
    if entry.filename != _name(row):
        raise _refusal(f"its file {row} is not called {_name(row)}")
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise _refusal(f"{_name(row)} is compressed or encrypted")
    if entry.file_size > _LIMITS.max_bytes or entry.compress_size != entry.file_size:
        raise _refusal(f"{_name(row)} has {entry.file_size} bytes; at most {_LIMITS.max_bytes} are allowed")


def _name(row: int) -> str:
    return f"{row}.jpg"


def _refusal(what: str) -> ModelError:
    return ModelError(f"{GOOD_PATCHES} is refused: {what}; the model works without that file")
