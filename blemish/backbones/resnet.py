"""ResNet-18 up to its third group of blocks (He et al. 2016), from the weights of torchvision, timm or Paddle.

Batch normalisation with epsilon 1e-5 is folded into the convolutions; padding is zero and symmetric. The fourth group
is not built: it has three quarters of the weights, and no detector here reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.backbones.record import Backbone, Layers, Tap, normalised, to_channels_first
from blemish.errors import BackboneError
from blemish.graph import GraphBuilder

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TAPS = (Tap("stride4", 4, 64), Tap("stride8", 8, 128), Tap("stride16", 16, 256))

Weights = Mapping[str, npt.NDArray[Any]]

_EPSILON = 1e-5
_BLOCKS = 2  # in each group
_PADDLE_SUFFIXES = {"_mean": "running_mean", "_variance": "running_var"}
_NORM = ("weight", "bias", "running_mean", "running_var")


def resnet18(weights: Weights, *, name: str, source: str, sha256: str, licence: str) -> Backbone:
    """ResNet-18 with these weights (torchvision's or Paddle's names) as a backbone with ImageNet's normalisation.

    Raises `BackboneError` if a tensor is missing, has another shape, or has values that make no network.
    """
    known = checked_weights(weights)
    return Backbone(name, source, sha256, licence, IMAGENET_MEAN, IMAGENET_STD, TAPS, _layers(known))


def checked_weights(weights: Weights) -> dict[str, npt.NDArray[np.float64]]:
    """The tensors of the first three groups by torchvision's names, in float64; errors as `resnet18`."""
    by_name = {torchvision_name(name): values for name, values in weights.items()}
    known: dict[str, npt.NDArray[np.float64]] = {}
    for name, shape in _expected_shapes():
        if name not in by_name:
            raise BackboneError(f"these are no weights of ResNet-18: `{name}` is missing")
        if by_name[name].shape != shape:
            raise BackboneError(
                f"these are no weights of ResNet-18: `{name}` has the shape {by_name[name].shape}, not {shape}"
            )
        known[name] = np.asarray(by_name[name], np.float64)
        if not np.isfinite(known[name]).all() or (name.endswith("running_var") and known[name].min() < 0):
            raise BackboneError(f"the weights of ResNet-18 are damaged: `{name}` has values that cannot be")
    return known


def append_resnet18(graph: GraphBuilder, planes: str, weights: Weights, taps: Sequence[str]) -> list[str]:
    """Append the layers up to the last of `taps`; returns the taps' values, `[N, channels, H / stride, W / stride]`.

    `planes` is float32 `[N, 3, H, W]`, normalised; `weights` are checked ones. A graph may hold several ResNets.
    """
    x = _relu(graph, _convolution(graph, weights, planes, "conv1", "bn1", stride=2))
    x = graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], hint="maxpool")
    values: dict[str, str] = {}
    last = max(index for index, tap in enumerate(TAPS) if tap.name in taps)
    for index, tap in enumerate(TAPS[: last + 1]):
        for block in range(_BLOCKS):
            x = _basic_block(graph, weights, x, f"layer{index + 1}.{block}", stride=2 if index and not block else 1)
        values[tap.name] = x
    return [values[name] for name in taps]


def _layers(weights: Weights) -> Layers:
    def append(graph: GraphBuilder, pixels: str, height: int, width: int, taps: Sequence[str]) -> list[str]:
        if height % 16 or width % 16 or min(height, width) < 32:
            raise BackboneError(f"resnet18: height and width must be multiples of 16 from 32, not {height}x{width}")
        planes = normalised(graph, to_channels_first(graph, pixels), IMAGENET_MEAN, IMAGENET_STD)
        return append_resnet18(graph, planes, weights, taps)

    return append


def _basic_block(graph: GraphBuilder, weights: Weights, x: str, prefix: str, stride: int) -> str:
    """Two 3x3 convolutions and the shortcut, which is a 1x1 convolution where the shape changes."""
    y = _relu(graph, _convolution(graph, weights, x, f"{prefix}.conv1", f"{prefix}.bn1", stride=stride))
    y = _convolution(graph, weights, y, f"{prefix}.conv2", f"{prefix}.bn2")
    if f"{prefix}.downsample.0.weight" in weights:
        x = _convolution(graph, weights, x, f"{prefix}.downsample.0", f"{prefix}.downsample.1", stride=stride)
    return _relu(graph, graph.node("Add", y, x, hint=f"{prefix}.sum"))


def _convolution(graph: GraphBuilder, weights: Weights, x: str, convolution: str, norm: str, *, stride: int = 1) -> str:
    """A convolution with the batch normalisation after it, padded so that stride 1 keeps the size."""
    gamma, beta, mean, variance = (weights[f"{norm}.{part}"] for part in _NORM)
    gain = gamma / np.sqrt(variance + _EPSILON)
    kernel = weights[f"{convolution}.weight"] * gain[:, None, None, None]
    size = kernel.shape[2]
    return graph.node(
        "Conv",
        x,
        graph.constant(kernel.astype(np.float32), f"{convolution}.kernel"),
        graph.constant((beta - mean * gain).astype(np.float32), f"{convolution}.bias"),
        hint=convolution,
        kernel_shape=[size, size],
        pads=[size // 2] * 4,
        strides=[stride, stride],
    )


def _relu(graph: GraphBuilder, x: str) -> str:
    return graph.node("Relu", x, hint="relu")


def torchvision_name(name: str) -> str:
    """A tensor's name in torch for its name in Paddle, which calls the statistics of a normalisation otherwise."""
    head, _, suffix = name.rpartition(".")
    return f"{head}.{_PADDLE_SUFFIXES[suffix]}" if suffix in _PADDLE_SUFFIXES else name


def _expected_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor up to the third group."""
    yield from _with_norm("conv1", "bn1", (64, 3, 7, 7))
    inputs = 64
    for group, tap in enumerate(TAPS, 1):
        for block in range(_BLOCKS):
            prefix, channels = f"layer{group}.{block}", tap.channels
            yield from _with_norm(f"{prefix}.conv1", f"{prefix}.bn1", (channels, inputs, 3, 3))
            yield from _with_norm(f"{prefix}.conv2", f"{prefix}.bn2", (channels, channels, 3, 3))
            if inputs != channels:
                names = f"{prefix}.downsample.0", f"{prefix}.downsample.1"
                yield from _with_norm(*names, (channels, inputs, 1, 1))
            inputs = channels


def _with_norm(convolution: str, norm: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{convolution}.weight", shape
    for part in _NORM:
        yield f"{norm}.{part}", shape[:1]
