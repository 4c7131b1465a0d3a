"""Small square pictures around a place of an image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


def cut_patch(image: Image, x: float, y: float, side: int) -> Image:
    """`side` x `side` pixels of an image `(H, W, 3)` around (x, y), moved inwards at its border; a view.

    Along an axis on which the image is shorter, all of it.
    """
    top, left = (_start(centre, side, size) for centre, size in zip((y, x), image.shape[:2], strict=True))
    return image[top : top + side, left : left + side]


def _start(centre: float, side: int, size: int) -> int:
    return max(0, min(int(centre - (side - 1) / 2), size - side))
