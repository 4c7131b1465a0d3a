"""The pipeline file, in PaddleX's two dialects: `Pipeline.model` (2024), `SubModules.AnomalyDetection` (3.0 on)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field

from blemish.config.hpi import HpiConfig, choose_engine
from blemish.config.run_file import packaged_configs
from blemish.config.sections import Section, Text
from blemish.config.validation import validate_section
from blemish.config.yaml_text import read_yaml
from blemish.errors import UsageError, did_you_mean

PIPELINES = Path(str(files("blemish.configs"))) / "pipelines"
# Keys of PaddleX that choose among its engines or belong to its service: read, and said to have no effect.
_WITHOUT_EFFECT = ("engine_config", "pp_option")

log = logging.getLogger("blemish")


@dataclass(frozen=True)
class PipelineConfig:
    """What a pipeline file says; `None` where it says nothing."""

    model_name: str = "PatchCore"
    model_dir: str | None = None
    batch_size: int = 1
    device: str | None = None
    use_hpip: bool = False
    hpi_config: dict[str, Any] | None = None
    engine: str | None = None
    visualize: bool = True

    def chosen_engine(
        self,
        engine: str | None = None,
        use_hpip: bool | None = None,
        hpi_config: dict[str, Any] | str | None = None,
    ) -> str | HpiConfig | None:
        """What these arguments, and the file where they say nothing, choose: an engine's name, or how to choose."""
        use = self.use_hpip if use_hpip is None else use_hpip
        return choose_engine(engine or self.engine, use, self.hpi_config if hpi_config is None else hpi_config)


class _Serving(Section):
    """PaddleX's settings of its service; results are answered in the request, so that there are no URLs of them."""

    visualize: bool | None = None
    return_urls: bool | None = None
    extra: dict[str, Any] | None = None


class _Engine(Section):
    use_hpip: bool | None = None
    hpi_config: dict[str, Any] | None = None
    engine: Text | None = None
    engine_config: dict[str, Any] | None = None


class _SubModule(_Engine):
    module_name: Text = "anomaly_detection"
    model_name: Text = "PatchCore"
    model_dir: Text | None = None
    batch_size: int = Field(default=1, ge=1)


class _SubModules(Section):
    AnomalyDetection: _SubModule


class _NewFile(_Engine):
    pipeline_name: Text
    SubModules: _SubModules
    device: Text | None = None
    Serving: _Serving = Field(default_factory=_Serving)


class _OldGlobal(Section):
    pipeline_name: Text
    input: Text | None = None


class _OldPipeline(Section):
    model: Text = "PatchCore"
    batch_size: int = Field(default=1, ge=1)
    device: Text | None = None
    pp_option: dict[str, Any] | None = None
    use_hpip: bool = False
    hpi_params: dict[str, Any] | None = None


class _OldFile(Section):
    Global: _OldGlobal
    Pipeline: _OldPipeline
    Serving: _Serving = Field(default_factory=_Serving)


def load_pipeline_config(pipeline: str | Path | dict[str, Any]) -> PipelineConfig:
    """The pipeline of a packaged name (`anomaly_detection`), a YAML file or such a file's data, in either dialect.

    Raises `UsageError` for an unknown pipeline or key, with the closest known one.
    """
    data = pipeline if isinstance(pipeline, dict) else read_yaml(find_pipeline(pipeline))
    if "Pipeline" in data:
        return _from_old(validate_section(_OldFile, data, ""))
    if "SubModules" in data or "pipeline_name" in data:
        return _from_new(validate_section(_NewFile, data, ""))
    source = "The configuration" if isinstance(pipeline, dict) else str(pipeline)
    raise UsageError(f"{source} is no pipeline file: it has neither `SubModules` nor `Pipeline`.")


def find_pipeline(name_or_path: str | Path) -> Path:
    """The file of a packaged pipeline's name, or the path itself where it ends in .yaml or .yml."""
    path = Path(name_or_path).expanduser()
    if path.suffix in (".yaml", ".yml"):
        return path
    _check_name(str(name_or_path))
    return PIPELINES / f"{name_or_path}.yaml"


def _check_name(name: str) -> None:
    known = sorted(path.stem for path in PIPELINES.glob("*.yaml"))
    if name not in known:
        raise UsageError(f"Unknown pipeline {name}; there is {', '.join(known)}.{did_you_mean(name, known)}")


def _from_new(file: _NewFile) -> PipelineConfig:
    _check_name(file.pipeline_name)
    module = file.SubModules.AnomalyDetection
    _warn(key for part in (file, module) for key in _WITHOUT_EFFECT if getattr(part, key, None) is not None)
    return PipelineConfig(
        model_name=module.model_name,
        model_dir=module.model_dir,
        batch_size=module.batch_size,
        device=file.device,
        use_hpip=bool(file.use_hpip if module.use_hpip is None else module.use_hpip),
        hpi_config=file.hpi_config if module.hpi_config is None else module.hpi_config,
        engine=module.engine or file.engine,
        visualize=file.Serving.visualize is not False,
    )


def _from_old(file: _OldFile) -> PipelineConfig:
    _check_name(file.Global.pipeline_name)
    pipeline = file.Pipeline
    _warn(key for key in _WITHOUT_EFFECT if getattr(pipeline, key, None) is not None)
    is_folder = _means_folder(pipeline.model)
    return PipelineConfig(
        model_name="PatchCore" if is_folder else pipeline.model,
        model_dir=pipeline.model if is_folder else None,
        batch_size=pipeline.batch_size,
        device=pipeline.device,
        use_hpip=pipeline.use_hpip,
        hpi_config=pipeline.hpi_params,
        visualize=file.Serving.visualize is not False,
    )


def _means_folder(model: str) -> bool:
    """Whether `Pipeline.model` is a folder: a detector's name never is, even if the working folder holds one."""
    if "/" in model or "\\" in model:
        return True
    return model not in packaged_configs() and Path(model).is_dir()


def _warn(keys: Iterator[str]) -> None:
    for key in sorted(set(keys)):
        log.warning("The pipeline file's `%s` has no effect here.", key)
