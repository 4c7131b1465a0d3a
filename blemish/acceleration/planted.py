"""Planted defects: spots on good images, from hardly visible to plain, where no real defects are at hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

RADII = (0.02, 0.08)  # of the shorter side
STRENGTHS = (0.05, 0.5)  # how much of the image the spot's colour covers


def planted(image: Image, seed: int) -> Image:
    """A copy of an image `(h, w, 3)` with one soft elliptic spot of a random colour somewhere in its inner part."""
    random = np.random.default_rng((seed, 1))
    height, width = image.shape[:2]
    centre = random.uniform(0.2, 0.8, 2) * (height, width)
    radii = random.uniform(*RADII, 2) * min(height, width)
    rows, columns = np.ogrid[:height, :width]
    away = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2  # (h, w)
    cover = (random.uniform(*STRENGTHS) * np.exp(-(away**2)))[..., None]  # (h, w, 1)
    spot = random.uniform(0, 255, 3)
    return np.asarray(image * (1 - cover) + spot * cover + 0.5, np.uint8)
