"""A small builder for ONNX graphs: values are strings, nodes are calls.

Backbones append their layers to a builder, detectors append their head to the same builder, and
`model()` gives the checked ONNX model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

OPSET = 17  # ONNX Runtime 1.20, OpenVINO and onnxruntime-web all run it
IR_VERSION = 8


class GraphBuilder:
    """Collects nodes, constants, inputs and outputs; every value it hands out has a unique name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._taken: dict[str, int] = {}

    def unique(self, hint: str) -> str:
        """`hint`, or `hint_2`, `hint_3` ... where it is taken."""
        count = self._taken[hint] = self._taken.get(hint, 0) + 1
        return hint if count == 1 else self.unique(f"{hint}_{count}")

    def input(self, name: str, dtype: npt.DTypeLike, shape: Sequence[int | str]) -> str:
        """Declare a graph input; a string in `shape` is a dynamic dimension."""
        from onnx import helper

        name = self.unique(name)
        self.inputs.append(helper.make_tensor_value_info(name, _element_type(dtype), list(shape)))
        return name

    def output(self, value: str, name: str, dtype: npt.DTypeLike, shape: Sequence[int | str]) -> None:
        """Give `value` to the outside as `name`."""
        from onnx import helper

        self.nodes.append(
            helper.make_node("Identity", [value], [self.unique(name)], name=self.unique(f"output_{name}"))
        )
        self.outputs.append(helper.make_tensor_value_info(name, _element_type(dtype), list(shape)))

    def constant(self, array: npt.ArrayLike, hint: str = "constant") -> str:
        """A constant tensor; its dtype is kept, so pass float32 or int64 arrays."""
        from onnx import numpy_helper

        name = self.unique(hint)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op: str, *inputs: str, hint: str = "", **attributes: Any) -> str:
        """Append a node of the standard operator set with one output; returns that output's name."""
        return self.split_node(op, *inputs, count=1, hint=hint, **attributes)[0]

    def split_node(self, op: str, *inputs: str, count: int, hint: str = "", **attributes: Any) -> list[str]:
        """Append a node with `count` outputs; returns their names."""
        from onnx import helper

        names = [self.unique(hint or op.lower()) for _ in range(count)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=names[0], **attributes))
        return names

    def model(self, name: str) -> onnx.ModelProto:
        """The finished model, checked, with shapes inferred."""
        import onnx
        from onnx import helper

        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="blemish")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model


def _element_type(dtype: npt.DTypeLike) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
