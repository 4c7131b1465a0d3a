"""The engine that every installation has: ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.engines.devices import CPU_PROVIDER, Device, Provider, find_provider
from blemish.engines.shapes import Shape, check_images, check_outputs
from blemish.errors import DeviceError, ModelError

if TYPE_CHECKING:
    import onnxruntime as ort

_SEVERITY_ERROR = 3


class OnnxRuntimeEngine:
    """A session of ONNX Runtime as an `Engine`."""

    name = "onnxruntime"

    def __init__(self, session: ort.InferenceSession, device: str) -> None:
        self.device = device
        self.input_shape = _image_shape(session)
        self._output_shapes = _float_outputs(session)
        self.outputs = tuple(self._output_shapes)
        self._input = session.get_inputs()[0].name
        self._session = session

    def run(self, image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """Outputs by name for a batch `(N, H, W, 3)`, uint8 RGB; `UsageError` for another dtype or shape.

        Raises `ModelError` where the network fails, or gives another shape than it declares.
        """
        check_images(image, self.input_shape)
        try:
            computed = self._session.run(self.outputs, {self._input: image})
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise ModelError(f"ONNX Runtime cannot compute the network: {_reason(error)}") from error
        values = dict(zip(self.outputs, computed, strict=True))
        check_outputs(values, self._output_shapes, len(image))
        return values


def open_session(model: bytes, device: Device, num_threads: int) -> OnnxRuntimeEngine:
    """Load a network with one uint8 image input and float32 outputs; errors as `open_engine`."""
    if device.type == "auto":
        return _open_best(model, num_threads)
    provider = find_provider(device)
    _require(device, provider)
    session = _create(model, device, provider, num_threads)
    # ONNX Runtime goes on without a provider whose driver or device is missing, and only logs it.
    if provider.name not in session.get_providers():
        raise DeviceError(
            f"device `{device}`: {provider.name} is installed but cannot start here; "
            "check the driver and the device number, or use `cpu`"
        )
    return OnnxRuntimeEngine(session, _concrete(device, provider))


def usable_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _open_best(model: bytes, num_threads: int) -> OnnxRuntimeEngine:
    """The GPU where it can be had, else the CPU."""
    try:
        return open_session(model, Device("gpu"), num_threads)
    except DeviceError:
        return open_session(model, Device("cpu"), num_threads)


def _require(device: Device, provider: Provider) -> None:
    import onnxruntime as ort

    available = ort.get_available_providers()
    if provider.name not in available:
        raise DeviceError(
            f"device `{device}` needs {provider.name}, which this ONNX Runtime does not have "
            f"(it has {', '.join(available)}); `{provider.install}` in place of other onnxruntime packages brings it, "
            "or use `cpu`"
        )


def _create(model: bytes, device: Device, provider: Provider, num_threads: int) -> ort.InferenceSession:
    import onnxruntime as ort

    providers = [(provider.name, provider.options_for(device))]
    if provider.name != CPU_PROVIDER:
        providers.append((CPU_PROVIDER, {}))  # for single operators that the provider lacks
    try:
        # enable_fallback would try other providers by itself and print to stdout
        return ort.InferenceSession(model, _session_options(num_threads), providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's errors have no common base
        reason = _reason(error)
        if provider.name == CPU_PROVIDER:
            raise ModelError(f"ONNX Runtime cannot load the network: {reason}") from error
        raise DeviceError(f"device `{device}`: {provider.name} cannot load the network: {reason}") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _session_options(num_threads: int) -> ort.SessionOptions:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _SEVERITY_ERROR
    # spinning threads take the cores that decode the next images
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # bytes that pass for an ONNX file may also carry the mark of ONNX Runtime's own format, which nobody verified
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options


def _concrete(device: Device, provider: Provider) -> str:
    return str(device if device.ids or provider.options is None else Device(device.type, (0,)))


def _image_shape(session: ort.InferenceSession) -> Shape:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(uint8)" or len(inputs[0].shape) != 4:
        found = ", ".join(f"{i.name}: {i.type} {i.shape}" for i in inputs)
        raise ModelError(f"the network must have one input, uint8 [N, H, W, 3]; it has: {found}")
    return _dimensions(inputs[0].shape)


def _float_outputs(session: ort.InferenceSession) -> dict[str, Shape]:
    for output in session.get_outputs():
        if output.type != "tensor(float)":
            raise ModelError(f"the network's output `{output.name}` is {output.type}; it must be tensor(float)")
    return {output.name: _dimensions(output.shape) for output in session.get_outputs()}


def _dimensions(shape: Sequence[int | str | None]) -> Shape:
    return tuple(size if isinstance(size, int) else None for size in shape)
