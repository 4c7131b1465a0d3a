"""INT8: the convolutions of a network on 8-bit integers, by ONNX Runtime's static quantisation.

Weights have a scale for each channel, activations one for each tensor, from what good images give there. What makes the
score of the features (distances, reductions, enlarging, blurring) stays in float32: it is a difference of large
numbers, and its error would be the score's.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from blemish.errors import ModelError

if TYPE_CHECKING:
    import onnx

RANGE_IMAGES = 16  # good images that give the ranges of activations

Image = npt.NDArray[np.uint8]


def quantised(model: bytes, images: Collection[Image]) -> bytes:
    """The network with 8-bit convolutions; `images` `(height, width, 3)` at its input size give the ranges.

    Every so-manieth of the images is taken. Raises `ModelError` where nothing can be quantised.
    """
    import onnx

    proto = onnx.load_model_from_string(model)
    for number, node in enumerate(proto.graph.node):
        node.name = node.name or f"node_{number}"
    names = _convolutional(proto.graph)
    if not names:
        raise ModelError("the network has no convolution, so int8 would change nothing; use fp32")
    step = max(1, len(images) // RANGE_IMAGES)
    chosen = islice(images, 0, step * RANGE_IMAGES, step)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        place = Path(folder) / "int8.onnx"
        _quantise(proto, place, names, chosen)
        made = onnx.load(place)
    used = {node.domain for node in made.graph.node}
    standard = [entry for entry in made.opset_import if entry.domain in used]
    del made.opset_import[:]
    made.opset_import.extend(standard)
    return bytes(made.SerializeToString())


def _quantise(proto: onnx.ModelProto, place: Path, names: list[str], images: Iterable[Image]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        rest = iter(images)

        def get_next(self) -> dict[str, Image] | None:
            image = next(self.rest, None)
            return None if image is None else {proto.graph.input[0].name: image[None]}

    quantize_static(
        proto,
        str(place),
        Reader(),
        quant_format=QuantFormat.QDQ,
        nodes_to_quantize=names,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _convolutional(graph: onnx.GraphProto) -> list[str]:
    """Names of the convolutions, of the activations behind them, and of the sums of two such values."""
    known: set[str] = set()
    names = []
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        inputs = [name for name in node.input if name and name not in constants]
        follows = bool(inputs) and all(name in known for name in inputs)
        if node.op_type == "Conv" or (node.op_type in ("Clip", "Relu", "Add") and follows):
            known.update(node.output)
            names.append(node.name)
    return names


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser speaks through the root logger, and sets it up if nobody has."""
    root, handler = logging.getLogger(), logging.NullHandler()
    before: Any = logging.root.manager.disable
    root.addHandler(handler)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(handler)
