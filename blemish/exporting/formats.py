"""Formats of a network: ONNX as the model folder has it, OpenVINO's, and that of ONNX Runtime's small builds."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.datasets.sample.generate import render_part
from blemish.engines.openvino import load_openvino
from blemish.errors import ModelError, UsageError, install_command
from blemish.exporting.onnx_runtime import required_operators, save_optimised
from blemish.models import LoadedModel, describe_export, save_model
from blemish.training.export import check_parity

Run = Callable[[npt.NDArray[np.uint8]], dict[str, npt.NDArray[np.float32]]]  # (n, H, W, 3) -> outputs by name

SAMPLES = 2  # images on which an export must give what the model gives
SMALLEST_SAMPLE = 64  # pixels; parts are drawn no smaller


def export_onnx(model: LoadedModel, folder: Path) -> Path:
    """A model folder, verified as every other: `model.onnx`, `model.json`, `inference.yml`."""
    return save_model(folder, model.model, model.info)


def export_openvino(model: LoadedModel, folder: Path) -> Path:
    """`model.xml` and `model.bin`, weights in float32, with `model.json`; needs `blemish[openvino]`."""
    if find_spec("openvino") is None:
        raise UsageError(f"the format openvino needs OpenVINO: {install_command('openvino')}")
    openvino = load_openvino()
    core = openvino.Core()
    try:
        openvino.save_model(core.read_model(model.model), folder / "model.xml", compress_to_fp16=False)
        exact = {"INFERENCE_PRECISION_HINT": "f32"}  # bfloat16, the default of newer processors, moves scores
        compiled = core.compile_model(folder / "model.xml", "CPU", exact)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot take the network: {' '.join(str(error).split())[:300]}") from error
    names = ("anomaly_map", "score")
    _check_same(model, lambda pixels: {name: compiled(pixels)[name] for name in names})
    return describe_export(folder, model.info)


def export_ort(model: LoadedModel, folder: Path) -> Path:
    """`model.ort` for builds of ONNX Runtime that hold only `required_operators.config`, with `model.json`."""
    import onnxruntime

    file, optimised = folder / "model.ort", folder / "optimised.onnx"
    save_optimised(model.model, file, "ORT")
    save_optimised(model.model, optimised, "ONNX")
    (folder / "required_operators.config").write_text(required_operators(optimised.read_bytes()), "utf-8")
    optimised.unlink()
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    _check_same(model, lambda pixels: dict(zip(names, session.run(names, {"image": pixels}), strict=True)))
    return describe_export(folder, model.info)


def _check_same(model: LoadedModel, run: Run) -> None:
    """Raise `ModelError` unless the export gives what the model gives, on drawn parts at the model's input size."""

    def results(pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        outputs = run(pixels)
        return outputs["anomaly_map"], outputs["score"]

    height, width = model.info.input.height, model.info.input.width
    side = max(height, width, SMALLEST_SAMPLE)
    images = [render_part(np.random.default_rng(seed), side)[:height, :width] for seed in range(SAMPLES)]
    check_parity(model.model, images, results)
