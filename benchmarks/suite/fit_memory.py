"""Peak memory of a fit on many small images, and on a few of them, under a memory budget; its seconds by stage.

A thousand images take 75 CPU s, ten thousand at least ten times as much.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.images import brushed_plate
from benchmarks.process import Stopwatch, fresh, peak_mb
from benchmarks.record import Figures
from benchmarks.world import World

ON_DATA = False


def measure(world: World, images: int = 10_000, beside: int = 1_000, budget: str = "2GB") -> Iterator[Figures]:
    for count in sorted({beside, images} - {0}):
        data, output = plates(world.work, count), world.work / f"plates{count}_model"
        figures = fresh(1, fit_all, data, output, budget)
        yield {f"{count:,} images: {name}": value for name, value in figures.items()}


def plates(work: Path, count: int) -> Path:
    """A folder of so many images; each is drawn once, however many folders it is in."""
    import cv2

    drawn, folder = work / "plates", work / f"plates{count}"
    drawn.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    for number in range(count):
        name = f"{number:05}.jpg"
        if not (drawn / name).exists():
            cv2.imwrite(str(drawn / name), brushed_plate(number))
        if not (folder / name).exists():
            os.link(drawn / name, folder / name)
    return folder


def fit_all(data: Path, output: Path, budget: str) -> Figures:
    from blemish.config import load_config
    from blemish.fitting import fit

    places = [f"Global.dataset_dir={data}", f"Global.output={output}"]
    config = load_config(None, [*places, "Model.preset=fast", f"Model.memory_budget={budget}"])
    watch = Stopwatch()
    report = fit(config)
    cpu, wall = watch.lap()
    stages = {f"{stage}, s": seconds for stage, seconds in report.seconds.items()}
    return {**stages, "whole, CPU s": cpu, "whole, s": wall, "peak memory, MB": peak_mb()}
