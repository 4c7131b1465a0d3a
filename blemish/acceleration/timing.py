"""Which engine is the fastest here: the same images on each in turns, and only engines that agree with float32."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from blemish.engines import Engine

SECONDS = 2.0  # for all engines together
LEAST_ROUNDS, MOST_ROUNDS = 5, 200
WARM_UP = 2
TOLERANCE = 1e-4  # of the largest value of an output

Image = npt.NDArray[np.uint8]


def probe_images(height: int, width: int) -> Image:
    """Two images `(2, height, width, 3)` with something of everything in them: noise, and ramps with an edge."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (height, width, 3), np.uint8)
    ramps = np.linspace(0, 255, height)[:, None, None] * np.linspace(0.2, 1, width)[None, :, None] * [1.0, 0.8, 0.5]
    ramps[height // 3 : height // 2, width // 3 : width // 2] = 255
    return np.stack([noise, ramps.astype(np.uint8)])


def disagreement(engine: Engine, reference: Engine, images: Image) -> float:
    """The largest difference of any output of the two, relative to the largest value of that output."""
    found, expected = engine.run(images), reference.run(images)
    return max(
        float(np.abs(found[name] - expected[name]).max() / max(np.abs(expected[name]).max(), 1e-12))
        for name in expected
    )


def median_times(engines: Mapping[str, Engine], images: Image, seconds: float = SECONDS) -> dict[str, float]:
    """Median milliseconds per image of each engine, in turns, so that what else the machine does strikes all alike."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    end = time.perf_counter() + seconds
    for number in range(WARM_UP + MOST_ROUNDS):
        image = images[number % len(images)][None]
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.run(image)
            times[name].append(1e3 * (time.perf_counter() - start))
        if number >= WARM_UP + LEAST_ROUNDS and time.perf_counter() > end:
            break
    return {name: statistics.median(values[WARM_UP:]) for name, values in times.items()}
