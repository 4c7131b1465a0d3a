"""Greedy selection of 2,140 of 214,016 patches: in blocks as it is done, and with one product a choice as is usual.

Rotated copies of the images make up what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process import Stopwatch, fresh
from benchmarks.record import Figures
from benchmarks.world import World

IMAGES = 209  # of 1,024 patches each
ROWS = 2140


def measure(world: World) -> Iterator[Figures]:
    for number in range(min(3, world.repeats)):
        yield fresh(1, select, world.png, number == 0)


def select(data: Path, plain: bool) -> Figures:
    from blemish.detectors.coreset import greedy_coreset

    points = patches(data)
    watch = Stopwatch()
    blocks = greedy_coreset(points, ROWS)
    cpu, _ = watch.lap()
    figures = {"in blocks, CPU s": cpu}
    if plain:
        chosen = plain_coreset(points, ROWS, int(blocks[0]))
        figures["one product a choice, CPU s"] = watch.lap()[0]
        figures["rows that both choose, %"] = 100 * float(np.isin(chosen, blocks).mean())
    return figures


def plain_coreset(points: Any, count: int, first: int) -> Any:
    """Greedy selection as it is usually written: after every choice, one product brings all distances up to date."""
    norms = np.einsum("nd,nd->n", points, points)
    nearest = np.full(len(points), np.inf, np.float32)
    chosen = np.empty(count, np.int64)
    for i in range(count):
        chosen[i] = first if i == 0 else nearest.argmax()
        centre = points[chosen[i]]
        np.minimum(nearest, np.maximum(points @ (-2 * centre) + norms + centre @ centre, 0), out=nearest)
        nearest[chosen[i]] = -1
    return chosen


def patches(data: Path) -> Any:
    """Patch features `(214,016, d)` at preset fast."""
    import cv2

    from blemish.detectors.patch_features import PatchFeatures
    from blemish.images import expand

    good = [cv2.resize(ref.read(), (256, 256), interpolation=cv2.INTER_AREA) for ref in expand(data / "train/good")]
    images = [np.rot90(image, turn).copy() for turn in range(4) for image in good][:IMAGES]
    features = PatchFeatures("efficientnet_lite0", 256, 256)
    return np.concatenate(list(features.extract(images, "cpu")))
