"""Which kinds of a format are decoded rightly, by whom, and in plain words why another is not (TIFF has its own)."""

from __future__ import annotations

import struct

from blemish.images.headers import j2k_depth
from blemish.images.jpeg import jpeg_frame
from blemish.images.scaling import Samples, Stored

_PLAIN, _RLE8, _RLE4, _MASKS, _ALPHA_MASKS = 0, 1, 2, 3, 6
_BMP_COMPRESSIONS = {4: "JPEG", 5: "PNG", 11: "CMYK", 12: "CMYK with RLE", 13: "CMYK with RLE"}
_BMP_HEADERS = frozenset((12, 40, 52, 56, 64, 108, 124))
_BMP_BITS = frozenset((1, 4, 8, 16, 24, 32))
# Red, green, blue and alpha of the pixel, as Pillow reads them.
_MASKS_16 = frozenset(((0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)))
_MASKS_32 = frozenset(
    (
        (0xFF0000, 0xFF00, 0xFF, 0x0),
        (0xFF000000, 0xFF0000, 0xFF00, 0x0),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    )
)
_SUN_DEPTHS, _SUN_KINDS = frozenset((1, 8, 24)), frozenset((0, 1, 2, 3))


def why_unsupported(data: bytes, kind: str) -> str | None:
    """Why a file is not decoded, as in "name: REASON"; None for kinds that are proven to be read rightly."""
    if kind == "JPEG":
        return jpeg_frame(data).why_unsupported
    if kind == "JPEG 2000":
        return _j2k(data)
    if kind == "BMP":
        return _bmp(data)
    return _sun(data) if kind == "SUN" else None


def is_plain_bitmap(data: bytes) -> bool:
    """Whether OpenCV reads a BMP rightly: it garbles some run lengths and masks, and darkens 16 bits."""
    bits, compression = _bmp_kind(data)
    return compression == _PLAIN and bits != 16


def j2k_range(stored: Stored, data: bytes) -> Stored:
    """Samples of 9 to 15 bits brought down from the top of 16, where Pillow puts them."""
    bits = j2k_depth(data)[0]
    if not 8 < bits < 16:
        return stored
    samples: Samples = stored.samples >> (16 - bits)  # type: ignore[assignment]
    return Stored(samples, (1 << bits) - 1)


def _j2k(data: bytes) -> str | None:
    bits, samples = j2k_depth(data)
    if bits < 0:
        return "is a JPEG 2000 file of signed samples, which is not supported"
    if not 8 <= bits <= 16 or (bits > 8 and samples > 1):
        kind = "in colour" if samples > 1 else "in grey"
        return f"is a JPEG 2000 file of {bits} bits per sample {kind}, which is not supported; save it as PNG"
    return f"is a JPEG 2000 file of {samples} components, which is not supported" if samples > 4 else None


def _bmp(data: bytes) -> str | None:
    bits, compression = _bmp_kind(data)
    header = struct.unpack_from("<I", data, 14)[0]
    if header not in _BMP_HEADERS:
        return f"is a BMP file with a header of {header} bytes, which is not known"
    if bits not in _BMP_BITS:
        return f"is a BMP file of {bits} bits per pixel, which is not supported"
    if compression in _BMP_COMPRESSIONS:
        return f"is a BMP file that holds {_BMP_COMPRESSIONS[compression]} data, which is not supported"
    if header == 64 and compression not in (_PLAIN, _RLE8, _RLE4):
        return "is an OS/2 BMP file of a compression that is not supported"
    if (compression, bits) not in {(_RLE8, 8), (_RLE4, 4)} and compression not in (_PLAIN, _MASKS, _ALPHA_MASKS):
        return f"is a BMP file of the compression {compression}, which is not supported"
    return _bmp_masks(data, header, bits) if compression in (_MASKS, _ALPHA_MASKS) else None


def _bmp_masks(data: bytes, header: int, bits: int) -> str | None:
    masks = struct.unpack_from("<4I", data, 54)
    if header in (40, 52):
        masks = (*masks[:3], 0)
    if (bits == 32 and masks in _MASKS_32) or (bits == 16 and masks[:3] in _MASKS_16):
        return None
    shown = ", ".join(f"{mask:x}" for mask in masks)
    return f"is a BMP file with the bit masks {shown}, which are not supported; save it with 24 bits per pixel"


def _bmp_kind(data: bytes) -> tuple[int, int]:
    """Bits per pixel and compression."""
    if struct.unpack_from("<I", data, 14)[0] == 12:
        return int(struct.unpack_from("<H", data, 24)[0]), _PLAIN
    bits, compression = struct.unpack_from("<HI", data, 28)
    return bits, compression


def _sun(data: bytes) -> str | None:
    depth, kind = struct.unpack_from(">I", data, 12)[0], struct.unpack_from(">I", data, 20)[0]
    if depth not in _SUN_DEPTHS:
        return f"is a Sun raster file of {depth} bits per pixel, which is not supported; save it as PNG"
    return None if kind in _SUN_KINDS else f"is a Sun raster file of type {kind}, which is not supported"
