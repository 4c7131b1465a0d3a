"""Format and size of an image from its first bytes, without decoding a pixel.

Written out rather than asked of a decoder: an answer here allocates nothing, warns of nothing, changes no process-wide
setting, and so is safe on hostile files and in many threads.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable

from blemish.images import pnm
from blemish.images.jpeg import jpeg_frame
from blemish.images.tiff import Frame, read_directory

_J2K_SIZE = b"\xff\x4f\xff\x51"  # start of codestream, then the segment with the size
_MOST_HEADER = 1 << 20  # bytes in which an AVIF or JPEG 2000 file states its size


def image_size(data: bytes, image_format: str) -> tuple[int, int]:
    """Width and height in pixels as stored (before EXIF rotation); ValueError for a cut or malformed header."""
    try:
        return _SIZES[image_format](data)
    except (struct.error, IndexError) as error:
        raise ValueError("the header is cut short") from error


def depth_and_alpha(data: bytes, image_format: str) -> tuple[int, bool]:
    """Bits per sample, 8 or 16, and whether there is transparency, from a header that `image_size` has accepted.

    `data` may be the file's first bytes alone. What a TIFF header says of the depth is not read; it counts as 8.
    """
    if image_format == "PNG":
        return (16 if data[24] == 16 else 8), bool(data[25] & 4)
    if image_format == "PNM":
        return (16 if pnm.Header(data).largest > 255 else 8), False
    if image_format == "WEBP":
        # bit 4 of the extended header's flags; bit 28 after the signature byte of the lossless one
        return 8, bool(data[20] & 0x10) if data[12:16] == b"VP8X" else data[12:16] == b"VP8L" and bool(data[24] & 0x10)
    if image_format == "TIFF":
        frame = _first_page(data)
        return 8, frame is not None and frame.alpha_at is not None
    if image_format == "JPEG 2000" and _J2K_SIZE in data:
        bits, samples = j2k_depth(data)
        return (16 if bits > 8 else 8), samples in (2, 4)
    return 8, False


def j2k_depth(data: bytes) -> tuple[int, int]:
    """Bits of the first component, negative where its samples are signed, and number of components of a JPEG 2000."""
    at = _j2k_size_at(data)
    samples, depth = struct.unpack_from(">HB", data, at + 40)
    bits = (depth & 0x7F) + 1
    return (-bits if depth & 0x80 else bits), samples


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
    header = pnm.Header(data)
    return header.width, header.height


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
    first = _first_page(data)
    if first is None:
        raise ValueError("it holds no readable frame")
    return first.width, first.height


def _first_page(data: bytes) -> Frame | None:
    pages = read_directory(io.BytesIO(data), 1).pages
    return pages[0] if pages else None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    frame = jpeg_frame(data)
    return frame.width, frame.height


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _j2k_size_at(data: bytes) -> int:
    at = data.find(_J2K_SIZE, 0, _MOST_HEADER)
    if at < 0:
        raise ValueError("the header is cut short or malformed: it states no size")
    return at


def _j2k_size(data: bytes) -> tuple[int, int]:
    """The reference grid's area (ISO 15444-1, A.5.1)."""
    right, bottom, left, top = struct.unpack_from(">4I", data, _j2k_size_at(data) + 8)
    return right - left, bottom - top


def _avif_size(data: bytes) -> tuple[int, int]:
    """The largest extent that an item has: thumbnails and tiles of a grid have smaller ones (ISO 23008-12, 6.5.3)."""
    extents = [struct.unpack_from(">II", data, match.end() + 4) for match in _EXTENT.finditer(data, 0, _MOST_HEADER)]
    if not extents:
        raise ValueError("the header is cut short or malformed: it states no size")
    width, height = max(extents, key=lambda extent: extent[0] * extent[1])
    return width, height


_EXTENT = re.compile(rb"\0\0\0\x14ispe")
_SIZES: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "AVIF": _avif_size,
    "BMP": _bmp_size,
    "GIF": _gif_size,
    "JPEG": _jpeg_size,
    "JPEG 2000": _j2k_size,
    "PNG": _png_size,
    "PNM": _pnm_size,
    "SUN": _sun_size,
    "TIFF": _tiff_size,
    "WEBP": _webp_size,
}
