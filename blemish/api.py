"""The calls of the Python interface, with PaddleX's names."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from blemish.config import choose_engine, load_pipeline_config
from blemish.demo import demo_model
from blemish.detectors import detector_class, list_models
from blemish.errors import UsageError, did_you_mean
from blemish.pipeline import Predictor, open_model

__all__ = ["create_model", "create_pipeline", "list_models"]

log = logging.getLogger("blemish")

# Other names of PaddleX's, and its options of engines that are not here.
_OTHER_NAMES = {"enable_hpi": "use_hpip", "hpi_params": "hpi_config"}
_WITHOUT_EFFECT = ("pp_option", "engine_config")
_KNOWN = (
    *("model_dir", "device", "batch_size", "false_alarm_rate", "threshold", "engine", "use_hpip", "hpi_config"),
    *(*_OTHER_NAMES, *_WITHOUT_EFFECT),
)


def create_pipeline(
    pipeline: str | Path | dict[str, Any] | None = None,
    *,
    config: dict[str, Any] | None = None,
    model_dir: str | Path | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    false_alarm_rate: float | None = None,
    threshold: float | None = None,
    engine: str | None = None,
    use_hpip: bool | None = None,
    hpi_config: dict[str, Any] | None = None,
    **others: Any,
) -> Predictor:
    """A pipeline by name (`anomaly_detection`), from a pipeline file in either of PaddleX's dialects, or from its data.

    Arguments win over the file. `engine` is `onnxruntime`, `openvino` or `tensorrt`; `use_hpip` chooses the fastest,
    within what `hpi_config` allows. Without any model, a demo model is used that knows only the generated sample.
    `predict` of the result takes a path, folder, URL, array, list or dict and yields one `Result` an image.
    """
    source = config if config is not None else pipeline
    if source is None:
        raise UsageError("create_pipeline needs a pipeline: the name anomaly_detection, a pipeline file, or its data")
    file = load_pipeline_config(source)
    given = _settled(others, "create_pipeline", use_hpip=use_hpip, hpi_config=hpi_config)
    folder = model_dir or file.model_dir
    if folder is None:
        detector_class(file.model_name)
        folder = demo_model()
    size = file.batch_size if batch_size is None else batch_size
    chosen = file.chosen_engine(engine, **given)
    return open_model(folder, device or file.device or "auto", size, false_alarm_rate, threshold, engine=chosen)


def create_model(
    model_name: str | Path,
    model_dir: str | Path | None = None,
    *,
    device: str | None = None,
    batch_size: int = 1,
    false_alarm_rate: float | None = None,
    threshold: float | None = None,
    engine: str | None = None,
    use_hpip: bool | None = None,
    hpi_config: dict[str, Any] | None = None,
    **others: Any,
) -> Predictor:
    """The fitted model in a folder; `model_name` is its detector's name, or the folder itself.

    Raises `UsageError` where the folder's model is by another detector, and for a name without a folder.
    """
    given = _settled(others, "create_model", use_hpip=use_hpip, hpi_config=hpi_config)
    chosen = choose_engine(engine, **given)
    is_path = isinstance(model_name, Path) or len(Path(model_name).parts) > 1 or Path(model_name).is_dir()
    if model_dir is None and is_path:
        return open_model(model_name, device or "auto", batch_size, false_alarm_rate, threshold, engine=chosen)
    card = detector_class(str(model_name)).card
    if model_dir is None:
        raise UsageError(f"{card.name} has to be fitted first: `blemish train DIR`, then pass model_dir=")
    predictor = open_model(model_dir, device or "auto", batch_size, false_alarm_rate, threshold, engine=chosen)
    if predictor.model_name != card.name:
        raise UsageError(f"the model in {model_dir} is by {predictor.model_name}, not {card.name}")
    return predictor


def _settled(others: dict[str, Any], where: str, **given: Any) -> dict[str, Any]:
    """`given` with PaddleX's other names for it; unknown arguments are refused, those without effect are told."""
    for name, value in others.items():
        if name in _OTHER_NAMES:
            if given[_OTHER_NAMES[name]] is None:
                given[_OTHER_NAMES[name]] = value
        elif name not in _WITHOUT_EFFECT:
            raise UsageError(f"{where} has no argument `{name}`.{did_you_mean(name, _KNOWN)}")
        elif value:
            log.warning("%s: `%s` has no effect: PaddleX's engines are not here", where, name)
    return given
