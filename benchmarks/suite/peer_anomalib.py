"""PatchCore at work beside anomalib 2.7.0: the same backbone and weights, as many rows in the bank, batch 1, in turns.

anomalib runs its OpenVINO inferencer, the fastest way it has. OpenVINO computes in bfloat16 there, where the processor
can, since anomalib leaves it its default; ours computes in float32. The resize to 256x256 is in anomalib's network,
which alone gets an image of 256x256.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.peers.job import first_result, job
from benchmarks.process import blemish, fresh
from benchmarks.record import Figures
from benchmarks.suite.latency import by_stage
from benchmarks.suite.network import in_turns
from benchmarks.world import World

FILE = "PNG file to score and map"
TIMES = 10  # in one process, before it is the other's turn


def measure(world: World) -> Iterator[Figures]:
    model = world.model("PatchCore", "Model.preset=fast")
    theirs = world.work / "anomalib" / "model.xml"
    if not theirs.exists():
        job(world, "anomalib", "fit", world.png, theirs.parent, 0.01, 0)
    yield from _sizes(world)
    for _ in range(world.repeats):
        yield from _file(world)
        yield from _network(world)
        yield blemish("Blemish, first result", "predict", model, world.image)
        yield first_result(world, "anomalib", "anomalib, first result", "first", theirs, world.image)


def _sizes(world: World) -> Iterator[Figures]:
    ours, theirs = world.model("PatchCore", "Model.preset=fast") / "best_model" / "inference", world.work / "anomalib"
    yield {
        "Blemish: model on disk, MB": sum(file.stat().st_size for file in ours.iterdir()) / 1e6,
        "anomalib: model on disk (OpenVINO), MB": sum(
            (theirs / f"model{suffix}").stat().st_size for suffix in (".xml", ".bin")
        )
        / 1e6,
        "anomalib: model on disk (torch), MB": (theirs / "model.pt").stat().st_size / 1e6,
    }


def _file(world: World) -> Iterator[Figures]:
    model, theirs = world.model("PatchCore", "Model.preset=fast"), world.work / "anomalib" / "model.xml"
    for engine in ("onnxruntime", "openvino"):
        for row in fresh(1, by_stage, "ours", model, engine, world.image, TIMES):
            yield {f"Blemish, {engine} float32: {FILE} of full size, CPU ms": row["ours: whole, CPU ms"]}
    times = job(world, "anomalib", "predict", theirs, world.image, TIMES)
    yield from ({f"anomalib, OpenVINO bfloat16: {FILE} of 256x256, CPU ms": value} for value in times["cpu_ms"])


def _network(world: World) -> Iterator[Figures]:
    model, theirs = world.model("PatchCore", "Model.preset=fast"), world.work / "anomalib" / "model.xml"
    rows, _ = fresh(1, in_turns, "Blemish: network alone", model, world.work / "cache", TIMES)
    yield from rows
    times = job(world, "anomalib", "network", theirs, TIMES)
    words = {
        "features_ms": "features alone (torch)",
        "bank_ms": "nearest neighbours alone (torch)",
        "openvino_ms": "network alone (OpenVINO bfloat16)",
    }
    for key, text in words.items():
        yield from ({f"anomalib: {text}, CPU ms": value} for value in times[key])
