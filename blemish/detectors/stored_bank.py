"""The backbone and the memory bank inside a network that `append_nearest` has written, read back from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from blemish.backbones import Backbone, Tap
from blemish.backbones.onnx_layers import ImageInput, append, cut
from blemish.detectors.nearest_row import BANK
from blemish.detectors.patch_features import BORDER, METRIC, ORIGIN, Preparation
from blemish.errors import ModelError
from blemish.graph import GraphBuilder

if TYPE_CHECKING:
    import onnx

Floats = npt.NDArray[np.float32]

# The factors of a level's products with a block of rows. In models of before their names do not tell the stride.
_FACTORS = re.compile(rf"(?:{BANK}(\d+)|bank_(fine|coarse))(?:_\d+)?")
_METRICS_OF_BEFORE = {8: "metric_fine", 16: "metric_coarse"}
_STRIDES_OF_BEFORE = {"fine": 8, "coarse": 16}
WORST_CONDITION = 1e4  # of a metric that float32 can undo; what is written is below 100


def stored_bank(model: bytes) -> tuple[Backbone, Floats, Preparation]:
    """The frozen backbone with one tap a level, the rows `(M, d)` of the bank in the order of their selection.

    With them comes what is done to the taps, which the rows refer to. The backbone needs no file but the model. Raises
    `ModelError` where the network is not as `append_nearest` writes.
    """
    import onnx

    graph = _Stored(onnx.load_from_string(model))
    factors = {stride: graph.factors(stride) for stride in graph.strides}  # (channels, M)
    if len({values.shape[1] for values in factors.values()}) != 1:
        raise _refusal("the parts of its rows do not fit together")
    rows = np.ascontiguousarray(np.concatenate(list(factors.values())).T) / np.float32(-2)  # (M, d)
    if not np.isfinite(rows).all():
        raise _refusal("it has rows that are not finite")
    taps = [Tap(graph.tap(stride), stride, len(values)) for stride, values in factors.items()]
    origins = [graph.origin(stride) for stride in factors]
    given = [origin.ravel() for origin in origins if origin is not None]
    if given and [len(origin) for origin in given] != [tap.channels for tap in taps]:
        raise _refusal("the origin of its rows cannot be told")
    metric = graph.metric(rows.shape[1])
    if metric is not None:  # the factors hold the rows times the metric
        rows = np.linalg.solve(metric.T.astype(np.float64), rows.T.astype(np.float64)).T.astype(np.float32)
    origin = np.concatenate(given) if given else None
    return _backbone(graph.model, taps), rows, Preparation(graph.kernel, origin, metric)


@dataclass(frozen=True)
class _Stored:
    """The layers of a model; a level of its taps goes by its stride."""

    model: onnx.ModelProto

    @cached_property
    def strides(self) -> list[int]:
        """Those of all levels, finest first."""
        found = {_stride(name) for name in self._tensors} - {None}
        if not found:
            raise _refusal("it has no rows")
        return sorted(stride for stride in found if stride is not None)

    def factors(self, stride: int) -> Floats:
        """The constant factors of the products of one level, of all blocks of rows `(channels, M)`."""
        from onnx import numpy_helper

        blocks = [numpy_helper.to_array(self._tensors[node.input[1]]) for node in self._products(stride)]
        if len({block.shape[:1] for block in blocks}) != 1 or any(
            block.ndim != 2 or block.dtype != np.float32 for block in blocks
        ):
            raise _refusal("its rows cannot be told")
        return np.concatenate(blocks, axis=1)

    def tap(self, stride: int) -> str:
        """The backbone's value behind the products of one level, before anything is subtracted or averaged."""
        pool = self._pool(stride)
        return str((self._subtraction(pool) or pool).input[0])

    def origin(self, stride: int) -> Floats | None:
        """What is subtracted from one level `(channels, 1, 1)`; None where nothing is."""
        from onnx import numpy_helper

        node = self._subtraction(self._pool(stride))
        if node is None:
            return None
        return np.asarray(numpy_helper.to_array(self._tensors[node.input[1]]), np.float32)

    def metric(self, dimensions: int) -> Floats | None:
        """What features are mapped by `(d, d)`; None where they are not."""
        from onnx import numpy_helper

        names = [(f"{METRIC}{stride}", _METRICS_OF_BEFORE.get(stride, "")) for stride in self.strides]
        found = [self._tensors.get(now, self._tensors.get(before)) for now, before in names]
        parts = [numpy_helper.to_array(tensor) for tensor in found if tensor is not None]
        if not parts:
            return None
        if len(parts) != len(found) or any(part.shape[2:] != (1, 1) or len(part) != dimensions for part in parts):
            raise _refusal("its metric cannot be told")
        metric = np.concatenate(parts, axis=1)[:, :, 0, 0].astype(np.float32)
        if metric.shape != (dimensions, dimensions) or not np.isfinite(metric).all():
            raise _refusal("its metric cannot be told")
        if np.linalg.cond(metric) > WORST_CONDITION:
            raise _refusal("its metric cannot be undone")
        return metric

    @property
    def kernel(self) -> Literal["binomial", "mean"]:
        """How neighbours are averaged."""
        return "mean" if self._weighing(self.strides[0]) is None else "binomial"

    def _pool(self, stride: int) -> onnx.NodeProto:
        """The average that a level goes through first."""
        weighing = self._weighing(stride)
        if weighing is None:
            return self._behind(self._behind(self._products(stride)[0], "Transpose"), "AveragePool")
        return self._behind(self._behind(weighing, "AveragePool"), "AveragePool")

    def _weighing(self, stride: int) -> onnx.NodeProto | None:
        """The layer that weighs the border of one level; None in models of before."""
        found = self._producers.get(self._behind(self._products(stride)[0], "Transpose").input[0])
        return found if found is not None and found.op_type == "Mul" and found.input[1].startswith(BORDER) else None

    def _subtraction(self, pool: onnx.NodeProto) -> onnx.NodeProto | None:
        """The layer that subtracts the origin; a backbone's own last layer may be a difference too."""
        found = self._producers.get(pool.input[0])
        if found is None or found.op_type != "Sub" or not found.input[1].startswith(ORIGIN):
            return None
        return found if found.input[1] in self._tensors else None

    @cached_property
    def _tensors(self) -> dict[str, onnx.TensorProto]:
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def _producers(self) -> dict[str, onnx.NodeProto]:
        return {name: node for node in self.model.graph.node for name in node.output}

    def _behind(self, node: onnx.NodeProto, kind: str) -> onnx.NodeProto:
        """The node whose value another one takes first, which is of this kind."""
        found = self._producers.get(node.input[0])
        if found is None or found.op_type != kind:
            raise _refusal("its features cannot be told")
        return found

    def _products(self, stride: int) -> list[onnx.NodeProto]:
        """The matrix products of one level with blocks of the bank, in their order."""
        return [
            node
            for node in self.model.graph.node
            if node.op_type == "MatMul" and node.input[1] in self._tensors and _stride(node.input[1]) == stride
        ]


def _stride(name: str) -> int | None:
    """The stride of the level whose factors a constant holds; None for other constants."""
    match = _FACTORS.fullmatch(name)
    if match is None:
        return None
    return int(match[1]) if match[1] else _STRIDES_OF_BEFORE[match[2]]


def _backbone(model: onnx.ModelProto, taps: list[Tap]) -> Backbone:
    """The layers from the pixels to the taps, normalisation included, as a backbone without a file of its own."""
    image = ImageInput("image", channels_last=True, height=None, width=None)
    part = cut(model, image, [tap.name for tap in taps])

    def layers(graph: GraphBuilder, pixels: str, _height: int, _width: int, names: Sequence[str]) -> list[str]:
        values = append(graph, part, image, pixels, prefixed=False)
        return [values[name] for name in names]

    # what is stated of a backbone is in model.json, and stays there
    unknown, nothing = "the model's own", (0.0, 0.0, 0.0)
    return Backbone(unknown, unknown, "", unknown, nothing, nothing, tuple(taps), layers)


def _refusal(what: str) -> ModelError:
    return ModelError(f"the memory bank in model.onnx cannot be read: {what}; train the model again")
