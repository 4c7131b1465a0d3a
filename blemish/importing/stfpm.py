"""PaddleX's STFPM as one graph: two ResNet-18, and the product of their differences at three levels.

Wang et al. 2021, "Student-Teacher Feature Pyramid Matching", as PaddleSeg computes it: at each level the squared
difference of features normalised over the channels, summed over them (0 to 4), enlarged, multiplied over the levels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blemish.backbones.pdparams import Tensors
from blemish.backbones.resnet import TAPS, Weights, append_resnet18, checked_weights
from blemish.errors import BackboneError
from blemish.graph import GraphBuilder
from blemish.importing.graphs import detector_model, enlarged

_STAGES = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_SMALLEST_NORM = 1e-12  # as Paddle's and torch's normalize


def stfpm_model(tensors: Tensors, backbone_weights: Weights | None = None) -> bytes:
    """The ONNX model of an STFPM with PaddleX's tensor names.

    A file that holds the student alone, with names that start with `model.`, needs the teacher's `backbone_weights`,
    with the names of torchvision's or Paddle's ResNet-18. Raises `BackboneError` if the tensors are no STFPM's.
    """
    networks = [_network(tensors, "student."), _network(tensors, "teacher.")]
    if not networks[0] and not networks[1]:
        networks = [_network(tensors, ""), dict(backbone_weights or {})]
        if networks[0] and backbone_weights is None:
            raise BackboneError("the file holds the student alone; give the teacher with --backbone-weights FILE")
    if not networks[0]:
        raise BackboneError(
            f"these are no weights of STFPM: no tensor's name starts with student.model.{_some(tensors)}"
        )
    student, teacher = (checked_weights(network) for network in networks)

    def head(graph: GraphBuilder, planes: str) -> tuple[str, str]:
        anomaly_map = _product(graph, planes, teacher, student)
        return anomaly_map, anomaly_map

    return detector_model("stfpm", head)


def _network(tensors: Tensors, prefix: str) -> dict[str, npt.NDArray[np.float32]]:
    """One network's tensors by torchvision's names: PaddleX numbers the children of the ResNet."""
    network = {}
    for name, values in tensors.items():
        stage, _, rest = name.removeprefix(f"{prefix}model.").partition(".")
        if name.startswith(f"{prefix}model.") and stage in _STAGES:
            network[f"{_STAGES[stage]}.{rest}"] = values
    return network


def _product(graph: GraphBuilder, planes: str, teacher: Weights, student: Weights) -> str:
    """The anomaly map `[N, 1, H, W]`, 0 to 64."""
    taps = [tap.name for tap in TAPS]
    levels = [append_resnet18(graph, planes, weights, taps) for weights in (teacher, student)]
    product = ""
    for tap, expected, imitated in zip(TAPS, *levels, strict=True):
        difference = graph.node("Sub", _unit(graph, expected), _unit(graph, imitated), hint="difference")
        level = graph.node("ReduceSumSquare", difference, axes=[1], keepdims=1, hint="level")
        level = enlarged(graph, level, tap.stride, align_corners=False)
        product = graph.node("Mul", product, level, hint="product") if product else level
    return product


def _unit(graph: GraphBuilder, features: str) -> str:
    """Features `[N, C, h, w]` of length one over the channels."""
    length = graph.node("ReduceL2", features, axes=[1], keepdims=1, hint="length")
    smallest = graph.constant(np.float32(_SMALLEST_NORM), "smallest_length")
    return graph.node("Div", features, graph.node("Max", length, smallest), hint="unit")


def _some(tensors: Tensors) -> str:
    first = next(iter(tensors), None)
    return "" if first is None else f" (the first is `{ascii(first)[1:-1][:60]}`)"
