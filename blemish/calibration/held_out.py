"""A share of the good images that training never sees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def held_out_images(parts: npt.NDArray[np.int64], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which images `(n,)` to hold out: whole parts, drawn by chance, until they hold `share` of all images.

    At least one part is held out and at least one learned from; a single part cannot be split and gives no held-out
    image at all.
    """
    held = np.zeros(len(parts), np.bool_)
    numbers = np.random.default_rng(seed).permutation(np.unique(parts))
    for number in numbers[:-1]:
        if held.sum() >= share * len(parts):
            break
        held |= parts == number
    return held
