"""A new process, from its start to its end: the first result of a PNG file of 900x900 pixels, and `blemish --help`."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.process import blemish
from benchmarks.record import Figures
from benchmarks.world import World

FIRST = "PatchCore fast, first result"
BOUNDS = {f"{FIRST}, CPU s": 0.5, f"{FIRST}, s": 0.5, f"{FIRST}: peak memory, MB": 200.0, "--help, s": 0.3}


def measure(world: World) -> Iterator[Figures]:
    from blemish.engines import installed_engines

    model = world.model("PatchCore", "Model.preset=fast")
    others = [engine for engine in installed_engines() if engine != "onnxruntime"]
    for _ in range(2 * world.repeats):
        yield blemish(FIRST, "predict", model, world.image)
        for engine in others:
            yield blemish(
                f"PatchCore fast with {engine}, first result", "predict", model, world.image, "--engine", engine
            )
        yield blemish("--help", "--help")
