"""A share of the good images that training never sees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def held_out_images(parts: npt.NDArray[np.int64], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which images `(n,)` to hold out: whole parts, drawn by chance, until they hold `share` of all images.

    At least one part is held out and at least one learned from; a single part cannot be split and gives no held-out
    image at all.
    """
    number, part, images = np.unique(parts, return_inverse=True, return_counts=True)
    drawn = np.random.default_rng(seed).permutation(len(number))
    before = np.cumsum(images[drawn]) - images[drawn]  # images that are held out when a part is drawn
    is_held = np.zeros(len(number), np.bool_)
    is_held[drawn[:-1][before[:-1] < share * len(parts)]] = True
    return is_held[part]
