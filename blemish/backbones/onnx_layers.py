"""Works on the graph of an ONNX model: finds its image input and feature maps, cuts it, appends it to a builder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blemish.errors import BackboneError
from blemish.graph import GraphBuilder

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class ImageInput:
    """The input of a network: float32 `[N, 3, H, W]` or, with `channels_last`, `[N, H, W, 3]`; None is any length."""

    name: str
    channels_last: bool
    height: int | None
    width: int | None


@dataclass(frozen=True)
class FeatureMap:
    """A rank-4 float32 value with its layout, for one input size."""

    name: str
    stride: int
    channels: int
    channels_last: bool


def image_input(model: onnx.ModelProto) -> ImageInput:
    """The one input of the model; raises `BackboneError` if it is not an image."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise BackboneError(f"the network has {len(inputs)} inputs; a backbone has one, the image")
    dims, element = _shape(inputs[0]), inputs[0].type.tensor_type.elem_type
    if element != 1 or len(dims) != 4 or 3 not in (dims[1], dims[3]):
        expected = "float32 [N, 3, H, W] or [N, H, W, 3]"
        raise BackboneError(f"input `{inputs[0].name}` is no image: expected {expected}, not type {element} {dims}")
    channels_last = dims[1] != 3
    height, width = dims[1:3] if channels_last else dims[2:4]
    return ImageInput(inputs[0].name, channels_last, height, width)


def feature_maps(model: onnx.ModelProto, image: ImageInput, height: int, width: int) -> dict[str, FeatureMap]:
    """All feature maps for images of that size, in the order of the nodes, found by ONNX shape inference."""
    maps = (_feature_map(name, dims, height, width) for name, dims in _float_shapes(model, image, height, width))
    return {found.name: found for found in maps if found}


def check_grids(model: onnx.ModelProto, image: ImageInput, taps: Sequence[FeatureMap], size: tuple[int, int]) -> None:
    """Raise `BackboneError` where a tap has no whole grid on images of a size (height, width)."""
    height, width = size
    shapes = dict(_float_shapes(model, image, height, width))
    for tap in taps:
        whole = [height // tap.stride, width // tap.stride]
        dims = shapes.get(tap.name, [])
        found = dims[1:3] if tap.channels_last else dims[2:4]
        if found != whole or height % tap.stride or width % tap.stride:
            shown = "no fixed grid" if not found or None in found else f"a grid of {found[1]}x{found[0]}"
            raise BackboneError(
                f"tap `{tap.name}` of the network has {shown} on images of {width}x{height}; its stride of "
                f"{tap.stride} would give {width / tap.stride:g}x{height / tap.stride:g}: name another tap"
            )


def _float_shapes(
    model: onnx.ModelProto, image: ImageInput, height: int, width: int
) -> list[tuple[str, list[int | None]]]:
    """Name and dimensions of every float32 value for images of that size, in the order of the nodes."""
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.value_info[:]
    for value in probe.graph.output:
        value.type.tensor_type.ClearField("shape")
    dims: list[str | int | None] = ["N", height, width, 3] if image.channels_last else ["N", 3, height, width]
    source = next(value for value in probe.graph.input if value.name == image.name)
    source.CopyFrom(onnx.helper.make_tensor_value_info(image.name, onnx.TensorProto.FLOAT, dims))
    try:
        inferred = onnx.shape_inference.infer_shapes(probe, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise BackboneError(f"the network does not work on images of {height}x{width} ({str(error)[:200]})") from None
    known = {value.name: value for value in (*inferred.value_info, *inferred.output)}
    produced = (known[name] for node in inferred.node for name in node.output if name in known)
    return [(value.name, _shape(value)) for value in produced if value.type.tensor_type.elem_type == 1]


def _feature_map(name: str, dims: list[int | None], height: int, width: int) -> FeatureMap | None:
    """The value as a feature map; None if it is none, or if it ties the network to one batch size."""
    if len(dims) != 4 or dims[0] is not None or None in dims[1:]:
        return None
    candidates = []
    for channels_last, (h, w, channels) in enumerate(((dims[2], dims[3], dims[1]), (dims[1], dims[2], dims[3]))):
        assert h is not None and w is not None and channels is not None
        if 0 < h <= height and 0 < w <= width and round(height / h) == round(width / w):
            candidates.append((abs(height / h - width / w), channels_last, round(height / h), channels))
    if not candidates:
        return None
    _, channels_last, stride, channels = min(candidates)
    return FeatureMap(name, stride, channels, bool(channels_last))


def _shape(value: onnx.ValueInfoProto) -> list[int | None]:
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim]


def cut(model: onnx.ModelProto, image: ImageInput, outputs: Sequence[str]) -> onnx.ModelProto:
    """The part of the model that `outputs` need, with these as its outputs."""
    from onnx import TensorProto, helper

    needed, nodes = set(outputs), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    graph = helper.make_graph(
        nodes[::-1],
        "backbone",
        [value for value in model.graph.input if value.name == image.name],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in outputs],
        [tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    part = helper.make_model(graph, opset_imports=[v for v in model.opset_import if v.domain in ("", "ai.onnx")])
    part.ir_version = max(model.ir_version, 4)  # from 4 on, weights need not be inputs too
    return part


def append(
    graph: GraphBuilder, model: onnx.ModelProto, image: ImageInput, value: str, *, prefixed: bool = True
) -> dict[str, str]:
    """Append the nodes and weights of `model`, fed with `value`, under new names; returns new names by old ones."""
    import onnx

    prefix = f"{graph.unique('backbone')}/" if prefixed else ""
    names = {image.name: value, "": ""}
    for tensor in model.graph.initializer:
        names[tensor.name] = graph.unique(f"{prefix}{tensor.name}")
        graph.initializers.append(_renamed(onnx.TensorProto(), tensor, names[tensor.name]))
    for node in model.graph.node:
        names.update({name: graph.unique(f"{prefix}{name}") for name in node.output if name})
        copy = _renamed(onnx.NodeProto(), node, graph.unique(f"{prefix}{node.name or node.op_type}"))
        copy.input[:] = [names[name] for name in node.input]
        copy.output[:] = [names[name] for name in node.output]
        graph.nodes.append(copy)
    return names


def _renamed(copy: Any, original: Any, name: str) -> Any:
    copy.CopyFrom(original)
    copy.name = name
    return copy
