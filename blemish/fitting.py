"""From a folder of good images to a model folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from blemish.backbones import Backbone
from blemish.calibration import (
    Calibration,
    Groups,
    LeftOut,
    Sessions,
    cross_fitted,
    left_out,
    one_session_line,
    outlier_lines,
    outliers,
    scored_by,
    session_lines,
)
from blemish.calibration.holdout import ONE_PART, Holdout, find_holdouts, refuse_learned, with_holdouts
from blemish.calibration.sessions import name_apart
from blemish.config import RunConfig, dump_config, validate_section
from blemish.datasets import GoodImages, find_good_images
from blemish.detectors import Detector, Progress, Setting, detector_class
from blemish.detectors.patch_features import EMBEDDED, embeddings_of
from blemish.engines import Engine, open_engine
from blemish.errors import ModelError, UsageError
from blemish.framing import frame_of
from blemish.good_patches import cut_good_patches
from blemish.images import Frame, Scored, exif_times
from blemish.learning import identity, image_parts, image_sessions, learn, session_units, training_record, weight_file
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
    short_hash,
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
    """

    folder: Path
    output: Path
    lines: list[str]
    failed: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def fit(
    config: RunConfig, progress: Progress | None = None, good: GoodImages | None = None, *, keeps: bool = True
) -> FitReport:
    """Fit, calibrate and save the detector that a run file describes, from all good images or from those given.

    The good images in the folders of `Calibrate.holdout` are not learned, but scored.

    Writes `best_model/inference/`, `config.yaml`, `train_result.json` and `train.log` into `Global.output`. A model
    that is there works until the new one is finished; then it is kept as an earlier version, unless `keeps` is false.
    Raises `BlemishError` for anything a user can mend, before the long work wherever it can be known before.
    """
    if config.Global.dataset_dir is None:
        raise UsageError("Global.dataset_dir is missing: a folder of good images.")
    make_class = detector_class(config.Global.model)
    parameters = validate_section(make_class.Parameters, config.Model.detector_parameters(), "Model")
    holdouts = find_holdouts(config.Calibrate.holdout, config.Global.good)
    good = good or find_good_images(Path(config.Global.dataset_dir), config.Global.good, config.Calibrate.holdout)
    config = config.model_copy(update={"Model": config.Model.model_copy(update=parameters.model_dump())})
    weight_file(config)
    resume = _resumed(config, make_class)
    fixed_size = make_class.fixed_size(config.Model.backbone)
    output = Path(config.Global.output)
    check_place(output / "best_model" / "inference")
    with open_output(output, keeps=keeps) as place:
        clock = _Clock(progress)
        images, others = _read(config, good, holdouts, fixed_size, clock)
        sessions = image_sessions(config, images)
        several = sessions if sessions is not None and len(sessions.names) > 1 else None
        setting = _setting(config, images.frame)

        def make(setting: Setting = setting) -> Detector:
            return make_class(setting, parameters)

        record: dict[str, Any] = {}
        if resume is not None:
            refuse_other_training(resume, identity(config, images.hashes))
        place.begin(resume)
        weights: Callable[[Path], None] | None = None
        if make_class.learns:
            learned = learn(config, make, setting, images, clock, sessions=several)
            detector: Detector = learned.detector
            calibration = learned.calibration
            record, weights = training_record(config, learned, output), learned.detector.save_weights
        else:
            detector = make().fit(images.inputs, clock)
            calibration = _calibrate(config, detector, make, images, clock, sessions=several)
        model = detector.graph().SerializeToString()
        map_size = _check(model, images, config.Global.device)
        patches = cut_good_patches(detector, images.inputs, map_size, clock) if config.Model.good_patches else None
        parts, own = calibration.part_count, () if sessions is None else sessions.names[:1]
        found = [
            (name, _scored(config, open_engine(model, config.Global.device), setting, (name, held), clock))
            for name, held in others.items()
        ]
        calibration = _printable(with_holdouts(calibration, found, *own))
        info = _describe(config, detector, images, calibration, map_size, parts=parts)

        def save(result: dict[str, Any]) -> list[str]:
            return place.finish(model, info, patches, ({**result, **record}, dump_config(config), weights))

        return _report(config, images, others, calibration, parts=parts, seconds=clock.seconds(), save=save)


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
    config: RunConfig,
    good: GoodImages,
    holdouts: list[Holdout],
    fixed_size: tuple[int, int] | None,
    progress: Progress,
) -> tuple[TrainingImages, dict[str, TrainingImages]]:
    """The good images, and those of each held-out session, at the model's input size.

    A quarter of the memory budget may hold them.
    """
    frame = frame_of(config.Model, typical_sizes(good, config.Model.bit_depth), fixed_size)
    memory = config.Model.memory_bytes() // 4 // (1 + len(holdouts))
    total = sum(len(each.paths) for each in (good, *(one.good for one in holdouts)))

    def read(chosen: GoodImages, before: int) -> TrainingImages:
        def advance(done: int, _: int) -> None:
            progress("images", before + done, total)

        return TrainingImages(chosen, frame, config.Model.bit_depth, memory, advance)

    images, others, before = read(good, 0), {}, len(good.paths)
    for one in holdouts:
        others[one.name] = read(one.good, before)
        before += len(one.good.paths)
        refuse_learned(others[one.name], images)
    return images, others


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
    progress: Progress,
    *,
    sessions: Groups | None,
) -> Calibration:
    """From the scores of all images with their part, or their session, left out."""
    parts, units = session_units(config, sessions, image_parts(config, images, lambda: detector.embeddings))
    inputs = images.inputs
    found = left_out(detector, inputs, units, progress)
    found = found or cross_fitted(make, inputs, units, config.Global.device, progress)
    kind = "leave-one-part-out" if len(np.unique(parts)) > 1 else ONE_PART
    calibration = Calibration(found.scores, found.peaks, parts, config.Calibrate.false_alarm_rate, kind)
    if sessions is None:
        return calibration
    return replace(calibration, kind="leave-one-session-out", sessions=Sessions.of_learned(sessions))


def _scored(
    config: RunConfig, engine: Engine, setting: Setting, session: tuple[str, TrainingImages], progress: Progress
) -> Calibration:
    """What the finished model says of a held-out session, by its name and its images."""
    name, held = session

    def told(scored: Iterable[Scored]) -> Iterator[Scored]:
        for done, one in enumerate(scored, 1):
            progress("held-out sessions", done, len(held), name)
            yield one

    found = LeftOut.of(told(held.inputs.judged(scored_by(engine, held.inputs))))
    parts = image_parts(config, held, lambda: embeddings_of(held.inputs, EMBEDDED, setting))
    return Calibration(found.scores, found.peaks, parts, config.Calibrate.false_alarm_rate)


def _printable(calibration: Calibration) -> Calibration:
    """With names of sessions as `model.json` takes them."""
    sessions, names = calibration.sessions, list[str]()
    if sessions is None:
        return calibration
    for name in sessions.names:
        names.append(name_apart(printable(name), names))
    return replace(calibration, sessions=replace(sessions, names=tuple(names)))


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
    *,
    parts: int,
) -> ModelInfo:
    backbone, described = detector.backbone, InputInfo.of(images.frame, config.Model.bit_depth)
    calibrated = CalibrationInfo(**calibration.to_json())
    return ModelInfo(
        format_version=max(described.least_version, calibrated.least_version),
        detector=DetectorInfo(name=detector.card.name, parameters=_parameters(config, detector)),
        input=described,
        output=OutputInfo(map_height=map_size[0], map_width=map_size[1]),
        backbone=None if backbone is None else _backbone_info(backbone),
        calibration=calibrated,
        data=DataInfo(
            images=len(images),
            parts=parts,
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
    others: dict[str, TrainingImages],
    calibration: Calibration,
    *,
    parts: int,
    seconds: dict[str, float],
    save: Callable[[dict[str, Any]], list[str]],
) -> FitReport:
    """Save the model with what is to be said of it."""
    output = Path(config.Global.output)
    names = [*images.names, *(f"{session}/{name}" for session, held in others.items() for name in held.names)]
    failed = [*images.failed, *(line for held in others.values() for line in held.failed)]
    sessions = [*_left_of_holdouts(others), *session_lines(calibration)]
    if not sessions and calibration.part_count > 1:
        sessions = [one_session_line(partial(exif_times, images.files))]
    lines = [*filter(None, [images.learned]), calibration.statement(), *sessions]
    oddest = _oddest(names, calibration)
    if oddest:
        shown = ", ".join(f"{name} ({score:.1f})" for name, score in oddest[:SHOWN])
        lines.append(
            f"The oddest of them, on which the threshold of {calibration.threshold():.1f} hangs: {shown}. "
            "Look at them: a defect among the good images hides others like it."
        )
    lines += outlier_lines(names, calibration)
    unused = images.span and images.span.unused()
    if unused:
        lines.append(unused)
    if failed:
        count = len(failed)
        lines.append(f"{count} {'image was' if count == 1 else 'images were'} left out: not readable; see train.log.")
    result = {
        "done_flag": True,
        "model_name": config.Global.model,
        "config": "config.yaml",
        "train_log": "train.log",
        "models": {"best": {"inference": "best_model/inference"}},
        "images": len(images),
        "parts": parts,
        "false_alarm_rate": calibration.false_alarm_rate,
        "threshold": calibration.threshold(),
        "learned": images.learned,
        "statement": calibration.statement(),
        "sessions": sessions,
        "oddest": [{"name": name, "score": score} for name, score in oddest],
        "outliers": outliers(names, calibration),
        "failed": failed,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
    }
    lines += save(result)
    for line in lines:
        log.info(line)
    return FitReport(output / "best_model" / "inference", output, lines, failed, seconds)


def _left_of_holdouts(others: dict[str, TrainingImages]) -> list[str]:
    """What lies in the folders of held-out sessions and was not taken for a good image."""
    found = {name: held.learned.partition("; left out: ")[2] for name, held in others.items()}
    return [f"Session {name}: left out of its folder: {left}." for name, left in found.items() if left]


def _oddest(names: list[str], calibration: Calibration) -> list[tuple[str, float]]:
    """Names and scores of the good images with the highest ones; none where only some were held out."""
    if len(calibration.scores) != len(names):
        return []
    return [(names[i], float(calibration.scores[i])) for i in np.argsort(-calibration.scores)[:ODDEST]]


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
