"""OpenVINO as an engine: Intel's processors, graphics and NPUs, and any x86-64 or ARM CPU.

Images are computed one by one, whatever the batch: the network is compiled once, for one image. On a CPU the values of
a batch leave the cache, and a network that is compiled for any batch is slower with a single image too (`dev/LOG.md`);
an NPU takes no other.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from blemish.engines.devices import OPENVINO_DEVICES, Device
from blemish.engines.shapes import Shape, check_images, check_outputs
from blemish.errors import DeviceError, ModelError, install_command

if TYPE_CHECKING:
    import openvino as ov

# OpenVINO's own default is bfloat16 where the processor has it, which moves scores.
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
_TELEMETRY = "openvino_telemetry"


class OpenVinoEngine:
    """A compiled network of OpenVINO as an `Engine`."""

    name = "openvino"

    def __init__(self, model: ov.Model, compiled: ov.CompiledModel, device: str, input_shape: Shape) -> None:
        self.device = device
        self.input_shape = input_shape
        self._output_shapes = {
            output.get_any_name(): _dimensions(output.get_partial_shape()) for output in model.outputs
        }
        self.outputs = tuple(self._output_shapes)
        self._request = compiled.create_infer_request()
        self._lock = Lock()  # a request computes one image at a time

    def run(self, image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """Outputs by name for a batch `(N, H, W, 3)`, uint8 RGB; `UsageError` for another dtype or shape.

        Raises `ModelError` where the network fails, or gives another shape than it declares.
        """
        check_images(image, self.input_shape)
        step = self.input_shape[0] or 1
        try:
            computed = [self._compute(image[start : start + step]) for start in range(0, len(image), step)]
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot compute the network: {_reason(error)}") from error
        if len({tuple(output.shape[1:] for output in outputs) for outputs in computed}) > 1:
            raise ModelError("the network gives outputs of several shapes")
        values = {name: np.concatenate([outputs[i] for outputs in computed]) for i, name in enumerate(self.outputs)}
        check_outputs(values, self._output_shapes, len(image))
        return values

    def _compute(self, image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        with self._lock:
            self._request.infer([np.ascontiguousarray(image)], share_inputs=True)
            return [self._request.get_output_tensor(i).data.copy() for i in range(len(self.outputs))]


def open_compiled(model: bytes, device: Device, num_threads: int, precision: str) -> OpenVinoEngine:
    """Compile a network with one uint8 image input and float32 outputs; errors as `open_engine`.

    Nothing is sent anywhere, and nothing is written to a cache.
    """
    ov = load_openvino()
    core = ov.Core()
    place = _place(core, device)
    network = _read(ov, model)
    input_shape = _image_shape(network)
    try:
        network.reshape([input_shape[0] or 1, *(-1 if size is None else size for size in input_shape[1:])])
        compiled = core.compile_model(network, place, _properties(place, num_threads, precision))
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot load the network: {_reason(error)}") from error
    computed = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if precision not in ("fp32", computed):
        # it takes another without a word where the processor lacks what was asked for
        raise DeviceError(f"device `{device}`: it has no {precision}, OpenVINO would compute in {computed}; use fp32")
    return OpenVinoEngine(network, compiled, str(_concrete(device)), input_shape)


def load_openvino() -> Any:
    """The library, without its telemetry; `DeviceError` where it is missing. Nothing else may import it."""
    try:
        with _without_telemetry():
            import openvino
    except ImportError as error:
        raise DeviceError(f"the engine openvino needs OpenVINO ({error}): {install_command('openvino')}") from None
    return openvino


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Importing OpenVINO reports to its makers and writes files into the home folder, unless this module is missing."""
    if _TELEMETRY in sys.modules:
        yield
        return
    absent: Any = None
    sys.modules[_TELEMETRY] = absent
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]


def _place(core: ov.Core, device: Device) -> str:
    """OpenVINO's name of the device; `DeviceError` where it is not there. `auto` is the CPU."""
    kind = "cpu" if device.type == "auto" else device.type
    if kind not in OPENVINO_DEVICES:
        known = ", ".join(OPENVINO_DEVICES)
        raise DeviceError(f"device `{device}`: OpenVINO runs on {known}; for {kind} leave out the engine")
    name, available = OPENVINO_DEVICES[kind], core.available_devices
    place = f"{name}.{device.ids[0]}" if device.ids else name
    if not {place, place.removesuffix(".0")} & {*available, *(found.partition(".")[0] for found in available)}:
        raise DeviceError(
            f"device `{device}`: OpenVINO sees no {place} here (it sees {', '.join(available)}); install the driver of "
            "the device, or use `cpu`"
        )
    return place


def _read(ov: Any, model: bytes) -> ov.Model:
    """The network, read as ONNX and nothing else, whatever its bytes look like."""
    try:
        reader = ov.frontend.FrontEndManager().load_by_framework("onnx")
        return reader.convert(reader.load(io.BytesIO(model)))
    except Exception as error:  # OpenVINO's front end has errors of several kinds
        raise ModelError(f"OpenVINO cannot load the network: {_reason(error)}") from error


def _properties(place: str, num_threads: int, precision: str) -> dict[str, Any]:
    properties = {"INFERENCE_PRECISION_HINT": _PRECISIONS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if place != "CPU":
        return properties
    # pinned threads would take the cores of whatever decodes the next images, and of other engines
    return {**properties, "INFERENCE_NUM_THREADS": num_threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}


def _concrete(device: Device) -> Device:
    if device.type == "auto":
        return Device("cpu")
    return Device(device.type, device.ids or (0,)) if device.type == "intel_gpu" else device


def _image_shape(model: ov.Model) -> Shape:
    found = ", ".join(f"{i.get_any_name()}: {i.get_element_type()} {i.get_partial_shape()}" for i in model.inputs)
    shape = _dimensions(model.inputs[0].get_partial_shape()) if len(model.inputs) == 1 else ()
    if len(shape) != 4 or model.inputs[0].get_element_type().get_type_name() != "u8":
        raise ModelError(f"the network must have one input, uint8 [N, H, W, 3]; it has: {found}")
    for output in model.outputs:
        if output.get_element_type().get_type_name() != "f32":
            raise ModelError(
                f"the network's output `{output.get_any_name()}` is {output.get_element_type()}; it must be float32"
            )
    return shape


def _dimensions(shape: Any) -> Shape:
    if shape.rank.is_dynamic:
        return ()
    return tuple(None if size.is_dynamic else size.get_length() for size in shape)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
