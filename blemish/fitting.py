"""From a folder of good images to a model folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.backbones import Backbone
from blemish.calibration import (
    ONE_PART,
    Apart,
    Calibration,
    FoundParts,
    apart_by,
    cross_fitted,
    guessed,
    left_out,
    linked,
    outlier_lines,
    part_lines,
)
from blemish.config import RunConfig, dump_config, validate_section
from blemish.datasets import GoodImages, find_good_images
from blemish.detectors import Detector, Progress, Setting, detector_class
from blemish.engines import Engine, open_engine
from blemish.errors import ModelError, UsageError
from blemish.framing import frame_of
from blemish.good_patches import cut_good_patches
from blemish.images import Frame
from blemish.learning import identity, image_parts, learn, training_record, weight_file
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
    output_fault,
    printable,
    short_hash,
    try_network,
)
from blemish.run_output import open_output
from blemish.training.checkpoints import checkpoint_folder, refuse_other_training
from blemish.training_images import TrainingImages, typical_sizes

log = logging.getLogger("blemish")

ODDEST, SHOWN = 20, 3  # good images with the highest scores: in the result file, and told


@dataclass(frozen=True)
class FitReport:
    """What a fit has made.

    Attributes:
        folder: the model folder.
        output: the run's folder around it.
        lines: what a person should know of the calibration and of a model before, a sentence or two a line.
        failed: one line for each image that could not be read and was left out.
        seconds: wall time of each stage.
        outliers: names of the good images that stand apart from the others, highest score first.
    """

    folder: Path
    output: Path
    lines: list[str]
    failed: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    outliers: list[str] = field(default_factory=list)


def fit(
    config: RunConfig, progress: Progress | None = None, good: GoodImages | None = None, *, keeps: bool = True
) -> FitReport:
    """Fit, calibrate and save the detector that a run file describes, from all good images or from those given.

    Writes `best_model/inference/`, `config.yaml`, `train_result.json` and `train.log` into `Global.output`. A model
    that is there works until the new one is finished; then it is kept as an earlier version, unless `keeps` is false.
    Raises `BlemishError` for anything a user can mend, before the long work wherever it can be known before.
    """
    if config.Global.dataset_dir is None:
        raise UsageError("Global.dataset_dir is missing: a folder of good images.")
    make_class = detector_class(config.Global.model)
    parameters = validate_section(make_class.Parameters, config.Model.detector_parameters(), "Model")
    good = good or find_good_images(Path(config.Global.dataset_dir), config.Global.good, config.Global.leave_out)
    config = config.model_copy(update={"Model": config.Model.model_copy(update=parameters.model_dump())})
    weight_file(config)
    resume = _resumed(config, make_class)
    fixed_size = make_class.fixed_size(config.Model.backbone)
    output = Path(config.Global.output)
    check_place(output / "best_model" / "inference")
    with open_output(output, keeps=keeps) as place:
        clock = _Clock(progress)
        images = _read(config, good, fixed_size, clock)
        setting = _setting(config, images.frame)

        def make(setting: Setting = setting) -> Detector:
            return make_class(setting, parameters)

        record: dict[str, Any] = {}
        if resume is not None:
            refuse_other_training(resume, identity(config, images.hashes))
        place.begin(resume)
        weights: Callable[[Path], None] | None = None
        if make_class.learns:
            learned = learn(config, make, setting, images, clock)
            detector: Detector = learned.detector
            calibration, parts, apart = learned.calibration, learned.parts, learned.apart
            record, weights = training_record(config, learned, output), learned.detector.save_weights
        else:
            detector = make().fit(images.inputs, clock)
            parts = image_parts(config, images, lambda: detector.sketches)
            calibration = _calibrate(config, detector, make, images, parts=parts.parts, progress=clock)
            apart = apart_by(detector, images.inputs, calibration, config.Global.device, clock)
        model = detector.graph().SerializeToString()
        engine = open_engine(model, config.Global.device)
        map_size = _check(engine, images)
        patches = cut_good_patches(detector, images.inputs, map_size, clock) if config.Model.good_patches else None
        info = _describe(config, detector, images, calibration, map_size)
        try_network(engine, info)

        def save(result: dict[str, Any]) -> list[str]:
            return place.finish(model, info, patches, ({**result, **record}, dump_config(config), weights))

        return _report(config, images, (calibration, parts, apart), clock.seconds(), save)


def _resumed(config: RunConfig, make_class: type[Detector]) -> Path | None:
    """The checkpoint to go on from, if any."""
    if config.Train.resume_path is None:
        return None
    if not make_class.learns:
        raise UsageError(
            f"Train.resume_path, --resume: {make_class.card.name} does not learn by gradient, so it has no checkpoints "
            "to go on from; start anew without it, or name the detector that was interrupted"
        )
    return checkpoint_folder(Path(config.Train.resume_path))


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
    config: RunConfig,
    detector: Detector,
    make: Callable[[], Detector],
    images: TrainingImages,
    *,
    parts: npt.NDArray[np.int64],
    progress: Progress,
) -> Calibration:
    inputs, device, rate = images.inputs, config.Global.device, config.Calibrate.false_alarm_rate
    if len(np.unique(parts)) == 1:
        guess = guessed(open_engine(detector.graph().SerializeToString(), device), inputs, progress)
        return Calibration(guess.scores, guess.peaks, parts, rate, ONE_PART)
    found = left_out(detector, inputs, parts, progress) or cross_fitted(make, inputs, parts, device, progress)
    return Calibration(found.scores, found.peaks, parts, rate, "leave-one-part-out")


def _check(engine: Engine, images: TrainingImages) -> tuple[int, int]:
    """Run the graph once; gives the size of its map (h, w)."""
    outputs = engine.run(next(iter(images.inputs))[None])
    fault = output_fault(outputs["score"], outputs["anomaly_map"])
    if fault is not None:
        raise ModelError(f"of a training image, {fault}; this should not happen, please report it")
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
    judged: tuple[Calibration, FoundParts, Apart],
    seconds: dict[str, float],
    save: Callable[[dict[str, Any]], list[str]],
) -> FitReport:
    """Save the model with what is to be said of it."""
    calibration, parts, apart = judged
    output = Path(config.Global.output)
    lines = [*filter(None, [images.learned]), calibration.statement()]
    oddest = _oddest(images, calibration)
    if oddest and not apart.odd.any():
        shown = ", ".join(f"{name} ({score:.1f})" for name, score in oddest[:SHOWN])
        lines.append(
            f"These images set the threshold ({calibration.threshold():.1f}): {shown}. "
            "Check that they show good parts. A defect among them would hide similar defects."
        )
    lines += part_lines(images.names, parts)
    lines += outlier_lines(images.names, calibration, apart, "train_result.json")
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
        "linked": [] if parts.told else linked(images.names, parts.parts),
        "false_alarm_rate": calibration.stated_rate,
        "threshold": calibration.threshold(),
        "learned": images.learned,
        "statement": calibration.statement(),
        "oddest": [{"name": name, "score": score} for name, score in oddest],
        "outliers": apart.names(images.names),
        "threshold_without_outliers": None if apart.rest is None else apart.rest.threshold(),
        "threshold_without_is_estimate": apart.rest is not None and not apart.is_exact,
        "left_out": images.left_out,
        "failed": images.failed,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
    }
    lines += save(result)
    for line in lines:
        log.info(line)
    folder = output / "best_model" / "inference"
    return FitReport(folder, output, lines, images.failed, seconds, apart.names(images.names))


def _oddest(images: TrainingImages, calibration: Calibration) -> list[tuple[str, float]]:
    """Names and scores of the good images with the highest ones; none where only some were held out, or none was."""
    if len(calibration.scores) != len(images) or not calibration.is_calibrated:
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
