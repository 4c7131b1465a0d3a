"""Image files by Pillow: kinds that OpenCV does not read, or reads wrongly.

The plugin of the kind that the content shows is asked, not `Image.open`: no other format can be tried, and neither
limits nor warnings of the whole process have a say. Size and end of the file are checked before.
"""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from blemish.errors import ImageError
from blemish.images.limits import another_size, refusal
from blemish.images.scaling import Stored

if TYPE_CHECKING:
    from PIL.Image import Image

_PLUGINS = {
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "JPEG 2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "SUN": ("SunImagePlugin", "SunImageFile"),
}
_FEATURES = {"AVIF": "avif", "JPEG 2000": "jpg_2000"}


def decode_by_pillow(data: bytes, kind: str, name: str, size: tuple[int, int]) -> Stored:
    """The first picture of a file; nothing is decoded if it has another (width, height) than its header says."""
    from PIL import features

    module, plugin = _PLUGINS[kind]
    if kind in _FEATURES and not features.check(_FEATURES[kind]):
        raise refusal(name, f"is a file in {kind}, which the Pillow of this machine was built without")
    try:
        picture: Image = getattr(import_module(f"PIL.{module}"), plugin)(io.BytesIO(data))
        if picture.size != size:
            raise another_size(name, size)
        return _stored(picture, kind)
    except MemoryError as error:
        raise refusal(name, "is too large for the memory") from error
    except ImageError:
        raise
    except Exception as error:  # whatever a plugin stumbles over in a damaged file
        raise refusal(name, f"cannot be decoded: it is damaged, or an unsupported kind of {kind}") from error


def _stored(picture: Image, kind: str) -> Stored:
    """BGR samples, alpha dropped; the orientation that AVIF files state is applied."""
    from PIL import ImageOps

    if kind == "AVIF":
        picture = ImageOps.exif_transpose(picture)
    if picture.mode == "I;16":
        return Stored.of(np.repeat(np.asarray(picture, np.uint16)[..., None], 3, axis=2))
    if picture.mode not in ("RGB", "RGBA"):
        picture = picture.convert("RGB")
    return Stored.of(np.ascontiguousarray(np.asarray(picture)[..., 2::-1]))
