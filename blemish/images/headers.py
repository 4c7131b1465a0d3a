"""Format and size of an image from its first bytes, without decoding a pixel.

Written out rather than asked of a decoder: an answer here allocates nothing, warns of nothing, changes no process-wide
setting, and so is safe on hostile files and in many threads.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable

from blemish.images.tiff import TIFF_SIGNATURES, frames

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"\x59\xa6\x6a\x95": "SUN",
    b"%PDF-": "PDF",
    **dict.fromkeys(TIFF_SIGNATURES, "TIFF"),
}
_GAP = rb"(?:\s|#[^\n]*\n)+"
_PNM_HEADER = re.compile(rb"P([1-6])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})(?:" + _GAP + rb"(\d{1,5})\s)?")
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"


def image_format(data: bytes) -> str | None:
    """JPEG, PNG, BMP, WEBP, PNM, SUN, TIFF or PDF by the content's signature; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if re.match(rb"P[1-6][\s#]", data[:3]):
        return "PNM"
    return next((name for signature, name in _SIGNATURES.items() if data.startswith(signature)), None)


def image_size(data: bytes, image_format: str) -> tuple[int, int]:
    """Width and height in pixels as stored (before EXIF rotation); ValueError for a cut or malformed header."""
    try:
        return _SIZES[image_format](data)
    except (struct.error, IndexError) as error:
        raise ValueError("the header is cut short") from error


def depth_and_alpha(data: bytes, image_format: str) -> tuple[int, bool]:
    """Bits per sample, 8 or 16, and whether there is transparency, from a header that `image_size` has accepted.

    What a TIFF header says of the depth is not read; it counts as 8.
    """
    if image_format == "PNG":
        return (16 if data[24] == 16 else 8), bool(data[25] & 4)
    if image_format == "PNM":
        match = _PNM_HEADER.match(data[:4096])
        return (16 if match and int(match[4] or 0) > 255 else 8), False
    if image_format == "WEBP":
        # bit 4 of the extended header's flags; bit 28 after the signature byte of the lossless one
        return 8, bool(data[20] & 0x10) if data[12:16] == b"VP8X" else data[12:16] == b"VP8L" and bool(data[24] & 0x10)
    if image_format == "TIFF":
        frame = next(frames(io.BytesIO(data)), None)
        return 8, frame is not None and frame.alpha_at is not None
    return 8, False


def is_cut_short(data: bytes, image_format: str) -> bool:
    """Whether the end marker is missing where decoders may fill in grey instead of failing."""
    if image_format == "PNG":
        return _PNG_END not in data[-1024:] and _PNG_END not in data
    if image_format == "JPEG":
        return data.rfind(_JPEG_END, _jpeg_markers(data)[1]) < 0
    return False


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _bmp_size(data: bytes) -> tuple[int, int]:
    core = struct.unpack_from("<I", data, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if core else "<ii", data, 18)
    return width, abs(height)


def _sun_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 4)
    return width, height


def _pnm_size(data: bytes) -> tuple[int, int]:
    match = _PNM_HEADER.match(data[:4096])
    if not match:
        raise ValueError("the header is malformed")
    if match[1] in b"56" and int(match[4] or 0) < 255:  # OpenCV would not scale the samples
        raise ValueError("a maximum value below 255 is not supported in binary PNM files")
    return int(match[2]), int(match[3])


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff_size(data: bytes) -> tuple[int, int]:
    first = next(frames(io.BytesIO(data)), None)
    if first is None:
        raise ValueError("it holds no readable frame")
    return first.width, first.height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    frame = _jpeg_markers(data)[0]
    height, width = struct.unpack_from(">HH", data, frame + 5)
    return width, height


def _jpeg_markers(data: bytes) -> tuple[int, int]:
    """Offsets of the frame header (SOFn) and of the first scan (SOS); thumbnails inside segments are stepped over."""
    frame, at = 0, 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            raise ValueError("the header is cut short")
        marker = data[at + 1]
        if marker == 0xDA:
            break
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # fill bytes and markers without a length
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = frame or at
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    if not frame:
        raise ValueError("the header is malformed")
    return frame, at


_SIZES: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "JPEG": _jpeg_size,
    "PNG": _png_size,
    "BMP": _bmp_size,
    "SUN": _sun_size,
    "PNM": _pnm_size,
    "WEBP": _webp_size,
    "TIFF": _tiff_size,
}
