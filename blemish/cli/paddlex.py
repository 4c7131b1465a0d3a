"""The PaddleX-style flags of the root command: `--pipeline ... --input ...` and `--get_pipeline_config ...`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from blemish.cli.logs import say
from blemish.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from blemish.config import HpiConfig
    from blemish.config.pipeline_config import PipelineConfig


@dataclass(frozen=True)
class Flags:
    """What stands on the command line without a verb."""

    pipeline: str | None = None
    inputs: list[str] = field(default_factory=list)
    model: str | None = None
    model_dir: str | None = None
    device: str | None = None
    save_path: Path | None = None
    get_pipeline_config: str | None = None
    use_hpip: bool = False
    hpi_config: str | None = None
    engine: str | None = None
    serve: bool = False
    host: str | None = None
    port: int | None = None

    def refuse_before_verb(self, verb: str) -> None:
        """The flags belong to the command without a verb; before a verb they would be lost without a word."""
        for name, value in vars(self).items():
            if value:
                flag = f"--{name.removesuffix('s') if name == 'inputs' else name}"
                raise UsageError(f"{flag} stands before `{verb}`; put it after the verb (blemish {verb} --help).")

    def run(self) -> int:
        """Write the pipeline's file, or predict; returns the exit code."""
        if self.get_pipeline_config is not None:
            return write_pipeline_config(self.get_pipeline_config, self.save_path or Path())
        if not self.serve and (self.host is not None or self.port is not None):
            raise UsageError("--host and --port are for --serve.")
        if not self.inputs and not self.serve:
            raise UsageError("--input is missing: an image, a folder or a URL.")
        if self.pipeline is None and self.model is None and self.model_dir is None:
            raise UsageError("--pipeline is missing: anomaly_detection, or a pipeline file.")
        return self._serve() if self.serve else self._predict()

    def _predict(self) -> int:
        from blemish.config import load_pipeline_config

        config = load_pipeline_config(self.pipeline or "anomaly_detection")
        from blemish.cli.results import report_results
        from blemish.pipeline import open_model

        engine, folder, device = self._chosen(config)
        predictor = open_model(folder, device, config.batch_size, engine=engine, say=say)
        return report_results(predictor, predictor.predict(list(self.inputs)), self.save_path, as_json=False)

    def _serve(self) -> int:
        from blemish.cli.verbs_serve import serve_pipeline
        from blemish.config import load_pipeline_config

        if self.inputs:
            raise UsageError("--serve takes its images from requests; leave out --input.")
        config = load_pipeline_config(self.pipeline or "anomaly_detection")
        engine, folder, device = self._chosen(config)
        serve_pipeline(folder, device=device, engine=engine, host=self.host, port=self.port, visualize=config.visualize)
        return 0

    def _chosen(self, config: PipelineConfig) -> tuple[str | HpiConfig | None, str, str]:
        """Engine, model folder and device: of the flags, else of the pipeline's file."""
        engine = config.chosen_engine(self.engine, self.use_hpip or None, self.hpi_config)
        folder = self._given_folder() or config.model_dir or _demo_folder(config.model_name)
        return engine, folder, self.device or config.device or "auto"

    def _given_folder(self) -> str | None:
        """The model folder on the command line; `--model` takes a detector's name too, which names no folder."""
        if self.model is None or _is_detector(self.model):
            return self.model_dir
        if Path(self.model).expanduser().is_dir():
            return self.model
        raise UsageError(f"--model {self.model} is neither a model folder nor a detector.{_detector_hint(self.model)}")


def write_pipeline_config(name: str, save_path: Path) -> int:
    """Write a packaged pipeline's file into a folder, or to a path that ends in .yaml; never asks, never overwrites."""
    from blemish.config import find_pipeline

    content = find_pipeline(name).read_bytes()
    target = save_path if save_path.suffix in (".yaml", ".yml") else save_path / f"{name}.yaml"
    if target.exists() and (not target.is_file() or target.read_bytes() != content):
        raise UsageError(f"{target} exists and is different; choose another place with --save_path.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    say(f"The pipeline's file is {target}.")
    return 0


def _demo_folder(model_name: str) -> str:
    """The demo model's folder, for a pipeline without a model; the demo says itself what it is good for."""
    if not _is_detector(model_name):
        raise UsageError(f"The pipeline's model {model_name} is no detector here.{_detector_hint(model_name)}")
    from blemish.demo import demo_model

    return str(demo_model(say))


def _is_detector(name: str) -> bool:
    return name.lower() in (known.lower() for known in _detectors())


def _detector_hint(name: str) -> str:
    return did_you_mean(name, _detectors()) or f" There is {', '.join(_detectors())}."


def _detectors() -> list[str]:
    from blemish.detectors import list_models

    return [card.name for card in list_models()]
