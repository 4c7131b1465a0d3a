"""STFPM beside PaddleX's exported network: the same weights, taken over from its file, at 256x256, batch 1, in turns.

Paddle 3.2.2 runs the exported network with oneDNN, as PaddleX does on a CPU; PaddleX itself is not installed: its pre-
and post-processing are done as it does them, without its wrappers. The weights are random, which the speed does not
show. PaddleX's result is a mask of 256x256, ours a score and a map of the image's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers.job import first_result, job
from benchmarks.process import blemish, fresh
from benchmarks.record import Figures
from benchmarks.suite.latency import by_stage
from benchmarks.world import World

TIMES = 10  # in one process, before it is the other's turn
THEIRS = {"whole_ms": "PNG file to mask of 256x256", "network_ms": "network alone"}
OURS = {"whole": "PNG file to score and map of full size", "network": "network alone"}


def measure(world: World) -> Iterator[Figures]:
    from blemish.engines import installed_engines

    folder, model = world.work / "paddlex", world.work / "paddlex_model"
    folder.mkdir(exist_ok=True)
    yield {"PaddleX: model on disk, MB": job(world, "paddle", "make", folder)["bytes"] / 1e6}
    fresh(1, take_over, folder / "inference.pdiparams", model)
    yield {"Blemish: model on disk, MB": sum(file.stat().st_size for file in model.rglob("*") if file.is_file()) / 1e6}
    for _ in range(world.repeats):
        for engine in installed_engines():
            for row in fresh(1, by_stage, "ours", model, engine, world.image, TIMES):
                yield {f"Blemish, {engine}: {text}, CPU ms": row[f"ours: {key}, CPU ms"] for key, text in OURS.items()}
        times = job(world, "paddle", "predict", folder, world.image, TIMES)
        for key, text in THEIRS.items():
            yield from ({f"PaddleX: {text}, CPU ms": value} for value in times[key])
        yield blemish("Blemish, first result", "predict", model, world.image)
        yield first_result(
            world, "paddle", "PaddleX (without its wrappers), first result", "first", folder, world.image
        )


def take_over(weights: Path, model: Path) -> None:
    """The exported weights as a model folder."""
    from blemish.importing import import_model

    import_model(weights, "paddlex", model)
