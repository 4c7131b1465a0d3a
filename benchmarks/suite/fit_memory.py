"""Peak memory of a fit on many small images under a memory budget, and its seconds by stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.images import brushed_plate
from benchmarks.process import Stopwatch, fresh, peak_mb
from benchmarks.record import Figures
from benchmarks.world import World

ON_DATA = False


def measure(world: World, images: int = 10_000, budget: str = "2GB") -> Iterator[Figures]:
    import cv2

    data = world.work / f"plates{images}"
    data.mkdir()
    for number in range(images):
        cv2.imwrite(str(data / f"{number:05}.jpg"), brushed_plate(number))
    yield fresh(1, fit_all, data, world.work / "plates_model", budget)


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
