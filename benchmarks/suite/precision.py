"""Less than float32 on good test images: false alarms at the 1 % threshold, each precision calibrated for itself.

A precision is accepted or refused before any test image is seen. The test images are good ones that no model has
learned from.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from benchmarks.process import fresh
from benchmarks.record import Figures
from benchmarks.world import World

BOUNDS = {f"{precision}: false alarms, images": 1.0 for precision in ("fp32", "bf16", "int8")}


def measure(world: World) -> Iterator[Figures]:
    model = world.model("PatchCore", "Model.preset=fast")
    for precision in ("fp32", "bf16", "int8"):
        figures, reason = fresh(1, judged, precision, model, world.png / "test" / "good", world.work / "cache")
        if reason:
            world.note(reason)
        yield figures


def judged(
    precision: Literal["fp32", "bf16", "int8"], model: Path, good: Path, cache: Path
) -> tuple[Figures, str | None]:
    from blemish.config import HpiConfig
    from blemish.errors import ModelError
    from blemish.pipeline import open_model

    os.environ["BLEMISH_CACHE_HOME"] = str(cache)
    try:
        predictor = open_model(model, "cpu", engine=HpiConfig(precision=precision), false_alarm_rate=0.01)
    except ModelError as error:
        return {f"{precision}, accepted": 0}, f"{precision} refused: {str(error).replace(str(model), 'the model')}"
    verdicts = [result.is_anomalous for result in predictor.predict(str(good))]
    return {
        f"{precision}, accepted": 1,
        f"{precision}: false alarms, images": sum(map(bool, verdicts)),
        f"{precision}: good test images, images": len(verdicts),
    }, None
