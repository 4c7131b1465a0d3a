"""The backbone and the memory bank inside a network that `append_nearest` has written, read back from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.backbones import Backbone, Tap
from blemish.backbones.onnx_layers import ImageInput, append, cut
from blemish.detectors.patch_features import STRIDES
from blemish.errors import ModelError
from blemish.graph import GraphBuilder

if TYPE_CHECKING:
    import onnx

Floats = npt.NDArray[np.float32]

STRIDE_OF = dict(zip(("bank_fine", "bank_coarse"), STRIDES, strict=True))  # of the tap behind each factor


def stored_bank(model: bytes) -> tuple[Backbone, Floats]:
    """The frozen backbone with its two taps, and the rows `(M, d)` of the bank in the order of their selection.

    The backbone needs no file but the model. Raises `ModelError` where the network is not as `append_nearest` writes.
    """
    import onnx

    graph = _Stored(onnx.load_from_string(model))
    factors = {hint: graph.factors(hint) for hint in STRIDE_OF}  # (channels, M)
    if len({values.shape[1] for values in factors.values()}) != 1:
        raise _refusal("the parts of its rows do not fit together")
    rows = np.ascontiguousarray(np.concatenate(list(factors.values())).T) / np.float32(-2)  # (M, d)
    if not np.isfinite(rows).all():
        raise _refusal("it has rows that are not finite")
    taps = [Tap(graph.tap(hint), stride, len(factors[hint])) for hint, stride in STRIDE_OF.items()]
    return _backbone(graph.model, taps), rows


@dataclass(frozen=True)
class _Stored:
    model: onnx.ModelProto

    def factors(self, hint: str) -> Floats:
        """The constant factors of the products of one tap, of all blocks of rows `(channels, M)`."""
        from onnx import numpy_helper

        tensors = {tensor.name: tensor for tensor in self.model.graph.initializer}
        blocks = [numpy_helper.to_array(tensors[node.input[1]]) for node in self._products(hint)]
        if len({block.shape[:1] for block in blocks}) != 1 or any(
            block.ndim != 2 or block.dtype != np.float32 for block in blocks
        ):
            raise _refusal("its rows cannot be told")
        return np.concatenate(blocks, axis=1)

    def tap(self, hint: str) -> str:
        """The backbone's value behind the products of one tap: before neighbours are averaged."""
        producers = {name: node for node in self.model.graph.node for name in node.output}
        value = self._products(hint)[0].input[0]
        for op in ("Transpose", "AveragePool"):
            node = producers.get(value)
            if node is None or node.op_type != op:
                raise _refusal("its features cannot be told")
            value = node.input[0]
        return str(value)

    def _products(self, hint: str) -> list[onnx.NodeProto]:
        """The matrix products with blocks of the bank, in their order."""
        names = {tensor.name for tensor in self.model.graph.initializer}
        return [
            node
            for node in self.model.graph.node
            if node.op_type == "MatMul" and node.input[1] in names and node.input[1].startswith(hint)
        ]


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
