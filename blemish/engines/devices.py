"""Device strings (`auto`, `cpu`, `gpu:0,1` ...), which engine serves each, and what ONNX Runtime needs for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from blemish.errors import DeviceError, did_you_mean


@dataclass(frozen=True)
class Device:
    """A parsed device string: the kind of device, and the numbers that were asked for (none: the first)."""

    type: str
    ids: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.type}:{','.join(map(str, self.ids))}" if self.ids else self.type


@dataclass(frozen=True)
class Provider:
    """An execution provider of ONNX Runtime, the command that installs it, and its options for a device number."""

    name: str
    install: str
    options: Callable[[int], dict[str, str]] | None = None  # None: the device has no numbers
    own_options: dict[str, str] = field(default_factory=dict)  # of a device without numbers

    def options_for(self, device: Device) -> dict[str, str]:
        """The provider's options for the first number of the device."""
        return self.options(device.ids[0] if device.ids else 0) if self.options else dict(self.own_options)


CPU_PROVIDER = "CPUExecutionProvider"

# Every option that lets a provider compute below float32 is switched off: scores must not depend on the device.
_PROVIDERS: dict[str, Provider] = {
    "cpu": Provider(CPU_PROVIDER, "pip install onnxruntime"),
    "gpu": Provider(
        "CUDAExecutionProvider", "pip install onnxruntime-gpu", lambda n: {"device_id": str(n), "use_tf32": "0"}
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        "pip install onnxruntime-gpu tensorrt",
        lambda n: {"device_id": str(n), "trt_fp16_enable": "0", "trt_int8_enable": "0"},
    ),
    "npu": Provider("CANNExecutionProvider", "pip install onnxruntime-cann", lambda n: {"device_id": str(n)}),
    "dml": Provider(
        "DmlExecutionProvider", "pip install onnxruntime-directml  # on Windows", lambda n: {"device_id": str(n)}
    ),
    "coreml": Provider("CoreMLExecutionProvider", "pip install onnxruntime  # on macOS"),
    "qnn": Provider(
        "QNNExecutionProvider",
        "pip install onnxruntime-qnn  # on a Qualcomm device",
        own_options={"backend_type": "htp", "enable_htp_fp16_precision": "0"},
    ),
}
# What OpenVINO serves, by its own names; of these, ONNX Runtime serves the CPU alone.
OPENVINO_DEVICES = {"cpu": "CPU", "intel_gpu": "GPU", "intel_npu": "NPU"}
_ALIASES = {"cuda": "gpu", "xpu": "intel_gpu"}
_WITHOUT_PROVIDER = {"mlu": "Cambricon MLU"}
_NUMBERED = {"intel_gpu", *_WITHOUT_PROVIDER, *(kind for kind, provider in _PROVIDERS.items() if provider.options)}
_TYPES = ("auto", *_PROVIDERS, "intel_gpu", "intel_npu", *_ALIASES, *_WITHOUT_PROVIDER)


def parse_device(text: str) -> Device:
    """Read `type` or `type:id[,id...]`, whatever its case; `cuda` is `gpu` and `xpu` is `intel_gpu`.

    Raises `DeviceError` for an unknown type, a number that is none or comes twice, and a number where the type has
    none. Whether the device is there is seen only when an engine is opened.
    """
    kind, colon, numbers = text.strip().lower().partition(":")
    if kind not in _TYPES:
        raise DeviceError(
            f"unknown device `{text}`.{did_you_mean(kind, _TYPES)} Devices are: {', '.join(_TYPES)}, "
            "a number may follow as in `gpu:0`"
        )
    kind = _ALIASES.get(kind, kind)
    if not colon:
        return Device(kind)
    if kind not in _NUMBERED:
        raise DeviceError(f"device `{text}`: {kind} takes no number, write `{kind}`")
    return Device(kind, _parse_ids(text, kind, numbers))


def needs_openvino(device: Device) -> bool:
    """Whether OpenVINO alone serves this device."""
    return device.type in OPENVINO_DEVICES and device.type not in _PROVIDERS


def find_provider(device: Device) -> Provider:
    """What serves this device (not `auto`) in ONNX Runtime; `DeviceError` where it has nothing for it."""
    if device.type in _WITHOUT_PROVIDER:
        raise DeviceError(
            f"device `{device}`: ONNX Runtime has no execution provider for {_WITHOUT_PROVIDER[device.type]}, "
            "and no pip package brings one; use `cpu` or `gpu`"
        )
    if needs_openvino(device):
        raise DeviceError(
            f"device `{device}` is served by the engine openvino, not by onnxruntime; leave out the engine"
        )
    return _PROVIDERS[device.type]


def _parse_ids(text: str, kind: str, numbers: str) -> tuple[int, ...]:
    parts = [part.strip() for part in numbers.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        way_out = f"`{kind}:{numbers.replace(':', ',')}`" if ":" in numbers else f"`{kind}:0` or `{kind}:0,1`"
        raise DeviceError(f"device `{text}`: `{numbers}` is no device number; write {way_out}")
    ids = tuple(map(int, parts))
    if len(set(ids)) < len(ids):
        raise DeviceError(f"device `{text}` names a number twice; name each device once")
    return ids
