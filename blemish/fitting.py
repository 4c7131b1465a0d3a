"""From a folder of good images to a model folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from blemish.backbones import Backbone
from blemish.calibration import Calibration, cross_fitted, left_out, outlier_lines, outliers
from blemish.config import RunConfig, dump_config, validate_section
from blemish.datasets import GoodImages, find_good_images
from blemish.detectors import Detector, Progress, Setting, detector_class
from blemish.engines import open_engine
from blemish.errors import ModelError, UsageError
from blemish.framing import frame_of
from blemish.good_patches import cut_good_patches
from blemish.images import Frame
from blemish.learning import image_parts, learn, weight_file, write_records, write_train_results
from blemish.models import (
    BackboneInfo,
    CalibrationInfo,
    DataInfo,
    DetectorInfo,
    InputInfo,
    ModelInfo,
    OutputInfo,
    check_place,
    data_fingerprint,
    printable,
    save_model,
    short_hash,
)
from blemish.training_images import TrainingImages, typical_sizes

log = logging.getLogger("blemish")

RESULT = "train_result.json"
ODDEST, SHOWN = 20, 3  # good images with the highest scores: in the result file, and told


@dataclass(frozen=True)
class FitReport:
    """What a fit has made.

    Attributes:
        folder: the model folder.
        output: the run's folder around it.
        lines: what a person should know of the calibration, a sentence or two a line.
        failed: one line for each image that could not be read and was left out.
        seconds: wall time of each stage.
    """

    folder: Path
    output: Path
    lines: list[str]
    failed: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def fit(config: RunConfig, progress: Progress | None = None, good: GoodImages | None = None) -> FitReport:
    """Fit, calibrate and save the detector that a run file describes, from all good images or from those given.

    Writes `best_model/inference/`, `config.yaml`, `train_result.json` and `train.log` into `Global.output`.
    `train_result.json` is removed first and written last: where it is, the fit ran to its end.
    Raises `BlemishError` for anything a user can mend, before the long work wherever it can be known before.
    """
    if config.Global.dataset_dir is None:
        raise UsageError("Global.dataset_dir is missing: a folder of good images.")
    make_class = detector_class(config.Global.model)
    parameters = validate_section(make_class.Parameters, config.Model.detector_parameters(), "Model")
    good = good or find_good_images(Path(config.Global.dataset_dir), config.Global.good)
    config = config.model_copy(update={"Model": config.Model.model_copy(update=parameters.model_dump())})
    weight_file(config)
    fixed_size = make_class.fixed_size(config.Model.backbone)
    output = Path(config.Global.output)
    folder = output / "best_model" / "inference"
    check_place(folder)
    with _log_file(output, going_on=config.Train.resume_path is not None), _writing(output):
        clock = _Clock(progress)
        images = _read(config, good, fixed_size, clock)
        setting = _setting(config, images.frame)

        def make(setting: Setting = setting) -> Detector:
            return make_class(setting, parameters)

        record: dict[str, Any] = {"learned": good.learned}
        if make_class.learns:
            learned = learn(config, make, setting, images, clock)
            detector: Detector = learned.detector
            calibration = learned.calibration
            record |= write_records(config, learned, output)
        else:
            detector = make().fit(images.inputs, clock)
            calibration = _calibrate(config, detector, make, images, clock)
        model = detector.graph().SerializeToString()
        map_size = _check(model, images, config.Global.device)
        patches = cut_good_patches(detector, images.inputs, map_size, clock) if config.Model.good_patches else None
        save_model(folder, model, _describe(config, detector, images, calibration, map_size), patches)
        return _report(config, images, calibration, clock.seconds(), record)


def _read(
    config: RunConfig, good: GoodImages, fixed_size: tuple[int, int] | None, progress: Progress
) -> TrainingImages:
    """The good images at the model's input size; a quarter of the memory budget may hold them."""
    frame = frame_of(config.Model, typical_sizes(good, config.Model.bit_depth), fixed_size)
    memory = config.Model.memory_bytes() // 4

    def advance(done: int, total: int) -> None:
        progress("images", done, total)

    return TrainingImages(good, frame, config.Model.bit_depth, memory, advance)


def _setting(config: RunConfig, frame: Frame) -> Setting:
    return Setting(
        frame.tiling.width,
        frame.tiling.height,
        preset=config.Model.preset,
        backbone=config.Model.backbone,
        memory_budget=config.Model.memory_bytes(),
        seed=config.Global.seed,
        device=config.Global.device,
    )


def _calibrate(
    config: RunConfig, detector: Detector, make: Callable[[], Detector], images: TrainingImages, progress: Progress
) -> Calibration:
    parts = image_parts(config, images, lambda: detector.embeddings)
    inputs = images.inputs
    found = left_out(detector, inputs, parts, progress)
    found = found or cross_fitted(make, inputs, parts, config.Global.device, progress)
    kind = "leave-one-part-out" if len(np.unique(parts)) > 1 else "one part"
    return Calibration(found.scores, found.peaks, parts, config.Calibrate.false_alarm_rate, kind)


def _check(model: bytes, images: TrainingImages, device: str) -> tuple[int, int]:
    """Run the graph once; gives the size of its map (h, w)."""
    outputs = open_engine(model, device).run(next(iter(images.inputs))[None])
    if not all(np.isfinite(values).all() for values in outputs.values()):
        raise ModelError("the fitted model gives values that are not finite; this should not happen, please report it")
    height, width = outputs["anomaly_map"].shape[1:]
    return height, width


def _describe(
    config: RunConfig,
    detector: Detector,
    images: TrainingImages,
    calibration: Calibration,
    map_size: tuple[int, int],
) -> ModelInfo:
    backbone, described = detector.backbone, InputInfo.of(images.frame, config.Model.bit_depth)
    return ModelInfo(
        format_version=described.least_version,
        detector=DetectorInfo(name=detector.card.name, parameters=_parameters(config, detector)),
        input=described,
        output=OutputInfo(map_height=map_size[0], map_width=map_size[1]),
        backbone=None if backbone is None else _backbone_info(backbone),
        calibration=CalibrationInfo(**calibration.to_json()),
        data=DataInfo(
            images=len(images),
            parts=calibration.part_count,
            fingerprint=data_fingerprint(images.hashes),
            folder=printable(images.root.resolve().name),
            sizes=dict(images.sizes.most_common(100)),
            hashes=sorted(map(short_hash, images.hashes.values())),
        ),
    )


def _parameters(config: RunConfig, detector: Detector) -> dict[str, Any]:
    shared = {"preset": config.Model.preset, "seed": config.Global.seed}
    return {**shared, **detector.parameters.model_dump(mode="json")}


def _backbone_info(backbone: Backbone) -> BackboneInfo:
    return BackboneInfo(
        name=printable(Path(backbone.name).name),
        source=printable(backbone.source),
        sha256=backbone.sha256,
        licence=printable(backbone.licence),
        mean=list(backbone.mean),
        std=list(backbone.std),
        taps=[printable(tap.name) for tap in backbone.taps],
    )


def _report(
    config: RunConfig,
    images: TrainingImages,
    calibration: Calibration,
    seconds: dict[str, float],
    record: dict[str, Any],
) -> FitReport:
    output = Path(config.Global.output)
    lines = [*filter(None, [record["learned"]]), calibration.statement()]
    oddest = _oddest(images, calibration)
    if oddest:
        shown = ", ".join(f"{name} ({score:.1f})" for name, score in oddest[:SHOWN])
        lines.append(
            f"The oddest of them, on which the threshold of {calibration.threshold():.1f} hangs: {shown}. "
            "Look at them: a defect among the good images hides others like it."
        )
    lines += outlier_lines(images.names, calibration)
    unused = images.span and images.span.unused()
    if unused:
        lines.append(unused)
    if images.failed:
        count = len(images.failed)
        lines.append(f"{count} {'image was' if count == 1 else 'images were'} left out: not readable; see train.log.")
    result = {
        "done_flag": True,
        "model_name": config.Global.model,
        "config": "config.yaml",
        "train_log": "train.log",
        "models": {"best": {"inference": "best_model/inference"}},
        "images": len(images),
        "parts": calibration.part_count,
        "false_alarm_rate": calibration.false_alarm_rate,
        "threshold": calibration.threshold(),
        "statement": calibration.statement(),
        "oddest": [{"name": name, "score": score} for name, score in oddest],
        "outliers": outliers(images.names, calibration),
        "failed": images.failed,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        **record,
    }
    (output / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    write_train_results(output, result)
    for line in lines:
        log.info(line)
    return FitReport(output / "best_model" / "inference", output, lines, images.failed, seconds)


def _oddest(images: TrainingImages, calibration: Calibration) -> list[tuple[str, float]]:
    """Names and scores of the good images with the highest ones; none where only some were held out."""
    if len(calibration.scores) != len(images):
        return []
    return [(images.names[i], float(calibration.scores[i])) for i in np.argsort(-calibration.scores)[:ODDEST]]


class _Clock:
    """Passes progress on, and keeps the wall time of each stage."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._starts: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        if stage not in self._starts:
            log.info("%s", stage)
            self._starts[stage] = self._last  # a stage begins where the one before it ended
        self._last = time.perf_counter()
        if self._progress is not None:
            self._progress(stage, done, total, detail)

    def seconds(self) -> dict[str, float]:
        ends = [*list(self._starts.values())[1:], self._last]
        return {stage: end - start for (stage, start), end in zip(self._starts.items(), ends, strict=True)}


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """`UsageError` where a file stands in a folder's place, or where the disk refuses what the fit writes."""
    if (output / "best_model").is_file():
        raise UsageError(f"the output folder {output} cannot be written: best_model in it is a file")
    try:
        (output / RESULT).unlink(missing_ok=True)
        yield
    except OSError as error:
        raise UsageError(f"the output folder {output} cannot be written: {error.strerror}") from None


@contextmanager
def _log_file(output: Path, *, going_on: bool) -> Iterator[None]:
    """`train.log` for as long as the fit lasts; `UsageError` where the output folder cannot be written."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(output / "train.log", mode="a" if going_on else "w", encoding="utf-8")
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"the output folder {output} cannot be made: a file stands in its place") from None
    except OSError as error:
        raise UsageError(f"the output folder {output} cannot be written: {error.strerror}") from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.setLevel(min(level or logging.INFO, logging.INFO))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()
