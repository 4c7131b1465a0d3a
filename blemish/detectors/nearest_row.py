"""The distance of every patch to the nearest row of a memory bank, as ONNX layers.

|x - b|^2 = |x|^2 + (|b|^2 - 2 x b): a matrix product and a minimum. A patch x is the fine tap's features beside the
coarse tap's, which are interpolated from a grid of half the size. Interpolation is linear, so the product of
interpolated features is the interpolated product: the coarse features, most of the length, are multiplied with the bank
at a quarter of the places. The sum is the same; the work is half.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blemish.detectors.patch_features import PatchFeatures, channels_last
from blemish.graph import GraphBuilder

Floats = npt.NDArray[np.float32]

DISTANCES = 2**18  # in memory at a time, so few that they stay in the cache


def append_nearest(graph: GraphBuilder, features: PatchFeatures, bank: Floats) -> str:
    """Append all layers from a new input `image` to the distances, float32 `[N, rows, columns]`; the bank is (M, d)."""
    fine, coarse = features.append_taps(graph)
    squares = graph.node("ReduceSumSquare", features.join(graph, fine, coarse), axes=[1], keepdims=0, hint="squares")
    fine, coarse = channels_last(graph, fine), channels_last(graph, coarse)
    size = max(1, DISTANCES // (features.rows * features.columns))
    nearest = [_nearest(graph, features, fine, coarse, block) for block in np.array_split(bank, -(-len(bank) // size))]
    least = graph.node("Min", *nearest, hint="nearest") if len(nearest) > 1 else nearest[0]
    # Rounding can make the square of a tiny distance negative.
    return graph.node("Sqrt", graph.node("Relu", graph.node("Add", least, squares)), hint="distances")


def _nearest(graph: GraphBuilder, features: PatchFeatures, fine: str, coarse: str, bank: Floats) -> str:
    """The least |b|^2 - 2 x b over some rows of the bank, `[N, rows, columns]`."""
    channels = features.taps[0].channels
    factors = -2 * bank.T  # (d, M)
    lengths = graph.constant(np.einsum("md,md->m", bank, bank), "bank_lengths")
    products = graph.node("MatMul", coarse, graph.constant(factors[channels:], "bank_coarse"), hint="coarse_products")
    products = graph.node("Add", products, lengths)
    products = _doubled(graph, products, features.rows // 2, features.columns // 2, len(bank))
    fine_products = graph.node("MatMul", fine, graph.constant(factors[:channels], "bank_fine"), hint="fine_products")
    products = graph.node("Add", fine_products, products)  # [N, rows, columns, M]
    return graph.node("ReduceMin", products, axes=[3], keepdims=0, hint="bank_nearest")


def _doubled(graph: GraphBuilder, value: str, rows: int, columns: int, channels: int) -> str:
    """`[N, rows, columns, channels]` on twice the rows and columns, bilinear.

    As matrix products: a Resize of channels that come last is wrong on some execution providers.
    """
    shape = graph.constant(np.array([-1, rows, columns * channels]), "shape")
    value = graph.node("Reshape", value, shape)
    value = graph.node("MatMul", graph.constant(_doubling(rows), "doubling"), value, hint="doubled_rows")
    shape = graph.constant(np.array([-1, 2 * rows, columns, channels]), "shape")
    value = graph.node("Reshape", value, shape)
    return graph.node("MatMul", graph.constant(_doubling(columns), "doubling"), value, hint="doubled")


def _doubling(size: int) -> Floats:
    """Weights `(2 size, size)` of the cells in a grid twice as fine: Resize's half_pixel rule."""
    position = np.clip((np.arange(2 * size) + 0.5) / 2 - 0.5, 0, size - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(position[:, None] - np.arange(size))), np.float32)
