"""From a device string to torch's device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blemish.engines.devices import parse_device
from blemish.errors import DeviceError

if TYPE_CHECKING:
    import torch

_TORCH_NAMES = {"cpu": "cpu", "gpu": "cuda", "intel_gpu": "xpu", "npu": "npu", "mlu": "mlu", "mps": "mps"}


def training_device(text: str) -> torch.device:
    """The first device that `text` names; `auto` is the GPU where torch sees one. Raises `DeviceError` without it."""
    import torch

    device = parse_device(text)
    if device.type == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    name = _TORCH_NAMES.get(device.type)
    module = getattr(torch, name, None) if name else None
    if name is None or (name != "cpu" and (module is None or not module.is_available())):
        raise DeviceError(f"torch cannot train on {text} here; Global.device=cpu always works")
    return torch.device(name) if name == "cpu" else torch.device(name, device.ids[0] if device.ids else 0)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device is faster in bfloat16 than in float32."""
    import torch

    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
