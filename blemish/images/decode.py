"""Bytes or an array to one RGB uint8 image; one stated rule each.

- EXIF orientation is applied, also in PNG, WebP and TIFF.
- Alpha is dropped, not blended: the colours under transparent pixels are taken as they are stored.
- Grey becomes three equal channels; a palette is expanded to its colours; CMYK is converted to RGB.
- 16-bit samples with `bit_depth` significant bits become `round(v * 255 / (2**bit_depth - 1))`, at most 255.
- Of an animated file the first frame is taken.
- Format and size are read from the header, and the size is checked before any pixel is decoded.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError
from blemish.images import headers, tiff
from blemish.images.limits import DEFAULT_LIMITS, Limits, check_pixels, refusal
from blemish.images.pdf import render_page
from blemish.images.quick_decode import Samples, decode_quickly

_SILENT = 0
_quiet_lock = threading.Lock()
_quiet = {"users": 0, "level": 0}


def decode_image(
    data: bytes, name: str, limits: Limits = DEFAULT_LIMITS, *, page: int = 0, bit_depth: int = 16
) -> npt.NDArray[np.uint8]:
    """One image file's bytes as RGB uint8 (H, W, 3).

    `page` is the frame of a TIFF or the page of a PDF. Raises `ImageError` naming `name` for whatever is no image,
    damaged, cut short or over a limit.
    """
    check_bit_depth(bit_depth)
    kind = _kind(data, name, limits)
    if kind == "PDF":
        return render_page(data, name, limits, page)
    if kind == "TIFF":
        return _decode_tiff(data, name, limits, page, bit_depth)
    if page:
        raise refusal(name, f"has no page {page}, a {kind} file has one")
    return _decode_rgb(data, kind, name, limits, bit_depth)


def decode_samples(data: bytes, name: str, limits: Limits = DEFAULT_LIMITS) -> Samples:
    """The first image of a file as stored: BGR (H, W, 3), uint8 or uint16, with no scaling of 16-bit samples.

    For masks, whose values are no brightness. Raises `ImageError` as `decode_image` does, and for PDF.
    """
    kind = _kind(data, name, limits)
    if kind == "PDF":
        raise refusal(name, "is a PDF file, which holds no samples")
    return _tiff_samples(data, name, limits, 0)[0] if kind == "TIFF" else _decode(data, kind, name, limits)


def array_to_rgb(array: npt.NDArray[np.generic], name: str, bit_depth: int = 16) -> npt.NDArray[np.uint8]:
    """A grey (H, W) or (H, W, 1), BGR (H, W, 3) or BGRA (H, W, 4) array, uint8 or uint16, as RGB uint8 (H, W, 3)."""
    import cv2

    check_bit_depth(bit_depth)
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if array.dtype.kind != "u" or array.dtype.itemsize > 2 or channels not in (1, 3, 4) or not array.size:
        raise refusal(
            name,
            f"an array of shape {array.shape} and type {array.dtype} is not an image; "
            "accepted are (H, W) grey, (H, W, 3) BGR and (H, W, 4) BGRA, of uint8 or uint16",
        )
    native = array.astype(np.uint8 if array.dtype.itemsize == 1 else np.uint16, copy=False)
    pixels = np.ascontiguousarray(_to_8_bit(native, bit_depth))
    code = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}[channels]
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def check_bit_depth(bit_depth: int) -> None:
    """UsageError unless 16-bit samples can have that many significant bits."""
    if not 10 <= bit_depth <= 16:
        raise UsageError(f"bit depth {bit_depth} is not between 10 and 16")


def _kind(data: bytes, name: str, limits: Limits) -> str:
    """The format by the content, after the checks that need nothing else."""
    if not data:
        raise refusal(name, "is empty (0 bytes)")
    if len(data) > limits.max_bytes:
        raise refusal(name, f"{len(data)} bytes are more than the limit of {limits.max_bytes}")
    kind = headers.image_format(data)
    if kind is None:
        raise refusal(name, "is not an image that can be read (JPEG, PNG, BMP, TIFF, WebP, PNM, Sun raster, PDF)")
    return kind


def _decode_tiff(data: bytes, name: str, limits: Limits, page: int, bit_depth: int) -> npt.NDArray[np.uint8]:
    """One frame, set right where OpenCV's reader alone would give wrong colours."""
    pixels, inverted = _tiff_samples(data, name, limits, page)
    rgb = _to_rgb(pixels, bit_depth)
    return np.asarray(255 - rgb, np.uint8) if inverted else rgb


def _tiff_samples(data: bytes, name: str, limits: Limits, page: int) -> tuple[Samples, bool]:
    """One frame, and whether its samples are still to be inverted; refused where OpenCV would read it wrongly."""
    frame = next(islice(tiff.frames(io.BytesIO(data)), page, None), None)
    if frame is None:
        raise refusal(name, f"is a damaged TIFF file or one cut short: it has no readable frame {page}")
    if frame.lab:
        raise refusal(name, "is in L*a*b* colour, which is not supported; convert it to RGB")
    data = tiff.without_alpha(data, frame)
    pixels = _decode(tiff.starting_at(data, frame) if page else data, "TIFF", name, limits)
    deep = pixels.dtype == np.uint16
    if deep and frame.separate_planes:
        raise refusal(name, "is a 16-bit TIFF file with separate colour planes, which is not supported")
    return pixels, deep and frame.white_is_zero


def _decode_rgb(data: bytes, kind: str, name: str, limits: Limits, bit_depth: int) -> npt.NDArray[np.uint8]:
    """RGB (H, W, 3), by the quicker decoder where there is one for such a file."""
    import cv2

    samples = decode_quickly(data, kind, *_checked_size(data, kind, name, limits))
    if samples is None:
        return _to_rgb(_decode(data, kind, name, limits), bit_depth)
    pixels = _to_8_bit(samples, bit_depth).reshape(samples.shape)  # (H, W, 1 or 3 or 4)
    codes = {1: cv2.COLOR_GRAY2RGB, 4: cv2.COLOR_RGBA2RGB}
    channels = samples.shape[-1]
    return pixels if channels == 3 else np.asarray(cv2.cvtColor(pixels, codes[channels]), np.uint8)


def _checked_size(data: bytes, kind: str, name: str, limits: Limits) -> tuple[int, int]:
    """Width and height as stored, after every check that needs only the header."""
    try:
        width, height = headers.image_size(data, kind)
        cut_short = headers.is_cut_short(data, kind)
    except ValueError as error:
        raise refusal(name, f"is a damaged {kind} file: {error}") from error
    check_pixels(name, width, height, limits)
    if cut_short:
        raise refusal(name, f"is cut short: the end of the {kind} data is missing")
    return width, height


def _decode(data: bytes, kind: str, name: str, limits: Limits) -> Samples:
    """BGR samples (H, W, 3) by OpenCV, checked before and after."""
    width, height = _checked_size(data, kind, name, limits)
    pixels = _decode_pixels(data, name)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise refusal(
            name, f"cannot be decoded: damaged or cut short, or an unsupported kind of {kind} (32-bit, float)"
        )
    if sorted(pixels.shape[:2]) != sorted((height, width)):
        raise refusal(name, f"is damaged: its header says {width}x{height} pixels, its data another size")
    return pixels


def _to_rgb(pixels: Samples, bit_depth: int) -> npt.NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.cvtColor(_to_8_bit(pixels, bit_depth), cv2.COLOR_BGR2RGB), np.uint8)


def _decode_pixels(data: bytes, name: str) -> Samples | None:
    """BGR samples (H, W, 3) by OpenCV, None where it gives up."""
    import cv2

    with quiet_opencv():
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        except MemoryError as error:
            raise refusal(name, "is too large for the memory") from error
        except cv2.error:
            return None
    return pixels  # type: ignore[return-value]


def _to_8_bit(samples: Samples, bit_depth: int) -> npt.NDArray[np.uint8]:
    """16-bit samples scaled to 8 bits; 8-bit samples as they are."""
    import cv2

    if samples.dtype == np.uint8:
        return samples  # type: ignore[return-value]
    # One exact pass: it rounds to nearest, and no tie exists since 2**bit_depth - 1 is odd.
    scaled = cv2.convertScaleAbs(np.ascontiguousarray(samples), alpha=255 / (2**bit_depth - 1))
    return np.asarray(scaled, np.uint8)


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV's log off stderr while any thread decodes, and give the user's level back after the last."""
    import cv2

    log = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 keeps these functions at the top
    with _quiet_lock:
        if not _quiet["users"]:
            _quiet["level"] = log.getLogLevel()
            log.setLogLevel(_SILENT)
        _quiet["users"] += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet["users"] -= 1
            if not _quiet["users"]:
                log.setLogLevel(_quiet["level"])
