"""Throughput of `stream()` over a folder of JPEG files of 900x900 pixels, on two cores, full-size maps not asked for.

What the clock shows depends on what else the machine does. CPU time does not, or less; what it would allow on two cores
that do nothing else stands beside.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.process import Stopwatch, fresh
from benchmarks.record import Figures
from benchmarks.world import World

CORES = 2
BOUNDS = {"fast, onnxruntime, images/s": 80.0, "fast, openvino, images/s": 80.0}


def measure(world: World, images: int = 200) -> Iterator[Figures]:
    from blemish.engines import installed_engines

    folder = world.jpegs(images)
    for _ in range(world.repeats):
        for preset in ("fast", "balanced"):
            model = world.model("PatchCore", f"Model.preset={preset}")
            for engine in installed_engines():
                yield fresh(CORES, one_pass, f"{preset}, {engine}", model, engine, folder)


def one_pass(name: str, model: Path, engine: str, folder: Path) -> Figures:
    from blemish.pipeline import open_model

    predictor = open_model(model, "cpu", engine=engine)
    next(predictor.predict(str(folder)))
    watch = Stopwatch()
    with predictor.stream(str(folder)) as results:
        number = sum(result.score is not None for result in results)
    cpu, wall = watch.lap()
    return {
        f"{name}, images/s": number / wall,
        f"{name}: an image, CPU ms": 1e3 * cpu / number,
        f"{name}: if two cores were free, images/s": CORES * number / cpu,
    }
