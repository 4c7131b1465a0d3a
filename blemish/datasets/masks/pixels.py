"""The values of a mask file, with 0 for the background: from grey levels, colours, a palette or transparency."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from blemish.datasets.files import read_file
from blemish.datasets.masks.orientation import orientation_of, turned
from blemish.errors import DatasetError, ImageError
from blemish.images import decode_samples
from blemish.images.limits import DEFAULT_LIMITS, check_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

Levels = npt.NDArray[Any]

_FORMATS = ["BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"]
_BLACK = 16  # of 255: JPEG makes black a little lighter
_OF_BORDER = 1 / 8  # share of the border from which on a colour that is black is the background
_CONTRAST = 32  # of grey levels without a zero, from which on the lightest is no noise


@dataclass(frozen=True, eq=False)
class MaskPixels:
    """A mask as it is shown.

    Attributes:
        levels: `(H, W)`, none negative; 0 is background. As stored, the palette's index, or how far a colour or a
            transparency is from that of the background.
        is_lossy: whether the file is a JPEG.
        is_turned: whether the file itself says how it is to be turned, which was done.
        doubt: what had to be decided about the background, if anything.
    """

    levels: Levels
    is_lossy: bool = False
    is_turned: bool = False
    doubt: str = ""


def read_pixels(path: Path) -> MaskPixels:
    """The values of a mask file; `DatasetError` that names it if it cannot be read."""
    try:
        return pixels_of(read_file(path, DEFAULT_LIMITS.max_bytes), path.name)
    except (ImageError, DatasetError) as error:
        raise DatasetError(f"{path}: the mask cannot be read: {str(error).removeprefix(f'{path.name}: ')}") from None


def pixels_of(data: bytes, name: str) -> MaskPixels:
    """The values of a mask file's bytes; `ImageError` or `DatasetError` if they cannot be read."""
    image, orientation = _opened(data, name)
    if image is None or not _is_for_pillow(image):
        levels, doubt = _of_samples(decode_samples(data, name))
    else:
        levels, doubt = _of_pillow(image)
        levels = levels if image.format == "TIFF" else turned(levels, orientation)  # Pillow turns TIFF by itself
    return MaskPixels(levels, image is not None and image.format == "JPEG", orientation != 1, doubt)


def _opened(data: bytes, name: str) -> tuple[Image | None, int]:
    """The file in Pillow, decoded only if nothing else can, and its orientation; None where Pillow does not know it."""
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's limit is lower than ours; damaged EXIF
        try:
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
            check_pixels(name, *image.size, DEFAULT_LIMITS)
            orientation = orientation_of(image)  # Pillow forgets that of TIFF once it has turned the pixels
            if _is_for_pillow(image):
                image.load()
        except (UnidentifiedImageError, Image.DecompressionBombError):
            return None, 1
        except ImageError:
            raise
        except Exception as error:  # what Pillow raises at damaged files is not documented
            raise DatasetError(f"is damaged or cut short: {error}") from None
    return image, orientation


def _is_for_pillow(image: Image) -> bool:
    """Whether only Pillow tells what is in it: palette indices, transparency, 32-bit values, GIF."""
    special = image.mode in ("P", "PA", "LA", "La", "RGBA", "RGBa", "I", "F")
    return special or image.format == "GIF" or "transparency" in image.info


def _of_pillow(image: Image) -> tuple[Levels, str]:
    if image.mode in ("P", "PA"):
        return _of_palette(image)
    if image.mode in ("I", "F"):
        return _of_numbers(np.array(image))
    return _of_transparent(np.array(image.convert("RGBA")))


def _of_numbers(values: npt.NDArray[Any]) -> tuple[Levels, str]:
    """32-bit values, whole or with fractions `(H, W)`."""
    if not np.isfinite(values).all():
        raise DatasetError("holds values that are no numbers")
    return np.abs(values), ""


def _of_palette(image: Image) -> tuple[Levels, str]:
    """Palette indices: 0 is the background, whatever its colour.

    If index 0 is opaque and another index is transparent, that is the background. Indices that are nothing but grey
    levels in order are read as these. Where index 0 is not black and the border is black, black is the background.
    """
    channels = np.array(image)  # (H, W), or (H, W, 2) with transparency
    indices = channels if channels.ndim == 2 else channels[..., 0]
    flat = np.array(image.getpalette("RGB") or [], np.uint8)[: 256 * 3]
    colours = np.pad(flat, (0, 256 * 3 - flat.size)).reshape(256, 3)
    used = np.unique(indices)
    clear = [int(index) for index in used if _opacity(image)[index] == 0]
    if clear and 0 not in clear:
        return ~np.isin(indices, clear), ""
    others = colours[used[used > 0]].astype(np.int16)
    in_order = (np.ptp(others, axis=1) == 0).all() and (np.diff(others[:, 0], prepend=0) > 0).all()
    is_black = not colours[0].any()
    if is_black and in_order:
        return colours[indices][..., 0], ""
    blacks = used[~colours[used].any(axis=1)]
    if is_black or not len(blacks):
        return indices, ""
    if np.isin(_border(indices), blacks).mean() > 0.5:
        return ~np.isin(indices, blacks), "black is taken as background, although index 0 of the palette has a colour"
    return indices, f"index 0 of the palette, {_named(colours[0])}, is taken as background, although it holds black too"


def _opacity(image: Image) -> list[int]:
    """The opacity of every palette index, 0 to 255."""
    given = image.info.get("transparency", b"")
    if isinstance(given, int):
        return [255 * (index != given) for index in range(256)]
    return [*given, *[255] * (256 - len(given))]


def _of_transparent(samples: npt.NDArray[np.uint8]) -> tuple[Levels, str]:
    """RGBA `(H, W, 4)`: the transparency is the mask if it varies and something is wholly transparent."""
    colours, alpha = samples[..., :3], samples[..., 3]
    lowest = alpha.min()
    same_colour = bool((colours == colours[0, 0]).all())
    if alpha.max() > lowest and (lowest == 0 or same_colour):
        return alpha - lowest, ""
    return _of_samples(colours)


def _of_samples(samples: npt.NDArray[Any]) -> tuple[Levels, str]:
    """Samples `(H, W, 3)`: equal ones are grey levels, others are colours on their background."""
    first = samples[..., 0]
    if (samples == first[..., None]).all():
        low, high = int(first.min()), int(first.max())
        if low in (0, high) or high - low < _CONTRAST <= high:
            return np.ascontiguousarray(first), ""
    background = _background(samples)
    same_type = background.astype(samples.dtype)
    away = (np.maximum(samples, same_type) - np.minimum(samples, same_type)).max(axis=2)  # (H, W)
    if not background.any():
        return away, ""
    shown = _named(background[::-1] if samples.dtype == np.uint8 else background[::-1] // 257)
    return away, f"{shown}, the colour of its border, is taken as background, since the border is not black"


def _background(samples: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """The colour `(3,)` of the background: black if the border has some or no other colour most often, else that."""
    border = _border(samples).astype(np.int32)  # (n, 3)
    full = np.iinfo(samples.dtype).max
    black = np.zeros(3, np.int32)
    if (border.max(axis=1) <= _BLACK * full // 255).mean() >= _OF_BORDER:
        return black
    steps, counts = np.unique(border * 8 // (full + 1), axis=0, return_counts=True)  # eight steps a channel
    usual = (border * 8 // (full + 1) == steps[counts.argmax()]).all(axis=1)
    colour: npt.NDArray[np.int32] = np.median(border[usual], axis=0).astype(np.int32)
    is_coloured = np.ptp(colour) > full // 4
    if usual.mean() <= 0.5 or (is_coloured and (samples.max(axis=2) <= _BLACK * full // 255).mean() > 0.01):
        return black
    return colour


def _border(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The outermost pixels, one after the other."""
    return np.concatenate([samples[0], samples[-1], samples[:, 0], samples[:, -1]])


def _named(rgb: npt.NDArray[Any]) -> str:
    grey = {(0, 0, 0): "black", (255, 255, 255): "white"}
    colour = (int(rgb[0]), int(rgb[1]), int(rgb[2]))
    return grey.get(colour, "#{:02x}{:02x}{:02x}".format(*colour))
