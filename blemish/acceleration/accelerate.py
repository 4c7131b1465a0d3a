"""From a model and an `hpi_config` to engines that are ready, and the line that says which and why."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from blemish.acceleration.choice import REFERENCE, choose
from blemish.acceleration.recalibrate import ENGINE_OF, recalibrated
from blemish.acceleration.timing import median_times, probe_images
from blemish.config import HpiConfig
from blemish.engines import Device, Engine, engines_for, parse_device
from blemish.engines.devices import OPENVINO_DEVICES, needs_openvino
from blemish.errors import UsageError
from blemish.models import LoadedModel

log = logging.getLogger("blemish")


@dataclass(frozen=True)
class Accelerated:
    """The model, with the calibration that belongs to its precision, and the engines that run it."""

    model: LoadedModel
    engines: Sequence[Engine]


def accelerate(model: LoadedModel, device: str, hpi: HpiConfig, say: Callable[[str], None] = log.info) -> Accelerated:
    """Open a model the fastest way that `hpi` allows; `say` gets a line on what was chosen, with the times.

    At fp32 every engine that is considered must agree with float32 ONNX Runtime. Below it, the model is calibrated
    again. Raises `DeviceError` for an engine that is not there, `UsageError` for choices that exclude each other, and
    `ModelError` for a precision that does harm.
    """
    if hpi.precision != "fp32":
        return _lower_precision(model, parse_device(device), hpi, say)
    names = [hpi.backend] if hpi.backend != "auto" else _installed(parse_device(device))
    choice, engines = choose(model, names, device, hpi.num_threads)
    for line in choice.dropped:
        say(f"Not used: {line}.")
    times = ", ".join(f"{name} {ms:.1f} ms" for name, ms in sorted(choice.times.items(), key=lambda item: item[1]))
    source = " (remembered)" if choice.remembered else ""
    say(f"High-performance inference: {choice.name} at fp32 on {engines[0].device}; an image takes {times}{source}.")
    return Accelerated(model, engines)


def _installed(device: Device) -> list[str]:
    """The engines that are installed and may serve the device."""
    if needs_openvino(device):
        return ["openvino"]
    names = [REFERENCE]
    if device.type in ("auto", *OPENVINO_DEVICES) and find_spec("openvino") is not None:
        names.append("openvino")
    if device.type in ("auto", "gpu") and _has_tensorrt():
        names.append("tensorrt")
    return names


def _has_tensorrt() -> bool:
    import onnxruntime as ort

    return "TensorrtExecutionProvider" in ort.get_available_providers()


def _lower_precision(model: LoadedModel, device: Device, hpi: HpiConfig, say: Callable[[str], None]) -> Accelerated:
    engine = ENGINE_OF[hpi.precision]
    if hpi.backend not in ("auto", engine):
        raise UsageError(f"{hpi.precision} is computed by {engine}, not by {hpi.backend}; leave out the backend")
    if device.type not in ("auto", "cpu"):
        raise UsageError(f"{hpi.precision} is for the CPU and its calibration holds there; device is `{device}`")
    # Before the long work: is the engine there?
    reference = engines_for(model.model, "cpu", num_threads=hpi.num_threads, name=engine)[0]
    lower = recalibrated(model, hpi, say)
    precision = "bf16" if hpi.precision == "bf16" else "fp32"  # int8 is in the network
    engines = engines_for(lower.model, "cpu", num_threads=hpi.num_threads, name=engine, precision=precision)
    images = probe_images(model.info.input.height, model.info.input.width)
    times = median_times({"fp32": reference, hpi.precision: engines[0]}, images, 1.0)
    shown = ", ".join(f"{name} {ms:.1f} ms" for name, ms in times.items())
    say(f"High-performance inference: {engine} at {hpi.precision} on cpu; an image takes {shown} with {engine}.")
    return Accelerated(lower, engines)
