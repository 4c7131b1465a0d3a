"""The masks of Pascal VOC: a class number for every pixel, as palette index, grey level or colour."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from blemish.datasets.files import naming, read_file
from blemish.errors import DatasetError, ImageError
from blemish.images.headers import image_size
from blemish.images.kinds import image_format
from blemish.images.limits import DEFAULT_LIMITS, check_pixels

if TYPE_CHECKING:
    from PIL import Image

BORDER = 255  # pixels that belong neither to an object nor to the background
_BORDER_COLOUR = 224, 224, 192
_MOST_BYTES = 1 << 28
_COLOURED = re.compile(r"(.+?):(\d{1,3}),(\d{1,3}),(\d{1,3})(?::.*)?")


class ClassName(NamedTuple):
    """The name of a class, and its colour if that is not VOC's own for its number."""

    label: str
    colour: tuple[int, int, int] | None


def read_class_names(base: Path) -> list[ClassName]:
    """The classes by number from `labelmap.txt` (`name:r,g,b::`) or `class_names.txt` (a name a line), if there."""
    for name in ("labelmap.txt", "class_names.txt"):
        if (base / name).is_file():
            with naming(base / name):
                lines = read_file(base / name, _MOST_BYTES).decode("utf-8-sig", "replace").splitlines()
            names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
            return [_class_name(line) for line in names if line != "__ignore__"]
    return []


def read_classes(path: Path, names: list[ClassName]) -> npt.NDArray[np.uint8]:
    """The class of every pixel (H, W): 0 is background, 255 the border of an object, to be ignored.

    A grey mask of 0 and 255 alone has no border: 255 is class 1 there. In a mask with colours instead of a palette,
    the class is the one with that colour in `names`, or in VOC's own colour table.
    """
    with open_png(path.name, partial(read_file, path, _MOST_BYTES)) as image:
        if image.mode in ("P", "L", "1"):
            return _numbers(np.array(image, np.uint8), image.mode)
        return _by_colour(np.array(image.convert("RGB")), names)


@contextmanager
def open_png(name: str, read: Callable[[], bytes]) -> Iterator[Image.Image]:
    """The PNG of a mask; `DatasetError` names it if it is damaged, too large or no PNG, now or while it is decoded."""
    from PIL import Image

    try:
        data = read()
        if image_format(data) != "PNG":
            raise DatasetError("is not a PNG file")
        check_pixels(name, *image_size(data, "PNG"), DEFAULT_LIMITS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's limit is lower than ours
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                yield image
    except ImageError as error:
        raise DatasetError(str(error)) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"{name} is damaged: {error}") from None
    except DatasetError as error:
        raise DatasetError(f"{name} {error}") from None


def _class_name(line: str) -> ClassName:
    match = _COLOURED.fullmatch(line)
    if match is None:
        return ClassName(line.partition(":")[0], None)
    return ClassName(match[1], (int(match[2]), int(match[3]), int(match[4])))


def _numbers(levels: npt.NDArray[np.uint8], mode: str) -> npt.NDArray[np.uint8]:
    """Palette indices or grey levels as they are, but a mask of two grey levels as {0, 1}."""
    if mode == "L" and ((levels == 0) | (levels == BORDER)).all():
        return np.asarray(levels // BORDER, np.uint8)
    return levels


def _by_colour(colours: npt.NDArray[np.uint8], names: list[ClassName]) -> npt.NDArray[np.uint8]:
    """Colours (H, W, 3) to class numbers (H, W)."""
    packed = _pack(colours.astype(np.uint32))  # (H, W)
    table = {_packed(_voc_colour(number)): number for number in range(BORDER)}
    table[_packed(_BORDER_COLOUR)] = BORDER
    table |= {_packed(name.colour): number for number, name in enumerate(names[:BORDER]) if name.colour}
    found, where = np.unique(packed, return_inverse=True)
    unknown = [int(colour) for colour in found if int(colour) not in table]
    if unknown:
        raise DatasetError(f"has the colour #{unknown[0]:06x}, which neither labelmap.txt nor VOC's colour table has")
    numbers = np.array([table[int(colour)] for colour in found], np.uint8)
    return numbers[where.reshape(packed.shape)]


def _voc_colour(number: int) -> tuple[int, int, int]:
    """VOC's colour table: the bits of the number, three at a time, become the high bits of red, green and blue."""
    colour = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            colour[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
    return colour[0], colour[1], colour[2]


def _pack(colours: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return np.asarray((colours[..., 0] << 16) | (colours[..., 1] << 8) | colours[..., 2])


def _packed(colour: tuple[int, int, int]) -> int:
    return (colour[0] << 16) | (colour[1] << 8) | colour[2]
