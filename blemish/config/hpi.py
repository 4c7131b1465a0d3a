"""`hpi_config`: what high-performance inference may choose from, with PaddleX's own keys read beside ours."""

from __future__ import annotations

import logging
from typing import Any, Literal

from pydantic import Field

from blemish.config.sections import Section, Text
from blemish.config.validation import validate_section
from blemish.config.yaml_text import parse_yaml
from blemish.errors import UsageError

log = logging.getLogger("blemish")

# PaddleX's keys that concern engines which are not here.
_WITHOUT_EFFECT = (
    *("auto_config", "auto_paddle2onnx", "backend_config", "device_id", "device_type", "hpi_info", "model_name"),
)


class HpiConfig(Section):
    """How fast inference is chosen.

    Attributes:
        backend: the engine, or `auto` for the fastest that is installed.
        precision: of the arithmetic; below fp32 the model is calibrated again and refused where it suffers.
        num_threads: of the engine; none: the CPU cores that the process may use.
        good: a folder of good images to calibrate with again; none: the training images, where the run names them.
    """

    backend: Literal["auto", "onnxruntime", "openvino", "tensorrt"] = "auto"
    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    num_threads: int | None = Field(default=None, ge=1)
    good: Text | None = None


def read_hpi_config(data: dict[str, Any] | str | None) -> HpiConfig:
    """The record of an `hpi_config`: its data, or YAML or JSON text of it. Raises `UsageError` for an unknown key."""
    given = parse_yaml(data, "hpi_config") if isinstance(data, str) else data or {}
    if not isinstance(given, dict):
        raise UsageError(f"hpi_config is `{data}`; write it as {{backend: openvino, precision: fp32}}")
    for key in sorted(set(given) & set(_WITHOUT_EFFECT)):
        log.warning("hpi_config: PaddleX's `%s` has no effect here", key)
    return validate_section(HpiConfig, {k: v for k, v in given.items() if k not in _WITHOUT_EFFECT}, "hpi_config")


def choose_engine(
    engine: str | None, use_hpip: bool | None, hpi_config: dict[str, Any] | str | None
) -> str | HpiConfig | None:
    """An engine's name, how to choose one, or None for the device's own; PaddleX's `hpi` is `use_hpip`.

    `auto` as the engine is `use_hpip` too. PaddleX's other engines have no effect.
    """
    if use_hpip or engine in ("auto", "hpi"):
        hpi = read_hpi_config(hpi_config)
        return hpi.model_copy(update={"backend": engine}) if engine in _BACKENDS and hpi.backend == "auto" else hpi
    if hpi_config:
        log.warning("hpi_config has no effect without use_hpip")
    if engine is not None and engine.startswith(("paddle", "transformers")):
        log.warning("PaddleX's engine `%s` has no effect: models here are ONNX networks", engine)
        return None
    return engine


_BACKENDS = ("onnxruntime", "openvino", "tensorrt")
