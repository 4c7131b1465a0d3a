"""Fit of the detectors that learn by gradient, with their default settings: CPU time of the whole and of one round.

A round goes through as many images as there are to learn from; its time is that of the iterations after the first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.process import Stopwatch, fresh, peak_mb
from benchmarks.record import Figures
from benchmarks.world import World, learning_detectors


def measure(world: World, iterations: int = 0) -> Iterator[Figures]:
    """`iterations`: of the training; 0 is the detector's default, and only that gives the time of the whole."""
    images = len(list((world.png / "train" / "good").iterdir()))
    for detector in learning_detectors():
        yield fresh(1, one_training, detector, world.png, world.work / "training", iterations, images)


def one_training(detector: str, data: Path, output: Path, iterations: int, images: int) -> Figures:
    from blemish.config import load_config
    from blemish.fitting import fit

    paths = [f"Global.dataset_dir={data}", f"Global.output={output}", "Global.device=cpu"]
    config = load_config(detector, paths + ([f"Train.epochs_iters={iterations}"] if iterations else []))
    marks: dict[str, list[tuple[float, int]]] = {}
    watch = Stopwatch()
    fit(config, lambda stage, done, *_: marks.setdefault(stage, []).append((time.process_time(), done)))
    cpu, wall = watch.lap()
    (first, start), (last, end) = marks["training"][0], marks["training"][-1]
    per_iteration = (last - first) / (end - start)
    figures = {f"{detector}: one round, CPU s": per_iteration * images / config.Train.batch_size}
    if iterations:
        return figures
    name = f"{detector}, {config.Train.epochs_iters} iterations of {config.Train.batch_size}"
    return figures | {f"{name}, CPU s": cpu, f"{name}, s": wall, f"{name}: peak memory, MB": peak_mb()}
