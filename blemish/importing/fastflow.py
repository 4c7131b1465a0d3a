"""FastFlow-Paddle as one graph: a frozen ResNet-18, and a normalising flow over each of three levels.

Yu et al. 2021, "FastFlow: Unsupervised Anomaly Detection and Localization via 2D Normalizing Flows", as fastflow_paddle
computes it: both couplings of a step share one sub-network, the global scale is taken as it is, the
channels are permuted at the end of a step. A level's map is 1 - exp(-mean of z squared / 2) over the channels; the
image's score is the largest value of the levels' mean, and the map is that mean, smoothed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.backbones.pdparams import Tensors
from blemish.backbones.resnet import TAPS, Weights, append_resnet18, checked_weights
from blemish.errors import BackboneError
from blemish.graph import GraphBuilder
from blemish.importing.graphs import SIZE, detector_model, enlarged

CLAMP = 2.0  # not in the checkpoint: the value of its only configuration
_SUBNET_FACTOR = 0.1  # what the sub-network's output is multiplied by
_EPSILON = 1e-5
_SIGMA, _TRUNCATE = 6, 4  # of the smoothing, in pixels and in sigmas
_BACKBONE = "feature_extractor."
_MAX_STEPS = 32


def fastflow_model(tensors: Tensors, backbone_weights: Weights | None = None) -> bytes:
    """The ONNX model of a FastFlow-Paddle checkpoint.

    The checkpoint holds its ResNet-18; one that does not needs `backbone_weights`, with the names of torchvision's or
    Paddle's. Raises `BackboneError` if the tensors are no FastFlow's.
    """
    inside = {n.removeprefix(_BACKBONE): v for n, v in tensors.items() if n.startswith(_BACKBONE)}
    if not inside and backbone_weights is None:
        raise BackboneError("the checkpoint holds no `feature_extractor`; give it with --backbone-weights FILE")
    resnet = checked_weights(inside or backbone_weights or {})
    flows = [_Flow(_Level(tensors, level, tap.channels)) for level, tap in enumerate(TAPS)]

    def head(graph: GraphBuilder, planes: str) -> tuple[str, str]:
        features = append_resnet18(graph, planes, resnet, [tap.name for tap in TAPS])
        levels = [
            enlarged(graph, _level_map(graph, flow.append(graph, value)), tap.stride, align_corners=True)
            for tap, flow, value in zip(TAPS, flows, features, strict=True)
        ]
        mean = graph.node("Mean", *levels, hint="mean_of_levels")
        return _smoothed(graph, mean), mean

    return detector_model("fastflow", head)


@dataclass(frozen=True)
class _Level:
    """The tensors of one level, each asked for with the shape it must have."""

    tensors: Mapping[str, npt.NDArray[Any]]
    level: int
    channels: int

    def get(self, name: str, *shape: int | None) -> npt.NDArray[np.float64]:
        """A tensor in float64; a size that is None may be any."""
        if name not in self.tensors:
            raise BackboneError(f"these are no weights of FastFlow-Paddle: `{name}` is missing")
        values = self.tensors[name]
        if len(values.shape) != len(shape) or any(b not in (None, a) for a, b in zip(values.shape, shape, strict=True)):
            raise BackboneError(
                f"these are no weights of FastFlow-Paddle: `{name}` has the shape {values.shape}, "
                f"not {tuple('any' if size is None else size for size in shape)}"
            )
        if not np.isfinite(values).all():
            raise BackboneError(f"the weights of FastFlow-Paddle are damaged: `{name}` has values that are not finite")
        return np.asarray(values, np.float64)

    @property
    def steps(self) -> int:
        """How many steps there are, numbered without a gap."""
        prefix = f"nf_flows.{self.level}.module_list."
        numbers = {name.removeprefix(prefix).partition(".")[0] for name in self.tensors if name.startswith(prefix)}
        if not numbers or len(numbers) > _MAX_STEPS or numbers != {str(number) for number in range(len(numbers))}:
            raise BackboneError(f"these are no weights of FastFlow-Paddle: `{prefix}0 ...` is missing or has gaps")
        return len(numbers)


class _Flow:
    """The batch normalisation of a level's features and its flow, read from a checkpoint before anything is built."""

    def __init__(self, level: _Level) -> None:
        self.gain, self.shift = _normalisation(level)
        self.steps = [_Step(level, f"nf_flows.{level.level}.module_list.{step}.") for step in range(level.steps)]

    def append(self, graph: GraphBuilder, features: str) -> str:
        """The features `[N, C, h, w]` as normally distributed ones of the same shape."""
        x = graph.node("Mul", features, graph.constant(self.gain.astype(np.float32), "norm_gain"))
        x = graph.node("Add", x, graph.constant(self.shift.astype(np.float32), "norm_shift"))
        for step in self.steps:
            x = step.append(graph, x)
        return x


class _Step:
    """One step of a flow: two affine couplings of the halves, then scale, offset and permutation of the channels."""

    def __init__(self, level: _Level, prefix: str) -> None:
        channels = level.channels
        self.half = channels // 2
        first = level.get(f"{prefix}subnet.0.weight", None, self.half, None, None)
        hidden, size = first.shape[0], first.shape[2]
        if first.shape[3] != size or size not in (1, 3):
            raise BackboneError(f"these are no weights of FastFlow-Paddle: `{prefix}subnet` has no kernel of 1 or 3")
        second = level.get(f"{prefix}subnet.2.weight", channels, hidden, size, size)
        self.first = first, level.get(f"{prefix}subnet.0.bias", hidden)
        self.second = second * _SUBNET_FACTOR, level.get(f"{prefix}subnet.2.bias", channels) * _SUBNET_FACTOR
        permutation = level.get(f"{prefix}w_perm", channels, channels, 1, 1)
        scale = level.get(f"{prefix}global_scale", 1, channels, 1, 1)
        offset = level.get(f"{prefix}global_offset", 1, channels, 1, 1)
        # P (s x + o) is one convolution
        self.mix = permutation * scale, permutation[:, :, 0, 0] @ offset.ravel()

    def append(self, graph: GraphBuilder, x: str) -> str:
        halves = graph.constant(np.array([self.half, self.half], np.int64), "halves")
        x1, x2 = graph.split_node("Split", x, halves, count=2, axis=1, hint="half")
        x2 = self._coupled(graph, x2, x1, halves)
        x1 = self._coupled(graph, x1, x2, halves)
        return _convolution(graph, graph.node("Concat", x1, x2, axis=1), self.mix, "mix")

    def _coupled(self, graph: GraphBuilder, x: str, other: str, halves: str) -> str:
        """`x exp(s) + t`, with s and t made by the sub-network from the other half."""
        hidden = graph.node("Relu", _convolution(graph, other, self.first, "subnet"))
        made = _convolution(graph, hidden, self.second, "subnet")
        raw, shift = graph.split_node("Split", made, halves, count=2, axis=1, hint="affine")
        clamp = graph.constant(np.float32(CLAMP), "clamp")
        scale = graph.node("Exp", graph.node("Mul", graph.node("Tanh", raw), clamp))
        return graph.node("Add", graph.node("Mul", x, scale), shift)


def _normalisation(level: _Level) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Gain and shift `(1, C, 1, 1)` of the batch normalisation; one and zero where the checkpoint has none."""
    channels, prefix = level.channels, f"norms.{level.level}."
    if not any(name.startswith("norms.") for name in level.tensors):
        return np.ones((1, channels, 1, 1)), np.zeros((1, channels, 1, 1))
    gamma, beta, mean, variance = (level.get(prefix + n, channels) for n in ("weight", "bias", "_mean", "_variance"))
    if variance.min() < 0:
        raise BackboneError(f"the weights of FastFlow-Paddle are damaged: `{prefix}_variance` has negative values")
    gain = gamma / np.sqrt(variance + _EPSILON)
    return gain.reshape(1, -1, 1, 1), (beta - mean * gain).reshape(1, -1, 1, 1)


def _convolution(
    graph: GraphBuilder, x: str, weights: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], hint: str
) -> str:
    """A convolution with bias that keeps the size."""
    kernel, bias = (graph.constant(values.astype(np.float32), f"{hint}_weights") for values in weights)
    size = weights[0].shape[2]
    return graph.node("Conv", x, kernel, bias, kernel_shape=[size, size], pads=[size // 2] * 4, hint=hint)


def _level_map(graph: GraphBuilder, z: str) -> str:
    """`1 - exp(-mean of z squared / 2)` over the channels, `[N, 1, h, w]`."""
    mean = graph.node("ReduceMean", graph.node("Mul", z, z), axes=[1], keepdims=1)
    half, one = graph.constant(np.float32(-0.5), "minus_half"), graph.constant(np.float32(1), "one")
    return graph.node("Sub", one, graph.node("Exp", graph.node("Mul", mean, half)), hint="level")


def _smoothed(graph: GraphBuilder, anomaly_map: str) -> str:
    """Gaussian blur of `[N, 1, H, W]` with the border mirrored, as a matrix from either side."""
    matrix = blur_matrix(SIZE)
    down = graph.constant(matrix.astype(np.float32), "blur_rows")
    across = graph.constant(np.ascontiguousarray(matrix.T, np.float32), "blur_columns")
    return graph.node("MatMul", graph.node("MatMul", down, anomaly_map), across, hint="smoothed")


def blur_matrix(size: int) -> npt.NDArray[np.float64]:
    """The matrix `(size, size)` that blurs a column of pixels, which continues mirrored beyond both its ends."""
    reach = int(_TRUNCATE * _SIGMA + 0.5)
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    source = (np.arange(size)[:, None] + offsets) % (2 * size)  # (size, 2 reach + 1)
    source = np.minimum(source, 2 * size - 1 - source)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], source), kernel / kernel.sum())
    return matrix
