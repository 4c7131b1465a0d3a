"""The distance of every patch to the nearest row of a memory bank, as ONNX layers.

|x - b|^2 = |x|^2 + (|b|^2 - 2 x b): a matrix product and a minimum. A patch x is the fine tap's features beside the
coarse tap's, which are interpolated from a grid of half the size. Interpolation is linear, so the product of
interpolated features is the interpolated product: the coarse features, most of the length, are multiplied with the bank
at a quarter of the places. The sum is the same; the work is half.

Where features are mapped by T before they are compared, |Tx - b|^2 = |Tx|^2 + (|b|^2 - 2 x T'b): the map goes into the
factors of the bank, and is applied to the features for the first term only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from blemish.detectors.patch_features import PatchFeatures, channels_last
from blemish.graph import GraphBuilder

Floats = npt.NDArray[np.float32]

DISTANCES = 2**19  # in memory at a time, so few that they stay in the cache


def append_nearest(graph: GraphBuilder, features: PatchFeatures, bank: Floats) -> str:
    """Append all layers from a new input `image` to the distances, float32 `[N, rows, columns]`; the bank is (M, d)."""
    fine, coarse = features.append_taps(graph)
    squares = graph.node("ReduceSumSquare", features.join(graph, fine, coarse), axes=[1], keepdims=0, hint="squares")
    fine, coarse = channels_last(graph, fine), channels_last(graph, coarse)
    doubled = _doubler(graph, features.rows // 2, features.columns // 2)
    size = max(1, DISTANCES // (features.rows * features.columns))
    blocks = np.array_split(bank, -(-len(bank) // size))
    nearest = [_nearest(graph, fine, coarse, block, features=features, doubled=doubled) for block in blocks]
    least = graph.node("Min", *nearest, hint="nearest") if len(nearest) > 1 else nearest[0]
    # Rounding can make the square of a tiny distance negative.
    return graph.node("Sqrt", graph.node("Relu", graph.node("Add", least, squares)), hint="distances")


def _nearest(
    graph: GraphBuilder,
    fine: str,
    coarse: str,
    bank: Floats,
    *,
    features: PatchFeatures,
    doubled: Callable[[str], str],
) -> str:
    """The least |b|^2 - 2 x T'b over some rows of the bank, `[N, rows, columns]`."""
    metric, channels = features.preparation.metric, features.taps[0].channels
    factors = -2 * (bank if metric is None else bank @ metric).T  # (d, M)
    lengths = graph.constant(np.einsum("md,md->m", bank, bank), "bank_lengths")
    products = graph.node("MatMul", coarse, graph.constant(factors[channels:], "bank_coarse"), hint="coarse_products")
    products = doubled(graph.node("Add", products, lengths))
    fine_products = graph.node("MatMul", fine, graph.constant(factors[:channels], "bank_fine"), hint="fine_products")
    products = graph.node("Add", fine_products, products)  # [N, rows, columns, M]
    return graph.node("ReduceMin", products, axes=[3], keepdims=0, hint="bank_nearest")


def _doubler(graph: GraphBuilder, rows: int, columns: int) -> Callable[[str], str]:
    """Puts `[N, rows, columns, M]` on twice the rows and columns, bilinear.

    As matrix products: a Resize of channels that come last is wrong on some execution providers.
    """
    down, across = (graph.constant(_doubling(size), "doubling") for size in (rows, columns))
    flat = graph.constant(np.array([0, rows, -1]), "flat")
    grid = graph.constant(np.array([0, 2 * rows, columns, -1]), "grid")

    def doubled(value: str) -> str:
        value = graph.node("MatMul", down, graph.node("Reshape", value, flat), hint="doubled_rows")
        return graph.node("MatMul", across, graph.node("Reshape", value, grid), hint="doubled")

    return doubled


def _doubling(size: int) -> Floats:
    """Weights `(2 size, size)` of the cells in a grid twice as fine: Resize's half_pixel rule."""
    position = np.clip((np.arange(2 * size) + 0.5) / 2 - 0.5, 0, size - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(position[:, None] - np.arange(size))), np.float32)
