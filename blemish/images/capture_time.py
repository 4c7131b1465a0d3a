"""When images were taken: by the camera's EXIF time, else by the files' modification times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path

from blemish.images.kinds import image_format

_EXIF, _ORIGINAL = 0x8769, 0x9003  # the sub-directory, and DateTimeOriginal in it
_HEAD = 32  # bytes that tell the kind
# The plugin of the kind is asked, as in decoding: no other format can be tried.
_PLUGINS = {
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
}


def exif_times(files: Sequence[Path]) -> list[datetime] | None:
    """When each image was taken, by its EXIF DateTimeOriginal in local time; None unless every file states it."""
    times = []
    for file in files:
        time = _exif_time(file)
        if time is None:
            return None
        times.append(time)
    return times


def modification_times(files: Sequence[Path]) -> list[datetime]:
    """When each file was last written, in local time: a copy may have another time than its original."""
    return [datetime.fromtimestamp(file.stat().st_mtime) for file in files]


def _exif_time(file: Path) -> datetime | None:
    """No pixel is decoded."""
    try:
        with file.open("rb") as stream:
            plugin = _PLUGINS.get(image_format(stream.read(_HEAD)) or "")
            if plugin is None:
                return None
            stream.seek(0)
            picture = getattr(import_module(f"PIL.{plugin[0]}"), plugin[1])(stream)
            if plugin[0] == "PngImagePlugin" and "exif" not in picture.info:
                return None  # getexif would decode it all in search of a chunk behind the pixels
            stated = picture.getexif().get_ifd(_EXIF).get(_ORIGINAL)
        return datetime.strptime(str(stated).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except Exception:  # whatever a plugin stumbles over; whoever decodes the image says what is wrong with it
        return None
