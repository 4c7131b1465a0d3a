"""The network part alone, batch 1: every detector, engine that is installed, and precision that is accepted.

Engines run in turns. Below float32 a model is calibrated again first; where its judgement suffers it is refused, and
then there is no time but a note with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from benchmarks.process import Stopwatch, fresh
from benchmarks.record import Figures
from benchmarks.suite.latency import WARM_UP, variants
from benchmarks.world import World

Lower = tuple[tuple[Literal["bf16", "int8"], str], ...]  # precisions, each with its engine
LOWER: Lower = (("bf16", "openvino"), ("int8", "onnxruntime"))
BOUNDS = {f"PatchCore fast, {engine} fp32, CPU ms": 14.0 for engine in ("onnxruntime", "openvino")}


def measure(world: World, rounds: int = 20) -> Iterator[Figures]:
    for name, model in variants(world).items():
        lower: Lower = LOWER
        for _ in range(world.repeats):
            rows, refused = fresh(1, in_turns, name, model, world.work / "cache", rounds, lower)
            yield from rows
            lower = tuple(pair for pair in lower if pair[0] not in refused)  # judged once, which takes its time
            for reason in refused.values():
                world.note(reason)


def in_turns(
    name: str, model: Path, cache: Path, rounds: int, lower: Lower = ()
) -> tuple[list[Figures], dict[str, str]]:
    """Times of all engines that take the model, and why precisions below float32 are refused."""
    import numpy as np

    os.environ["BLEMISH_CACHE_HOME"] = str(cache)
    engines, refused = opened(name, model, lower)
    frame = next(iter(engines.values())).frame
    random = np.random.default_rng(0)
    height, width = frame.geometry.height, frame.geometry.width
    image = random.integers(0, 256, (1, height, width, 3), np.uint8)
    rows = []
    for number in range(WARM_UP + rounds):
        for label, predictor in engines.items():
            watch = Stopwatch()
            predictor.engines[0].run(image)
            if number >= WARM_UP:
                rows.append({f"{name}, {label}, CPU ms": 1e3 * watch.lap()[0]})
    return rows, refused


def opened(name: str, model: Path, lower: Lower) -> tuple[dict[str, Any], dict[str, str]]:
    from blemish.config import HpiConfig
    from blemish.engines import installed_engines
    from blemish.errors import BlemishError
    from blemish.pipeline import open_model

    engines = {f"{engine} fp32": open_model(model, "cpu", engine=engine) for engine in installed_engines()}
    refused: dict[str, str] = {}
    for precision, engine in lower:
        if engine not in installed_engines():
            continue
        try:
            engines[f"{engine} {precision}"] = open_model(model, "cpu", engine=HpiConfig(precision=precision))
        except BlemishError as error:
            refused[precision] = f"{name}, {precision} refused: {str(error).replace(str(model), 'the model')}"
    return engines, refused
