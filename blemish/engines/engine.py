"""What runs a network: one small interface, and the functions that open it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import numpy.typing as npt

from blemish.engines import onnx_runtime, openvino
from blemish.engines.devices import Device, needs_openvino, parse_device
from blemish.errors import DeviceError, UsageError, did_you_mean


class Engine(Protocol):
    """A network that is ready to run on one device.

    `device` is the device in use (`cpu`, `gpu:0`), also where `auto` was asked for. `outputs` are the names of the
    network's outputs. `input_shape` is `(N, H, W, 3)` with None for a dimension that may vary.
    """

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    @property
    def input_shape(self) -> tuple[int | None, ...]: ...

    def run(self, image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """Outputs by name for a batch `(N, H, W, 3)`, uint8 RGB; `UsageError` for another dtype or shape."""
        ...


# Opens the model on a device with at most one number, with so many threads, at a precision.
_Opener = Callable[[bytes, Device, int, str], Engine]
PRECISIONS = ("fp32", "bf16")


def open_engine(
    model: bytes,
    device: str = "auto",
    *,
    num_threads: int | None = None,
    name: str | None = None,
    precision: str = "fp32",
) -> Engine:
    """Load a network with one image input onto a device; of several device numbers the first is taken.

    `name` is `onnxruntime`, `openvino` or `tensorrt`; None takes ONNX Runtime, or OpenVINO where only that serves the
    device. `num_threads` defaults to the CPU cores that this process may use. `precision` is `fp32`, or `bf16` for
    OpenVINO: arithmetic whose scores differ and need a calibration of their own. Raises `DeviceError` for a device or
    engine that is not there (only `auto` falls back to the CPU), and `ModelError` for a network that cannot be loaded.
    """
    return _open(model, _one_by_one(parse_device(device))[0], num_threads, name, precision)


def engines_for(
    model: bytes,
    device: str = "auto",
    *,
    num_threads: int | None = None,
    name: str | None = None,
    precision: str = "fp32",
    copies: int = 1,
) -> list[Engine]:
    """One engine for each device number (`gpu:0,1` gives two), else a single one; arguments as `open_engine`.

    On a CPU there are so many `copies` that share its cores, if it has that many: an image alone takes longer then, but
    several at a time less, since nothing is lost by dividing each among the cores.
    """
    engines = [_open(model, one, num_threads, name, precision) for one in _one_by_one(parse_device(device))]
    cores = num_threads or onnx_runtime.usable_cores()
    copies = min(copies, cores)
    if copies == 1 or engines[0].device != "cpu":
        return engines
    # so divided, every core has its work, whatever their number
    return [_open(model, Device("cpu"), (cores + i) // copies, name, precision) for i in range(copies)]


def installed_engines() -> list[str]:
    """The engines that can run on this machine's CPU, ONNX Runtime first."""
    return ["onnxruntime", *(["openvino"] if find_spec("openvino") is not None else [])]


def _one_by_one(device: Device) -> list[Device]:
    return [replace(device, ids=(number,)) for number in device.ids] or [device]


def _open(model: bytes, device: Device, num_threads: int | None, name: str | None, precision: str) -> Engine:
    name = name or ("openvino" if needs_openvino(device) else "onnxruntime")
    if name not in ENGINES:
        raise DeviceError(f"unknown engine `{name}`.{did_you_mean(name, ENGINES)} Engines are: {', '.join(ENGINES)}")
    if num_threads is not None and num_threads < 1:
        raise UsageError(f"num_threads is {num_threads}; it must be 1 or more")
    return ENGINES[name](model, device, num_threads or onnx_runtime.usable_cores(), precision)


def _onnx_runtime(model: bytes, device: Device, num_threads: int, precision: str) -> Engine:
    if precision != "fp32":
        raise UsageError(f"ONNX Runtime computes in fp32, not in {precision}; the engine openvino has bf16")
    return onnx_runtime.open_session(model, device, num_threads)


def _tensorrt(model: bytes, device: Device, num_threads: int, precision: str) -> Engine:
    """ONNX Runtime's execution provider for it, on the GPU that was asked for."""
    if device.type not in ("auto", "gpu", "tensorrt"):
        raise DeviceError(f"device `{device}`: TensorRT runs on gpu; for {device.type} leave out the engine")
    return _onnx_runtime(model, Device("tensorrt", device.ids), num_threads, precision)


ENGINES: dict[str, _Opener] = {
    "onnxruntime": _onnx_runtime,
    "openvino": openvino.open_compiled,
    "tensorrt": _tensorrt,
}
