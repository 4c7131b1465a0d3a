"""Depthwise convolutions whose gradients are computed in float32 on a CPU.

Their forward pass is fastest in bfloat16, but their gradients in bfloat16 take up to four times as long as in float32
(torch 2.14 with oneDNN), and EfficientNet spends most of its training there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextmanager
def depthwise_gradients_in_float32(network: nn.Module) -> Iterator[None]:
    """While it lasts, the depthwise convolutions of `network` compute their gradients in float32 under autocast."""
    from torch.nn import Conv2d

    found = [m for m in network.modules() if isinstance(m, Conv2d) and m.groups == m.in_channels > 1]
    for convolution in found:
        convolution.forward = partial(_forward, convolution, _function())  # type: ignore[method-assign]
    try:
        yield
    finally:
        for convolution in found:
            del convolution.forward  # the class's own is there again


def _forward(convolution: Any, function: Any, x: Tensor) -> Tensor:
    import torch
    from timm.layers.conv2d_same import Conv2dSame
    from timm.layers.padding import pad_same

    if isinstance(convolution, Conv2dSame):
        x = pad_same(x, list(convolution.kernel_size), list(convolution.stride), list(convolution.dilation))
    if not torch.is_autocast_enabled(x.device.type):
        plain: Tensor = convolution._conv_forward(x, convolution.weight, convolution.bias)
        return plain
    dtype = torch.get_autocast_dtype(x.device.type)
    with torch.autocast(x.device.type, enabled=False):
        y: Tensor = function.apply(x.to(dtype), convolution.weight, convolution)
    return y if convolution.bias is None else y + convolution.bias.to(dtype).view(1, -1, 1, 1)


def _function() -> Any:
    """The differentiable function, made here since its base class is torch's."""
    import torch

    class Depthwise(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Tensor, weight: Tensor, convolution: Any) -> Tensor:
            context.save_for_backward(x, weight)
            context.convolution = convolution
            options = (convolution.stride, convolution.padding, convolution.dilation, convolution.groups)
            return torch.conv2d(x, weight.to(x.dtype), None, *options)

        @staticmethod
        def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
            x, weight = context.saved_tensors
            c = context.convolution
            to_input, to_weight, _ = torch.ops.aten.convolution_backward(
                *(gradient.float(), x.float(), weight, None, c.stride, c.padding, c.dilation),
                *(False, [0, 0], c.groups, [True, True, False]),
            )
            return to_input.to(x.dtype), to_weight, None

    return Depthwise
