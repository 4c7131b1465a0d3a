"""What runs a network: one small interface, and the functions that open it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from blemish.engines import onnx_runtime
from blemish.engines.devices import Device, parse_device
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


# Opens the model on a device with at most one number, with so many threads.
_Opener = Callable[[bytes, Device, int], Engine]
_ENGINES: dict[str, _Opener] = {"onnxruntime": onnx_runtime.open_session}


def open_engine(
    model: bytes, device: str = "auto", *, num_threads: int | None = None, name: str = "onnxruntime"
) -> Engine:
    """Load a network with one image input onto a device; of several device numbers the first is taken.

    `num_threads` defaults to the CPU cores that this process may use. Raises `DeviceError` for a device or engine that
    is not there (only `auto` falls back to the CPU), and `ModelError` for a network that cannot be loaded.
    """
    return _open(model, _one_by_one(parse_device(device))[0], num_threads, name)


def engines_for(
    model: bytes, device: str = "auto", *, num_threads: int | None = None, name: str = "onnxruntime"
) -> list[Engine]:
    """One engine for each device number (`gpu:0,1` gives two), else a single one; arguments as `open_engine`."""
    return [_open(model, one, num_threads, name) for one in _one_by_one(parse_device(device))]


def _one_by_one(device: Device) -> list[Device]:
    return [replace(device, ids=(number,)) for number in device.ids] or [device]


def _open(model: bytes, device: Device, num_threads: int | None, name: str) -> Engine:
    if name not in _ENGINES:
        raise DeviceError(f"unknown engine `{name}`.{did_you_mean(name, _ENGINES)} Engines are: {', '.join(_ENGINES)}")
    if num_threads is not None and num_threads < 1:
        raise UsageError(f"num_threads is {num_threads}; it must be 1 or more")
    return _ENGINES[name](model, device, num_threads or onnx_runtime.usable_cores())
