"""A training: from good images to a version of a model that the service holds ready."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.errors import UsageError
from blemish.service.jobs.data import Advance, check_inside, told_without_paths, with_settings
from blemish.service.jobs.kinds import Tell

if TYPE_CHECKING:
    from blemish.config import RunConfig
    from blemish.service.core import Service

_MOST_POINTS = 240  # of the curve of losses
_LOSS = re.compile(r"loss (\d[\d.e+-]*)")
# what the overrides may say; the rest is decided by the page, or names files of the server
_SECTIONS = ("Train", "Model", "Calibrate")
_KEYS = ("Global.seed", "Global.device", "Global.good", "Global.leave_out")
_NOT_FILES = ("Train.resume_path", "Train.pretrain_weight_path", "Model.backbone_weights")


def configure(parameters: Mapping[str, Any]) -> RunConfig:
    """The run file of a job; `UsageError` in one line where an override is wrong or would name a file."""
    from blemish.config import load_config, packaged_configs
    from blemish.detectors import check_settings

    overrides = [_checked(one) for one in parameters["overrides"]]
    detector = parameters["detector"]
    given = [
        f"Global.model={detector}",
        f"Model.preset={parameters['preset']}",
        f"Calibrate.false_alarm_rate={parameters['rate']}",
        f"Global.device={parameters['device']}",
    ]
    config = load_config(detector if detector in packaged_configs() else None, [*given, *overrides])
    config.Global.leave_out = [*config.Global.leave_out, *parameters.get("leave_out", ())]
    if isinstance(config.Model.roi, str) or isinstance(config.Model.ignore, str):
        raise UsageError("Model.roi and Model.ignore are polygons here, not files")
    if config.Calibrate.holdout:
        raise UsageError("Calibrate.holdout names folders, which cannot be given here; train with blemish train")
    if re.search(r"[/\\]|\.onnx$", config.Model.backbone):
        raise UsageError("Model.backbone is a name here, not a file")
    check_settings(detector, config.Model)
    return config


def run(parameters: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Train, or go on from the newest checkpoint; answers what the page says of it."""
    from blemish.models.run_folder import read_result

    output = Path(parameters["output"])
    with told_without_paths(parameters):
        tell(0.0, "starting")
        own = configure(parameters).Global
        check_inside(parameters, own.good, own.leave_out)
        if not read_result(output):  # else a process before this one was ended when all was done
            _fit(parameters, output, tell)
        return _summary(parameters, output)


def finish(service: Service, parameters: Mapping[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """Hold the model ready as a version of the chosen name; it answers where it is the name's first."""
    from blemish.service.models import put_to_use

    def take_up() -> dict[str, Any]:
        folder = service.shelf.adopt(Path(parameters["output"]) / "best_model" / "inference")
        version = put_to_use(service, parameters["name"], folder, activate=False)
        is_active = service.registry.model(parameters["name"]).active == version.id
        return {"version": version.id, "active": is_active}

    with told_without_paths(parameters):
        return result | service.change_and_wait(take_up)


def clear(parameters: Mapping[str, Any]) -> None:
    """The model lies on the shelf, or came to nothing."""
    shutil.rmtree(parameters["output"], ignore_errors=True)


def _checked(override: str) -> str:
    key = override.partition("=")[0].strip()
    is_known = key in _KEYS or key.partition(".")[0] in _SECTIONS
    if not is_known or key in _NOT_FILES:
        allowed = ", ".join([*(f"{section}.*" for section in _SECTIONS), *_KEYS])
        raise UsageError(f"{key or override}: here can be set {allowed}, but no files")
    return override


def _fit(parameters: Mapping[str, Any], output: Path, tell: Tell) -> None:
    from blemish.detectors import detector_class
    from blemish.fitting import fit
    from blemish.training.checkpoints import checkpoints

    config = configure(parameters)
    config.Global.dataset_dir, config.Global.output = parameters["folder"], str(output)
    advance = _Losses(tell)
    found = checkpoints(output) if detector_class(parameters["detector"]).learns else []
    if found:
        config.Train.resume_path = str(found[0])
        advance.recall(found[0])
    fit(config, advance)


def _summary(parameters: Mapping[str, Any], output: Path) -> dict[str, Any]:
    from blemish.models import load_model
    from blemish.models.run_folder import read_result

    inference = output / "best_model" / "inference"
    record, info = read_result(output), load_model(inference).info
    rate = record["false_alarm_rate"]
    return {
        "name": parameters["name"],
        "images": record["images"],
        "parts": record["parts"],
        "left_out": len(record["failed"]),
        "threshold": record["threshold"],
        "rate": rate,
        "supported_rate": None if rate is None else max(rate, info.calibration.loaded().best_rate),
        "learned": record["learned"],
        "statement": record["statement"],
        "sessions": [with_settings(line) for line in record["sessions"]],
        "width": info.input.width,
        "height": info.input.height,
        "bytes": sum(file.stat().st_size for file in inference.iterdir()),
        "seconds": sum(record["seconds"].values()),
        "oddest": [one["name"] for one in record["oddest"][:3]],
        "outliers": [{"name": name, "file": _file_of(name, parameters)} for name in record["outliers"]],
        "threshold_without_outliers": record["threshold_without_outliers"],
        "threshold_without_is_estimate": record["threshold_without_is_estimate"],
        "losses": [[int(step), loss] for step, loss in record.get("losses", {}).items()],
    }


def _file_of(name: str, parameters: Mapping[str, Any]) -> str:
    """The file of an image, which may be a page of it."""
    return name if Path(parameters["folder"], name).is_file() else name.rpartition("[")[0]


class _Losses(Advance):
    """Progress with the losses of a training by gradient so far, as pairs of iteration and loss."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(tell)
        self._points: list[tuple[int, float]] = []

    def recall(self, checkpoint: Path) -> None:
        """What a training had noted before it was interrupted."""
        losses = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))["losses"]
        self._points = [(int(step), float(loss)) for step, loss in losses.items()]

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """`detail` has the loss."""
        if loss := _LOSS.search(detail):
            self._points.append((done, float(loss[1])))
            if len(self._points) > _MOST_POINTS:
                self._points = self._points[1::2]
        self.so_far = {"losses": self._points} if self._points else None
        super().__call__(stage, done, total, detail)
