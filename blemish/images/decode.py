"""Bytes or an array to one RGB uint8 image; one stated rule each.

- EXIF orientation is applied, also in PNG, WebP and TIFF.
- Alpha is dropped, not blended: the colours under transparent pixels are taken as they are stored.
- Grey becomes three equal channels; a palette is expanded to its colours; CMYK is converted to RGB.
- 16-bit samples become 8-bit ones by `Model.bit_depth`, or by what their file says of their range.
- Of an animated file the first frame is taken, or the still picture beside the animation.
- Format and size are read from the header, and the size is checked before any pixel is decoded.
- What a decoder is not known to read rightly is refused, with the true reason.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from blemish.images import headers, tiff
from blemish.images.by_opencv import decode_by_opencv
from blemish.images.by_pillow import decode_by_pillow
from blemish.images.cut_short import is_cut_short, tiff_is_cut_short
from blemish.images.kinds import image_format, other_format
from blemish.images.limits import DEFAULT_LIMITS, Limits, another_size, check_pixels, refusal
from blemish.images.pdf import render_page
from blemish.images.pnm import decode_pnm
from blemish.images.quick_decode import decode_quickly
from blemish.images.rewriting import with_plain_exif, without_animation
from blemish.images.scaling import Samples, Stored, to_8_bit
from blemish.images.support import is_plain_bitmap, j2k_range, why_unsupported
from blemish.images.tiff_kinds import stated_largest, why_frame_unsupported
from blemish.sample_range import FULL, BitDepth, SampleRange

_READ = "JPEG, PNG, BMP, TIFF, WebP, PNM, GIF, JPEG 2000, AVIF, Sun raster, PDF"
_BY_PILLOW = frozenset(("AVIF", "GIF", "JPEG 2000", "SUN"))


def decode_image(
    data: bytes, name: str, limits: Limits = DEFAULT_LIMITS, *, page: int = 0, bit_depth: BitDepth = FULL
) -> npt.NDArray[np.uint8]:
    """One image file's bytes as RGB uint8 (H, W, 3).

    `page` is the frame of a TIFF or the page of a PDF. Raises `ImageError` naming `name` for whatever is no image,
    damaged, cut short or over a limit.
    """
    wanted = SampleRange.of(bit_depth)
    kind = _kind(data, name, limits)
    if kind == "PDF":
        return render_page(data, name, limits, page)
    if kind == "TIFF":
        return _to_rgb(_tiff(data, name, limits, page), wanted)
    if page:
        raise refusal(name, f"has no page {page}, a {kind} file has one")
    return _decode_rgb(data, kind, name, limits, wanted)


def decode_samples(data: bytes, name: str, limits: Limits = DEFAULT_LIMITS) -> Samples:
    """The first image of a file as stored: BGR (H, W, 3), uint8 or uint16, with no scaling of samples.

    For masks, whose values are no brightness. Raises `ImageError` as `decode_image` does, and for PDF.
    """
    kind = _kind(data, name, limits)
    if kind == "PDF":
        raise refusal(name, "is a PDF file, which holds no samples")
    stored = _tiff(data, name, limits, 0) if kind == "TIFF" else _stored(data, kind, name, limits)
    return stored.samples


def array_to_rgb(array: npt.NDArray[np.generic], name: str, bit_depth: BitDepth = FULL) -> npt.NDArray[np.uint8]:
    """A grey (H, W) or (H, W, 1), BGR (H, W, 3) or BGRA (H, W, 4) array, uint8 or uint16, as RGB uint8 (H, W, 3)."""
    import cv2

    wanted = SampleRange.of(bit_depth)
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if array.dtype.kind != "u" or array.dtype.itemsize > 2 or channels not in (1, 3, 4) or not array.size:
        raise refusal(
            name,
            f"an array of shape {array.shape} and type {array.dtype} is not an image; "
            "accepted are (H, W) grey, (H, W, 3) BGR and (H, W, 4) BGRA, of uint8 or uint16",
        )
    native = array.astype(np.uint8 if array.dtype.itemsize == 1 else np.uint16, copy=False)
    pixels = np.ascontiguousarray(to_8_bit(native[..., :3] if channels == 4 else native, wanted))
    code = cv2.COLOR_GRAY2RGB if channels == 1 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _kind(data: bytes, name: str, limits: Limits) -> str:
    """The format by the content, after the checks that need nothing else."""
    if not data:
        raise refusal(name, "is empty (0 bytes)")
    if len(data) > limits.max_bytes:
        raise refusal(name, f"{len(data)} bytes are more than the limit of {limits.max_bytes}")
    kind = image_format(data)
    if kind is None:
        other = other_format(data)
        if other is not None:
            raise refusal(name, f"is {other}, not an image that can be read ({_READ})")
        raise refusal(name, f"is not an image that can be read ({_READ})")
    return kind


def _tiff(data: bytes, name: str, limits: Limits, page: int) -> Stored:
    """One page; refused where it would not be read rightly."""
    directory = tiff.read_directory(io.BytesIO(data), page + 1)
    if directory.hides_raw:
        raise refusal(name, "holds a preview alone; the picture is camera raw data, which is not supported")
    if page >= len(directory.pages):
        if directory.is_broken or not directory.pages:
            raise refusal(
                name,
                f"is a damaged TIFF file or one cut short{_after(data)}: it has no readable frame {page}",
            )
        raise refusal(name, f"has no frame {page}, it has {len(directory.pages)}")
    frame = directory.pages[page]
    check_pixels(name, frame.width, frame.height, limits)
    check_pixels(name, *frame.tile, limits)  # a whole tile is decoded, however small the picture is
    reason = why_frame_unsupported(frame)
    if reason is not None:
        raise refusal(name, reason)
    if tiff_is_cut_short(data, frame):
        raise refusal(name, f"is cut short{_after(data)}: the end of the TIFF data is missing")
    pixels = _by_opencv(tiff.starting_at(tiff.without_alpha(data, frame), frame), "TIFF", name)
    _check_size(pixels, frame.width, frame.height, name)
    if pixels.dtype == np.uint8:
        return Stored.of(pixels)
    largest = stated_largest(frame)
    if largest is None:
        return Stored(pixels, 65_535, frame.white_is_zero)
    shifted = (pixels >> (16 - largest.bit_length())).astype(np.uint16)
    return Stored(shifted, largest, frame.white_is_zero)


def _decode_rgb(data: bytes, kind: str, name: str, limits: Limits, bit_depth: SampleRange) -> npt.NDArray[np.uint8]:
    """RGB (H, W, 3), by the quicker decoder where there is one for such a file."""
    import cv2

    samples = decode_quickly(data, kind, *_checked_size(data, kind, name, limits))
    if samples is None:
        return _to_rgb(_stored(data, kind, name, limits), bit_depth)
    pixels = to_8_bit(samples, bit_depth)  # (H, W, 1 or 3 or 4)
    codes = {1: cv2.COLOR_GRAY2RGB, 4: cv2.COLOR_RGBA2RGB}
    channels = samples.shape[-1]
    return pixels if channels == 3 else np.asarray(cv2.cvtColor(pixels, codes[channels]), np.uint8)


def _checked_size(data: bytes, kind: str, name: str, limits: Limits) -> tuple[int, int]:
    """Width and height as stored, after every check that needs only the header."""
    try:
        width, height = headers.image_size(data, kind)
        cut_short = is_cut_short(data, kind)
    except ValueError as error:
        raise refusal(name, f"is a damaged {kind} file{_after(data)}: {error}") from error
    check_pixels(name, width, height, limits)
    if cut_short:
        raise refusal(name, f"is cut short{_after(data)}: the end of the {kind} data is missing")
    reason = why_unsupported(data, kind)
    if reason is not None:
        raise refusal(name, reason)
    return width, height


def _stored(data: bytes, kind: str, name: str, limits: Limits) -> Stored:
    """Samples of any format but TIFF and PDF, checked before and after."""
    width, height = _checked_size(data, kind, name, limits)
    if kind in _BY_PILLOW or (kind == "BMP" and not is_plain_bitmap(data)):
        stored = decode_by_pillow(data, kind, name, (width, height))
        stored = j2k_range(stored, data) if kind == "JPEG 2000" else stored
    elif kind == "PNM":
        try:
            stored = decode_pnm(data)
        except ValueError as error:
            raise refusal(name, str(error)) from error
    else:
        stored = Stored.of(_by_opencv(_rewritten(data, kind), kind, name))
    _check_size(stored.samples, width, height, name)
    return stored


def _by_opencv(data: bytes, kind: str, name: str) -> Samples:
    pixels = decode_by_opencv(data, name)
    if pixels is None:
        raise refusal(name, f"cannot be decoded: it is damaged, or an unsupported kind of {kind}")
    return pixels


def _check_size(pixels: Samples, width: int, height: int, name: str) -> None:
    if sorted(pixels.shape[:2]) != sorted((height, width)):
        raise another_size(name, (width, height))


def _rewritten(data: bytes, kind: str) -> bytes:
    """As OpenCV reads it rightly."""
    if kind == "PNG":
        return without_animation(data)
    return with_plain_exif(data) if kind == "WEBP" else data


def _to_rgb(stored: Stored, bit_depth: SampleRange) -> npt.NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.cvtColor(stored.to_8_bit(bit_depth), cv2.COLOR_BGR2RGB), np.uint8)


def _after(data: bytes) -> str:
    """How much of a file is there."""
    size = len(data)
    if size < 1000:
        return f" after {size} bytes"
    return f" after {size / 1e3:.0f} kB" if size < 1_000_000 else f" after {size / 1e6:.1f} MB"
