"""A network in the operator set of `GraphBuilder`.

onnx's converter does most. From 18 to 17 it cannot take `Split` and `Pad`, which torch's exporter writes for vision
transformers; so that one step is done here, for all operators that differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from blemish.errors import BackboneError
from blemish.graph import OPSET

if TYPE_CHECKING:
    import onnx

_AXES_AS_INPUT = OPSET + 1  # from this set on reductions have their axes as an input
_REDUCTIONS = frozenset(
    f"Reduce{kind}" for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
)
# Attributes that the newer set knows; each is dropped where it asks for what the older one does anyway.
_NEW: dict[str, dict[str, Any]] = {
    "Split": {"num_outputs": None},
    "Resize": {"antialias": 0, "keep_aspect_ratio_policy": b"stretch"},
    **{reduction: {"noop_with_empty_axes": 0} for reduction in _REDUCTIONS},
}


def converted(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in the operator set of `GraphBuilder`; raises `BackboneError` where an operator cannot be converted."""
    from onnx import defs, version_converter

    version = next(opset.version for opset in model.opset_import)

    def changed(op: str) -> bool:
        return bool(defs.get_schema(op, version).since_version != defs.get_schema(op, OPSET).since_version)

    try:
        if not any(changed(op) for op in {node.op_type for node in model.graph.node}):
            return model
        if version < _AXES_AS_INPUT:
            return version_converter.convert_version(model, OPSET)
        return _a_step_down(version_converter.convert_version(model, _AXES_AS_INPUT))
    except Exception as error:  # the converter and the schema table have no common base for their refusals
        raise BackboneError(
            f"the network is in operator set {version} and cannot be converted to {OPSET}: export it with "
            f"opset_version={OPSET} ({str(error).strip()[:200]})"
        ) from None


def _a_step_down(model: onnx.ModelProto) -> onnx.ModelProto:
    """From operator set 18 to 17; `ValueError` where a node does what 17 cannot."""
    from onnx import defs

    found = _constants(model)
    for node in model.graph.node:
        _drop_new_attributes(node)
        if node.op_type in _REDUCTIONS and len(node.input) > 1 and node.input[1]:
            axes = found.get(node.input[1])
            if axes is None:
                raise ValueError(f"the axes of {node.op_type} are computed")
            del node.input[1:]
            _set_axes(node, axes.tolist())
        elif node.op_type == "Pad" and len(node.input) > 3 and node.input[3]:
            _pad_every_axis(model, node, found)
        elif node.op_type not in (*_NEW, "Pad") and (
            defs.get_schema(node.op_type, OPSET + 1).since_version != defs.get_schema(node.op_type, OPSET).since_version
        ):
            raise ValueError(f"{node.op_type} of set {OPSET + 1}")
    for opset in model.opset_import:
        opset.version = OPSET
    return model


def _drop_new_attributes(node: onnx.NodeProto) -> None:
    from onnx import helper

    for attribute in list(node.attribute):
        usual = _NEW.get(node.op_type, {})
        if attribute.name in usual:
            if usual[attribute.name] not in (None, helper.get_attribute_value(attribute)):
                raise ValueError(f"{node.op_type} with {attribute.name}")
            node.attribute.remove(attribute)


def _set_axes(node: onnx.NodeProto, axes: list[int]) -> None:
    from onnx import helper

    if axes:
        node.attribute.append(helper.make_attribute("axes", axes))


def _pad_every_axis(model: onnx.ModelProto, node: onnx.NodeProto, found: dict[str, npt.NDArray[np.int64]]) -> None:
    """Zeros for the axes that the node leaves out; its rank comes from shape inference or from its own axes."""
    import onnx

    pads, axes = found.get(node.input[1]), found.get(node.input[3])
    if pads is None or axes is None or (axes < 0).any():
        raise ValueError("a Pad whose axes are computed or counted from the end")
    shapes = onnx.shape_inference.infer_shapes(model).graph
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*shapes.value_info, *shapes.input, *shapes.output)
        if value.type.tensor_type.HasField("shape")
    }
    if node.input[0] not in ranks:
        raise ValueError("a Pad of unknown rank")
    whole = np.zeros((2, ranks[node.input[0]]), np.int64)
    whole[:, axes] = pads.reshape(2, -1)
    name = f"{node.output[0]}_pads"
    model.graph.initializer.append(onnx.numpy_helper.from_array(whole.reshape(-1), name))
    node.input[1] = name
    del node.input[3:]


def _constants(model: onnx.ModelProto) -> dict[str, npt.NDArray[np.int64]]:
    """Integer constants of the graph by their names."""
    from onnx import TensorProto, numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    return {
        name: numpy_helper.to_array(tensor) for name, tensor in tensors.items() if tensor.data_type == TensorProto.INT64
    }
