"""STFPM's student: a small residual network that learns fast from nothing.

Plain 3 x 3 convolutions, since a core computes them several times faster than the depthwise ones of mobile networks,
forwards and backwards: two to stride 4, then a residual block (He et al. 2016) a level, and a 1 x 1 convolution from
each level to the teacher's channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from blemish.backbones import Backbone
from blemish.backbones.record import normalised, to_channels_first
from blemish.graph import GraphBuilder

if TYPE_CHECKING:
    from torch import Tensor, nn

WIDTHS = (32, 64, 128)  # channels of the levels at strides 4, 8 and 16
STRIDES = (1, 2, 2)  # of a level's block, on what comes before


def new_student(channels: Sequence[int]) -> nn.Module:
    """A student with random weights for a teacher with so many channels at strides 4, 8 and 16.

    It takes normalised planes `(n, 3, H, W)` and gives the three levels' features `(n, C, H / stride, W / stride)`.
    """
    from torch import nn

    class Student(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first = WIDTHS[0]
            self.stem = nn.ModuleList([_new_convolution(3, first, 3, 2), _new_convolution(first, first, 3, 2)])
            before = (first, *WIDTHS)
            self.blocks: Any = nn.ModuleList(_new_block(*shape) for shape in zip(before, WIDTHS, STRIDES, strict=False))
            self.heads = nn.ModuleList(nn.Conv2d(*ends, 1) for ends in zip(WIDTHS, channels, strict=True))

        def forward(self, planes: Tensor) -> list[Tensor]:
            x, levels = planes, []
            for convolution in self.stem:
                x = convolution(x).relu()
            for block, head in zip(self.blocks, self.heads, strict=True):
                shortcut = block["shortcut"](x) if "shortcut" in block else x
                x = (block["second"](block["first"](x).relu()) + shortcut).relu()
                levels.append(head(x))
            return levels

    return Student()


def append_student(graph: GraphBuilder, student: Any, record: Backbone, pixels: str) -> list[str]:
    """Append a student to a graph with uint8 `pixels` `[N, H, W, 3]`; returns its levels, finest first."""
    x = normalised(graph, to_channels_first(graph, pixels), record.mean, record.std)
    levels = []
    for convolution in student.stem:
        x = graph.node("Relu", _append_convolution(graph, x, *convolution), hint="stem")
    for block, head in zip(student.blocks, student.heads, strict=True):
        y = graph.node("Relu", _append_convolution(graph, x, *block["first"]), hint="inner")
        y = _append_convolution(graph, y, *block["second"])
        shortcut = _append_convolution(graph, x, *block["shortcut"]) if "shortcut" in block else x
        x = graph.node("Relu", graph.node("Add", y, shortcut, hint="residual"), hint="block")
        levels.append(_append_convolution(graph, x, head))
    return levels


def _new_block(inputs: int, outputs: int, stride: int) -> nn.ModuleDict:
    from torch import nn

    block = {"first": _new_convolution(inputs, outputs, 3, stride), "second": _new_convolution(outputs, outputs, 3, 1)}
    if stride > 1 or inputs != outputs:
        block["shortcut"] = _new_convolution(inputs, outputs, 1, stride)
    return nn.ModuleDict(block)


def _new_convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    """A convolution and its batch normalisation."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(outputs)
    )


def _append_convolution(graph: GraphBuilder, x: str, convolution: Any, norm: Any = None) -> str:
    """A convolution, its batch normalisation folded into it."""
    kernel = convolution.weight.detach().double().numpy()
    if norm is None:
        bias = convolution.bias.detach().double().numpy()
    else:
        gamma, beta, mean, variance = (
            value.detach().double().numpy() for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        )
        gain = gamma / np.sqrt(variance + norm.eps)
        kernel, bias = kernel * gain[:, None, None, None], beta - mean * gain
    return graph.node(
        "Conv",
        x,
        graph.constant(kernel.astype(np.float32), "student_kernel"),
        graph.constant(bias.astype(np.float32), "student_bias"),
        hint="student",
        kernel_shape=list(convolution.kernel_size),
        pads=[convolution.padding[0]] * 4,
        strides=list(convolution.stride),
    )
