"""What the store kept of an inspection: its image and map, made ready for the browser, and its image as it came."""

from __future__ import annotations

import io
import math
import re

import numpy as np
import numpy.typing as npt

from blemish.errors import StoreError
from blemish.images import ImageRef
from blemish.images.kinds import image_format
from blemish.sample_range import FULL
from blemish.service.core import Service
from blemish.service.pages.viewing import Layers, layers
from blemish.service.registry import Version
from blemish.store import Inspection, Store

_MOST_CELLS = 1 << 26  # of a map
_OTHER = ("application/octet-stream", "bin")
# types of our own choosing for what the content is, whatever it was sent as: nothing that a browser would run
_TYPES = {
    "JPEG": ("image/jpeg", "jpg"),
    "PNG": ("image/png", "png"),
    "BMP": ("image/bmp", "bmp"),
    "WEBP": ("image/webp", "webp"),
    "GIF": ("image/gif", "gif"),
    "AVIF": ("image/avif", "avif"),
    "JPEG 2000": ("image/jp2", "jp2"),
    "TIFF": ("image/tiff", "tif"),
    "PDF": ("application/pdf", "pdf"),
    "PNM": ("image/x-portable-anymap", "pnm"),
}


async def kept_layers(service: Service, store: Store, inspection: Inspection) -> Layers:
    """Image, map and contours as they were.

    The map is brought to the image as the version that judged it does; where that is not loaded, by plain linear
    interpolation over the whole image. Raises `ImageError` or `StoreError` for what is damaged or missing.
    """
    if inspection.image_hash is None or inspection.map_hash is None:
        raise StoreError("image and map were not kept")
    data = await service.in_pool(store.blobs.get, inspection.image_hash)
    pictures = await service.in_pool(service.pictures, data, "the kept image", None)
    number = inspection.page_index or 0
    if number >= len(pictures):
        raise StoreError("the kept image has no such page")
    async with service.memory.hold(pictures[number].cost):
        return await service.in_pool(_layers, store, inspection, version_of(service, inspection), pictures[number].ref)


def version_of(service: Service, inspection: Inspection) -> Version | None:
    """The version that judged it, if it is loaded under any name."""
    versions = (version for model in service.registry.models() for version in model.versions.values())
    return next((version for version in versions if version.digest == inspection.version), None)


def file_type(data: bytes) -> tuple[str, str]:
    """Media type and suffix of a kept file by its content."""
    return _TYPES.get(image_format(data) or "", _OTHER)


def file_name(inspection: Inspection, suffix: str) -> str:
    """What a download is called: the number, and what is harmless of the source."""
    last = re.split(r"[/\\]", inspection.source or "")[-1].rpartition(".")
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", last[0] or last[2]).strip("-")[:60]
    return f"inspection-{inspection.id}{'-' if words else ''}{words}.{suffix}"


def read_map(data: bytes) -> npt.NDArray[np.float32]:
    """A map (h, w) from the bytes of a `.npy` file; `StoreError` for any other array, and before it is allocated."""
    stream = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("of another version")
        shape, is_fortran, kind = np.lib.format.read_array_header_1_0(stream)
        if len(shape) != 2 or is_fortran or kind != np.float32 or not 0 < math.prod(shape) <= _MOST_CELLS:
            raise ValueError("no map")
        grid = np.frombuffer(data, np.float32, math.prod(shape), stream.tell()).reshape(shape)  # (h, w)
    except (ValueError, TypeError, SyntaxError) as error:
        raise StoreError("the kept map is no float32 array of two dimensions") from error
    if not np.isfinite(grid).all():
        raise StoreError("the kept map has values that are no numbers")
    return grid


def _layers(store: Store, inspection: Inspection, version: Version | None, ref: ImageRef) -> Layers:
    bit_depth = FULL if version is None else version.predictor.model.info.input.bit_depth
    image = ref.read(bit_depth)  # (H, W, 3)
    height, width = image.shape[:2]
    if (width, height) != (inspection.width, inspection.height):
        raise StoreError("the kept image has another size than the one that was judged")
    limit = inspection.threshold if inspection.pixel_threshold is None else inspection.pixel_threshold
    grid = read_map(store.blobs.get(str(inspection.map_hash)))
    return layers(image, _full_map(version, grid, width, height, limit), limit)


def _full_map(
    version: Version | None, grid: npt.NDArray[np.float32], width: int, height: int, limit: float
) -> npt.NDArray[np.float32]:
    if version is not None:
        return version.predictor.frame.full_map(grid, width, height, limit)
    import cv2

    return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
