"""The check that an exported network is equal to the trained one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.engines import open_engine
from blemish.errors import ModelError

Floats = npt.NDArray[np.float32]

TOLERANCE = 1e-4  # of the largest value of a map
SMALLEST_SCALE = 1.0  # a map around zero, as of the only image that was learned from, has no scale of its own
SCORE_TOLERANCE = 5e-5  # four decimals
SAMPLES = 4  # images of a parity check


def check_parity(
    model: bytes, images: Sequence[npt.NDArray[np.uint8]], expected: Callable[[Any], tuple[Floats, Floats]]
) -> None:
    """Raise `ModelError` unless ONNX Runtime gives what torch gives on real images.

    Maps must agree within 1e-4 of their largest value, scores to four decimals. `expected` takes uint8
    `(n, H, W, 3)` and gives maps `(n, h, w)` and scores `(n,)`.
    """
    engine = open_engine(model, "cpu")
    for image in images[:SAMPLES]:
        maps, scores = expected(image[None])
        outputs = engine.run(image[None])
        gap = np.abs(outputs["anomaly_map"] - maps).max() / max(float(np.abs(maps).max()), SMALLEST_SCALE)
        score_gap = float(np.abs(outputs["score"] - scores).max())
        if not (gap <= TOLERANCE and score_gap <= max(SCORE_TOLERANCE, TOLERANCE * float(np.abs(scores).max()))):
            raise ModelError(
                f"the exported network differs from the trained one: maps by {gap:.1e}, scores by {score_gap:.1e}. "
                "So it is where the good images are too few or all alike: add images; otherwise please report it"
            )
