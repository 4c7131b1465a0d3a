"""PNG and JPEG by kornia_rs where that is installed, for the kinds of file whose samples equal OpenCV's to the bit.

The extra `decode` brings it. What is not listed here, what is large, and whatever kornia_rs refuses is
left to OpenCV, which alone decides what is damaged: with it or without it, the same files give the same pixels.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

from blemish.images.scaling import Samples

# (bits, colour type) of a PNG header -> kornia_rs's function and mode; palettes, few bits, grey with alpha: not there
_PNG_KINDS = {
    (8, 0): ("decode_image_png_u8", "mono"),
    (8, 2): ("decode_image_png_u8", "rgb"),
    (8, 6): ("decode_image_png_u8", "rgba"),
    (16, 0): ("decode_image_png_u16", "mono"),
    (16, 2): ("decode_image_png_u16", "rgb"),
}
# PNG chunks without a say in the samples; others, such as orientation and animation, are OpenCV's matter
_HARMLESS = frozenset(
    b"IHDR PLTE tRNS IDAT IEND gAMA cHRM sRGB iCCP sBIT bKGD hIST pHYs sPLT tIME tEXt zTXt iTXt".split()
)
_HIDDEN_EXIF = b"Raw profile type"  # the keyword of texts that hold it
_MOST_CHUNKS = 10_000
_MOST_PIXELS = 4_000_000  # it keeps the interpreter while it decodes; other threads wait for some 30 ms at most


def decode_quickly(data: bytes, kind: str, width: int, height: int) -> Samples | None:
    """RGB or RGBA or grey samples (height, width, 3 or 4 or 1), or None where OpenCV has to decode."""
    library = _kornia()
    if library is None or width * height > _MOST_PIXELS:
        return None
    try:
        samples = _png(library, data, width, height) if kind == "PNG" else _jpeg(library, data, kind)
    except BaseException as error:
        # a panic of Rust code derives from BaseException, to get past those who catch Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        return None
    return samples if samples is not None and samples.shape[:2] == (height, width) else None


def _is_plain_png(data: bytes) -> bool:
    """Whether every chunk is one that cannot change the samples."""
    at = 8
    for _ in range(_MOST_CHUNKS):
        name = data[at + 4 : at + 8]
        if name not in _HARMLESS or data.startswith(_HIDDEN_EXIF, at + 8):
            return False
        if name == b"IEND":
            return True
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def _png(library: ModuleType, data: bytes, width: int, height: int) -> Samples | None:
    bits, colour_type, interlaced = data[24], data[25], data[28]
    if interlaced or (bits, colour_type) not in _PNG_KINDS or not _is_plain_png(data):
        return None
    function, mode = _PNG_KINDS[bits, colour_type]
    samples: Samples = getattr(library, function)(data, (height, width), mode)
    return samples


def _jpeg(library: ModuleType, data: bytes, kind: str) -> Samples | None:
    if kind != "JPEG" or b"Exif" in data:
        return None
    samples: Samples = library.decode_image_jpegturbo(data, "rgb")
    return samples


@cache
def _kornia() -> ModuleType | None:
    """kornia_rs's decoders, if they are installed."""
    try:
        from kornia_rs import io
    except ImportError:
        return None
    return io
