"""An image with its map, made ready for the browser: a preview, a layer of colours, and contours as a path."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from blemish.pipeline.colours import colour_table, cover_table, steps
from blemish.pipeline.regions import Region

PREVIEW = 1400  # pixels of the longer side at most; a tablet shows no more
_HEAT = 700

_Kind = TypeVar("_Kind", np.uint8, np.float32)


@dataclass(frozen=True)
class Layers:
    """One image as layers of equal shape; pictures are `data:` addresses.

    `width` and `height` are those of the preview, in which `contours` (SVG path data) are drawn. `scale` is preview
    pixels per pixel of the original.
    """

    width: int
    height: int
    scale: float
    image: str
    heat: str
    contours: str


def layers(image: npt.NDArray[np.uint8], anomaly_map: npt.NDArray[np.float32], threshold: float) -> Layers:
    """For an image (H, W, 3) RGB and its map (H, W): what lies above the pixel threshold is coloured and outlined."""
    preview, scale = _reduced(image, PREVIEW)
    height, width = preview.shape[:2]
    small_map = _reduced(anomaly_map, _HEAT)[0]
    return Layers(
        width=width,
        height=height,
        scale=scale,
        image=picture(preview),
        heat=_heat(small_map, threshold),
        contours=_contours(small_map, threshold, width / small_map.shape[1]),
    )


def box_of(region: Region, scale: float) -> tuple[float, float, float, float]:
    """A region's box (x, y, width, height) in the preview."""
    x, y, width, height = region.box
    return round(scale * x, 1), round(scale * y, 1), round(scale * width, 1), round(scale * height, 1)


def picture(image: npt.NDArray[np.uint8], quality: int = 88) -> str:
    """An image (h, w, 3) RGB as the address of a JPEG."""
    import cv2

    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return address("jpeg", data.tobytes())


def address(kind: str, data: bytes) -> str:
    """The bytes of a picture as an address that holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _reduced(image: npt.NDArray[_Kind], side: int) -> tuple[npt.NDArray[_Kind], float]:
    """An image or map by area, at most so large, and by how much."""
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    if scale == 1:
        return image, scale
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), image.dtype), scale


def _heat(anomaly_map: npt.NDArray[np.float32], threshold: float) -> str:
    """The map (h, w) in the colours of the absolute scale; calm places let the image through."""
    import cv2

    step = steps(anomaly_map, threshold)  # (h, w)
    cover = np.rint(255 * cover_table() / cover_table().max()).astype(np.uint8)
    layer = np.dstack([colour_table()[step][..., ::-1], cover[step]])  # (h, w, 4) BGRA
    return address("png", cv2.imencode(".png", layer)[1].tobytes())


def _contours(anomaly_map: npt.NDArray[np.float32], threshold: float, zoom: float) -> str:
    """SVG path data around what exceeds the threshold, `zoom` times as large as the map (h, w)."""
    import cv2

    above = (anomaly_map > threshold).view(np.uint8)  # (h, w)
    found, _ = cv2.findContours(above, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    paths = []
    for line in found:
        points = (line[:, 0] + 0.5) * zoom  # (n, 2)
        paths.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return "".join(paths)
