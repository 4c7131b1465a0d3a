"""Fit and prediction with images of 50 megapixels in tiles: time and peak memory of each command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.images import surface
from benchmarks.process import blemish
from benchmarks.record import Figures
from benchmarks.world import World

ON_DATA = False
WIDTH, HEIGHT = 8660, 5773
BOUNDS = {"predict two images: peak memory, MB": 2000.0, "fit: peak memory, MB": 2000.0}


def measure(world: World, tiles: str = "4x3", good: int = 4, suffix: str = "png") -> Iterator[Figures]:
    folder = world.work / f"large_{suffix}"
    write(folder, good, suffix)
    model = folder / "model"
    yield blemish("fit", "train", folder / "good", "--output", model, "-o", f"Model.tiles={tiles}")
    yield blemish("predict two images", "predict", model, folder / "new", "--save_path", folder / "results")


def write(folder: Path, good: int, suffix: str) -> None:
    """Good images, and two new ones of which the second has a dark spot."""
    import cv2
    import numpy as np

    for kind, count in (("good", good), ("new", 2)):
        (folder / kind).mkdir(parents=True)
        for i in range(count):
            image = surface(np.random.default_rng((i, count)), WIDTH, HEIGHT)
            if kind == "new" and i == 1:
                cv2.circle(image, (6200, 1400), 60, (10, 10, 10), -1)
            cv2.imwrite(str(folder / kind / f"{i}.{suffix}"), image)
