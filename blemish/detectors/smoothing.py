"""What becomes of anomaly maps: the finer grid, the Gaussian blur as two small matrices, the outputs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blemish.graph import GraphBuilder

Floats = npt.NDArray[np.float32]

# The published blur is 4 pixels at an input of 256; it grows with the input.
SMOOTHING = 4 / 256


def blurs(height: int, width: int, rows: int, columns: int) -> tuple[Floats, Floats]:
    """Blurs `(rows, rows)` and `(columns, columns)` of a grid over an input of height x width pixels."""
    sigma = SMOOTHING * np.sqrt(width * height) / width * columns
    return _blur(rows, sigma), _blur(columns, sigma)


def append_blur(graph: GraphBuilder, maps: str, down: Floats, across: Floats) -> str:
    """Blurred maps `[N, rows, columns]`."""
    blurred = graph.node("MatMul", graph.constant(down, "blur_down"), maps, hint="blurred_down")
    return graph.node("MatMul", blurred, graph.constant(np.ascontiguousarray(across.T), "blur_across"), hint="blurred")


def append_enlarged(graph: GraphBuilder, maps: str, scale: float) -> str:
    """Maps `[N, C, h, w]` on a grid that is finer by `scale`, bilinear with half-pixel centres."""
    if scale == 1:
        return maps
    factor = np.float32(scale)
    if factor < scale:  # the size is rounded down, and must not miss the last row
        factor = np.nextafter(factor, np.float32(np.inf))
    return graph.node(
        "Resize",
        maps,
        "",
        graph.constant(np.array([1, 1, factor, factor], np.float32), "scales"),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
        hint="enlarged",
    )


def append_outputs(graph: GraphBuilder, maps: str, rows: int, columns: int) -> None:
    """The two outputs that every detector has: the map, and its largest value as the score."""
    graph.output(maps, "anomaly_map", np.float32, ["N", rows, columns])
    score = graph.node("ReduceMax", maps, axes=[1, 2], keepdims=0, hint="largest")
    graph.output(score, "score", np.float32, ["N"])


def _blur(size: int, sigma: float) -> Floats:
    """Gaussian weights `(size, size)`; each row sums to one, so a constant map stays as it is up to its border."""
    cells = np.arange(size)
    weights = np.exp(-((cells[:, None] - cells[None]) ** 2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
