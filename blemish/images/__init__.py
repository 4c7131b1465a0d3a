"""From a path, folder, URL, array, list or dict to decoded images; the one resize; geometry back."""

from blemish.images.decode import decode_image, decode_samples
from blemish.images.geometry import InputGeometry
from blemish.images.limits import Limits
from blemish.images.reading import read, read_ahead, work_ahead
from blemish.images.sources import ImageRef, expand, is_image_name, list_images
from blemish.images.video import is_live

__all__ = [
    "ImageRef",
    "InputGeometry",
    "Limits",
    "decode_image",
    "decode_samples",
    "expand",
    "is_image_name",
    "is_live",
    "list_images",
    "read",
    "read_ahead",
    "work_ahead",
]
