"""Defects planted into photographs of anything: what a defect changes in the sample's nut is added to the image."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from blemish.datasets.sample.defects import DEFECTS
from blemish.datasets.sample.generate import VISIBLE, defect_change
from blemish.datasets.sample.part import Floats

Image = npt.NDArray[np.uint8]

KINDS = tuple(DEFECTS)
NUT_SIZE = 256  # pixels of the picture that a defect is taken from
SCALES = (0.6, 1.5)  # of a defect, relative to one whose nut fills the image's shorter side


@cache
def draw_change(kind: str, seed: int) -> Floats:
    """What a defect of this kind changes, cut out: (h, w, 3), its strongest pixels at 1 or -1."""
    change = defect_change(np.random.default_rng(seed), NUT_SIZE, kind)
    strength = np.abs(change).max(axis=2)  # (h, w)
    rows, columns = (np.flatnonzero((strength > VISIBLE).any(axis=axis)) for axis in (1, 0))
    box = change[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(box / np.quantile(strength[strength > VISIBLE], 0.9), np.float32)


def plant(image: Image, change: Floats, contrast: float, rng: np.random.Generator) -> tuple[Image, Image]:
    """An image (H, W, 3) with a change anywhere in it, `contrast` grey levels strong, and its mask (H, W) 0 / 255.

    A defect darker than the dark, or brighter than the bright, would not be seen: it is then planted inverted. On a
    grey image it is grey.
    """
    import cv2

    scale = min(image.shape[:2]) / NUT_SIZE * rng.uniform(*SCALES)
    height, width = (
        int(np.clip(round(side * scale), 1, limit))
        for side, limit in zip(change.shape[:2], image.shape[:2], strict=True)
    )
    shrinks = height < change.shape[0]
    resized = cv2.resize(change, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    row, column = (
        int(rng.integers(limit - side + 1)) for side, limit in zip((height, width), image.shape[:2], strict=True)
    )
    ground = image[row : row + height, column : column + width]  # (h, w, 3)
    if (image == image[..., :1]).all():
        resized = np.repeat(resized.mean(axis=2, keepdims=True), 3, axis=2)
    changed = max(
        (_added(ground, sign * contrast * resized) for sign in (1, -1)), key=lambda new: _distance(new, ground)
    )
    planted, mask = image.copy(), np.zeros(image.shape[:2], np.uint8)
    planted[row : row + height, column : column + width] = changed
    mask[(planted != image).any(axis=2)] = 255
    return planted, mask


def _added(ground: Image, change: Floats) -> Image:
    return np.asarray(np.clip(np.rint(ground + change), 0, 255), np.uint8)


def _distance(one: Image, other: Image) -> float:
    return float(np.abs(one.astype(np.int16) - other).sum())
