"""The distance of every patch to the nearest row of a memory bank, as ONNX layers.

|x - b|^2 = |x|^2 + (|b|^2 - 2 x b): a matrix product and a minimum. A patch x is the finest taps' features beside those
of coarser taps, which are interpolated from smaller grids. Interpolation is linear, so the product of interpolated
features is the interpolated product: coarse features, most of the length, are multiplied with the bank at their own few
places. The sum is the same; with strides 8 and 16, the work is half.

Where features are mapped by T before they are compared, |Tx - b|^2 = |Tx|^2 + (|b|^2 - 2 x T'b): the map goes into the
factors of the bank, and is applied to the features for the first term only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blemish.detectors.patch_features import PatchFeatures, channels_last
from blemish.graph import GraphBuilder

Floats = npt.NDArray[np.float32]

BANK = "bank_stride"  # hint of the factors of one level, with its stride behind it
DISTANCES = 2**19  # in memory at a time, so few that they stay in the cache


def append_nearest(graph: GraphBuilder, features: PatchFeatures, bank: Floats) -> str:
    """Append all layers from a new input `image` to the distances, float32 `[N, rows, columns]`; the bank is (M, d)."""
    maps = features.append_taps(graph)
    squares = graph.node("ReduceSumSquare", features.join(graph, maps), axes=[1], keepdims=0, hint="squares")
    levels = [
        _Level(channels_last(graph, value), stride, channels, _enlarger(graph, features, stride))
        for value, stride, channels in zip(maps, features.strides, features.channels, strict=True)
    ]
    metric, size = features.preparation.metric, max(1, DISTANCES // (features.rows * features.columns))
    blocks = np.array_split(bank, -(-len(bank) // size))
    nearest = [_nearest(graph, levels, block, metric) for block in blocks]
    least = graph.node("Min", *nearest, hint="nearest") if len(nearest) > 1 else nearest[0]
    # Rounding can make the square of a tiny distance negative.
    return graph.node("Sqrt", graph.node("Relu", graph.node("Add", least, squares)), hint="distances")


@dataclass(frozen=True)
class _Level:
    """The features of one stride, `[N, h, w, channels]`, and what puts values of their grid on the finest one."""

    value: str
    stride: int
    channels: int
    enlarged: Callable[[str], str]


def _nearest(graph: GraphBuilder, levels: Sequence[_Level], bank: Floats, metric: Floats | None) -> str:
    """The least |b|^2 - 2 x T'b over some rows of the bank, `[N, rows, columns]`."""
    factors = -2 * (bank if metric is None else bank @ metric).T  # (d, M)
    parts = np.split(factors, np.cumsum([level.channels for level in levels])[:-1])  # (channels, M) each
    lengths = graph.constant(np.einsum("md,md->m", bank, bank), "bank_lengths")
    total = ""
    for level, part in zip(levels[::-1], parts[::-1], strict=True):  # the lengths come in on the smallest grid
        constant = graph.constant(part, f"{BANK}{level.stride}")
        products = graph.node("MatMul", level.value, constant, hint="products")
        if not total:
            products = graph.node("Add", products, lengths)
        products = level.enlarged(products)
        total = graph.node("Add", products, total) if total else products  # [N, rows, columns, M] at last
    return graph.node("ReduceMin", total, axes=[3], keepdims=0, hint="bank_nearest")


def _enlarger(graph: GraphBuilder, features: PatchFeatures, stride: int) -> Callable[[str], str]:
    """Puts `[N, h, w, M]` of a stride's grid on the finest one, bilinear.

    As matrix products: a Resize of channels that come last is wrong on some execution providers.
    """
    if stride == features.strides[0]:
        return lambda value: value
    rows, columns = features.height // stride, features.width // stride
    down = graph.constant(_enlarging(rows, features.rows), "enlarging")
    across = graph.constant(_enlarging(columns, features.columns), "enlarging")
    flat = graph.constant(np.array([0, rows, -1]), "flat")
    grid = graph.constant(np.array([0, features.rows, columns, -1]), "grid")

    def enlarged(value: str) -> str:
        value = graph.node("MatMul", down, graph.node("Reshape", value, flat), hint="enlarged_rows")
        return graph.node("MatMul", across, graph.node("Reshape", value, grid), hint="enlarged")

    return enlarged


def _enlarging(size: int, larger: int) -> Floats:
    """Weights `(larger, size)` of the cells of a grid in a finer one: Resize's half_pixel rule."""
    position = np.clip((np.arange(larger) + 0.5) * (size / larger) - 0.5, 0, size - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(position[:, None] - np.arange(size))), np.float32)
