"""What a network says must be finite numbers in the shape that `model.json` states; anything else is no verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.errors import ModelError

if TYPE_CHECKING:
    from blemish.engines import Engine
    from blemish.models.info import ModelInfo, OutputInfo

Floats = npt.NDArray[np.float32]

LARGEST = 1e30  # of a score, a map value or a threshold; float32 ends at 3.4e38
_GREY = 128


def output_fault(scores: Floats, maps: Floats, stated: OutputInfo | None = None) -> str | None:
    """Why scores `(n,)` and maps `(n, h, w)` cannot give a verdict, None if they can; `stated` is the size of a map."""
    if stated is not None and maps.shape[1:] != (stated.map_height, stated.map_width):
        found = "x".join(map(str, maps.shape[1:]))
        return f"the model gives an anomaly map of {found} cells, not {stated.map_height}x{stated.map_width}"
    odd = scores[~is_number(scores)]  # (m,)
    if len(odd):
        what = "too large" if np.isfinite(odd[0]) else "not a finite number"
        return f"the model gives a score that is {what} ({odd[0]})"
    if not is_number(maps).all():
        return "the model gives an anomaly map whose values are not all finite numbers up to 1e30"
    return None


def is_number(values: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Which of the values can be judged: finite, and so small that sums over an image are finite too."""
    usable: npt.NDArray[np.bool_] = np.abs(values) <= LARGEST  # False for NaN
    return usable


def try_network(engine: Engine, info: ModelInfo) -> None:
    """Run a network on a grey and on a noisy image; `ModelError` unless both get finite numbers in the stated shapes.

    It also makes the engine ready: the first run is slower than those after it.
    """
    shape = 1, info.input.height, info.input.width, 3
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for name, image in (("grey", np.full(shape, _GREY, np.uint8)), ("noisy", noise)):
        outputs = engine.run(image)
        fault = output_fault(outputs["score"], outputs["anomaly_map"], info.output)
        if fault is not None:
            raise ModelError(f"of a {name} image, {fault}")
