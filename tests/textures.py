"""Brushed plates, every one a little different, with a dark scratch where a test wants a defect."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


def plate(seed: int, size: int = 96, defect: bool = False) -> Image:
    """A plate (size, size, 3), RGB; the defect lies around 0.6 of the width and 0.4 of the height."""
    random = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(random.normal(0, 60, (size, size)).astype(np.float32), (31, 1), 0)
    light = random.normal(0, 8) + np.linspace(-1, 1, size) * random.normal(0, 12)  # (size,)
    grey = np.clip(140 + grain + light, 0, 255)
    image = np.stack([grey, grey * 0.95, grey * 0.9], axis=-1).astype(np.uint8)
    if defect:
        centre = (round(0.6 * size), round(0.4 * size))
        cv2.circle(image, centre, max(3, size // 14), (20, 10, 10), -1)
    return image


def exposure(image: Image, seed: int) -> Image:
    """The same plate taken again: a little more or less light, and the sensor's noise."""
    random = np.random.default_rng(seed)
    noisy = image * random.uniform(0.98, 1.02) + random.normal(0, 1.5, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def brighter(image: Image) -> Image:
    """The same plate under much more light."""
    return np.clip(image.astype(np.float64) * 1.4 + 20, 0, 255).astype(np.uint8)


def write(path: Path, image: npt.NDArray[np.generic]) -> Path:
    """Save an RGB or grey image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image):
        raise OSError(path)
    return path


def write_all(folder: Path, images: Iterable[Image]) -> Path:
    """Save images as 000.png, 001.png ..."""
    for number, image in enumerate(images):
        write(folder / f"{number:03}.png", image)
    return folder
