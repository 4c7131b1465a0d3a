"""Whether a file's end is missing, told from what the file says of its own length."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

from blemish.images import pnm, tiff
from blemish.images.jpeg import has_end

_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_J2K_END = b"\xff\xd9"
_RLE = (1, 2)
_GIF_IMAGE, _GIF_END = 0x2C, 0x3B


def is_cut_short(data: bytes, image_format: str) -> bool:
    """Whether the end is missing; False where the format or this file does not tell. `ValueError` as `image_size`."""
    try:
        return len(data) < _least_size(data, image_format)
    except (struct.error, IndexError):
        return True


def tiff_is_cut_short(data: bytes, frame: tiff.Frame) -> bool:
    """Whether a frame's strips or tiles reach beyond the file."""
    try:
        return any(end > len(data) for end in frame.ends(data))
    except (struct.error, OverflowError):
        return True


def _least_size(data: bytes, kind: str) -> int:
    """How many bytes the file must have; one more than it has where its end is missing."""
    if kind in _ENDS:
        return 0 if _ENDS[kind](data) else len(data) + 1
    return _SIZES[kind](data) if kind in _SIZES else 0


def _png_has_end(data: bytes) -> bool:
    """Whether the chain of chunks reaches its end; a decoder would allocate what a damaged length says."""
    at = 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IEND":
            return True
        if end > len(data) and _PNG_END in data:
            raise ValueError("a chunk is longer than the file")
        at = end
    return False


def _j2k_has_end(data: bytes) -> bool:
    return _J2K_END in data[-64:] or _J2K_END in data


def _tiff_has_directory(data: bytes) -> bool:
    directory = tiff.read_directory(io.BytesIO(data), 1)
    return bool(directory.pages) or not directory.is_broken


def _webp(data: bytes) -> int:
    return 8 + int(struct.unpack_from("<I", data, 4)[0])


def _pnm(data: bytes) -> int:
    header = pnm.Header(data)
    return header.start + header.size


def _bmp(data: bytes) -> int:
    start, header = struct.unpack_from("<II", data, 10)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<4H", data, 18)
        compression = size = 0
    else:
        width, height, _, bits, compression, size = struct.unpack_from("<iiHHII", data, 18)
    if compression in _RLE:
        return int(start + size)
    return int(start + (width * bits + 31) // 32 * 4 * abs(height)) if compression in (0, 3, 6) else int(start)


def _sun(data: bytes) -> int:
    length, kind, _, colours = struct.unpack_from(">4I", data, 16)
    width, height, depth = struct.unpack_from(">3I", data, 4)
    return int(32 + colours + (length if kind == 2 else (width * depth + 15) // 16 * 2 * height))


def _gif(data: bytes) -> int:
    """Where the blocks of the first picture end."""
    flags = data[10]
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while True:
        kind = data[at]
        if kind == _GIF_END:
            return at + 1
        if kind == _GIF_IMAGE:
            colours = data[at + 9]
            at += 11 + (3 << (colours & 7) + 1 if colours & 0x80 else 0)
        else:
            at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
        if kind == _GIF_IMAGE:
            return at


def _boxes(data: bytes) -> int:
    """Where the last box that has a size begins and ends (ISO 14496-12, 4.2)."""
    at = 0
    while at + 8 <= len(data):
        size = struct.unpack_from(">I", data, at)[0]
        if size == 1:
            size = struct.unpack_from(">Q", data, at + 8)[0]
        if size < 8:  # 0: up to the end of the file
            return len(data)
        at += int(size)
    return at


_ENDS: dict[str, Callable[[bytes], bool]] = {
    "PNG": _png_has_end,
    "JPEG": has_end,
    "JPEG 2000": _j2k_has_end,
    "TIFF": _tiff_has_directory,
}
_SIZES: dict[str, Callable[[bytes], int]] = {
    "AVIF": _boxes,
    "BMP": _bmp,
    "GIF": _gif,
    "PNM": _pnm,
    "SUN": _sun,
    "WEBP": _webp,
}
