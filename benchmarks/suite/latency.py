"""One PNG file of 900x900 pixels to its score and full-size map, batch 1, in a warm process, by stage.

For every detector, with every engine that is installed, at float32. PatchCore with two presets; the others learned for
a moment only, which their speed does not show. `whole` is one call from the file to the map; the stages are measured
apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.process import Stopwatch, fresh
from benchmarks.record import Figures
from benchmarks.world import World, learning_detectors

WARM_UP = 5
BOUNDS = {f"PatchCore fast, {engine}: whole, CPU ms": 25.0 for engine in ("onnxruntime", "openvino")}


def measure(world: World) -> Iterator[Figures]:
    from blemish.engines import installed_engines

    models = variants(world)
    for _ in range(world.repeats):  # in turns, so that what else the machine does meets all alike
        for name, model in models.items():
            for engine in installed_engines():
                yield from fresh(1, by_stage, f"{name}, {engine}", model, engine, world.image, 10)


def variants(world: World) -> dict[str, Path]:
    """A model of every detector; of PatchCore one of every preset."""
    presets = {
        f"PatchCore {preset}": world.model("PatchCore", f"Model.preset={preset}") for preset in ("fast", "balanced")
    }
    return presets | {name: world.model(name) for name in learning_detectors()}


def by_stage(name: str, model: Path, engine_name: str, image: Path, repeats: int) -> list[Figures]:
    from blemish.images import expand
    from blemish.pipeline import open_model
    from blemish.pipeline.regions import find_regions

    predictor = open_model(model, "cpu", engine=engine_name)
    engine, frame = predictor.engines[0], predictor.frame

    def once() -> Figures:
        spent = {}
        watch = Stopwatch()
        pixels = next(expand(str(image))).read()
        spent["decode"] = watch.lap()
        inputs = frame.inputs(pixels)
        spent["resize"] = watch.lap()
        outputs = engine.run(inputs)
        spent["network"] = watch.lap()
        height, width = pixels.shape[:2]
        _, grid = frame.judge(outputs["score"], outputs["anomaly_map"], width, height)
        full = frame.full_map(grid, width, height, predictor.limit.pixel)
        spent["full-size map"] = watch.lap()
        find_regions(full, predictor.limit.pixel)
        spent["regions"] = watch.lap()
        assert next(predictor.predict(str(image))).anomaly_map is not None
        spent["whole"] = watch.lap()
        next(predictor.predict(str(image))).to_dict()
        spent["whole with JSON record"] = watch.lap()
        figures = {f"{name}: {stage}, CPU ms": 1e3 * cpu for stage, (cpu, _) in spent.items()}
        return figures | {f"{name}: whole, ms": 1e3 * spent["whole"][1]}

    return [once() for _ in range(WARM_UP + repeats)][WARM_UP:]
