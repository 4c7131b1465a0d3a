"""What the name of a picture says of another beside it: its mask, another sensor's view of it, or one of several."""

from __future__ import annotations

import re


def mask_of_stem(stem: str) -> str | None:
    """The stem of the image that a mask is of, by its own: `000_mask`, `mask-000`, `000_GT`; None for other names."""
    match = _MASK_ENDING.match(stem) or _MASK_BEGINNING.match(stem)
    return match["stem"] if match and match["stem"] else None


def image_of_stem(stem: str) -> str:
    """What pictures of one part have in common: `000` of `000_rgb` and `000_image_0`."""
    return _IMAGE_ENDING.sub("", stem) or stem


def is_other_sensor(stem: str) -> bool:
    """Whether a picture is of another sensor than a camera, by its stem: `000_depth`."""
    return _SENSOR_ENDING.search(stem) is not None


def sensor_base(stem: str) -> str:
    """The stem without the sensor's name."""
    return _SENSOR_ENDING.sub("", stem)


_IMAGE_ENDING = re.compile(r"[ _.\-](?:image|img|rgb|colou?r|photo|orig|original)(?:[ _.\-]\d{1,3})?$", re.IGNORECASE)
_SENSOR_ENDING = re.compile(r"[ _.\-](?:depth|xyz|normals|disparity|height|pointcloud|thermal|nir)$", re.IGNORECASE)
_MARK = r"(?:masks?|gt|ground[ _-]?truth|labels?|seg|segmentation|annotations?|anno|segmap|maske|masque|mascara)"
_MASK_ENDING = re.compile(rf"(?P<stem>.*?)[ _.\-(]+{_MARK}[ _-]?\d{{0,3}}\)?$", re.IGNORECASE)
_MASK_BEGINNING = re.compile(rf"{_MARK}[ _.\-]+(?P<stem>.+)$", re.IGNORECASE)
