"""From a folder of good images to a model folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from blemish.backbones import EMBEDDED, Backbone, chosen_backbone
from blemish.calibration import (
    ONE_PART,
    Calibration,
    FoundParts,
    Groups,
    LeftOut,
    Sessions,
    apart_by,
    cross_fitted,
    guessed,
    left_out,
    parts_from_names,
    scored_by,
)
from blemish.calibration.holdout import (
    Holdout,
    apart_with_holdouts,
    find_holdouts,
    named_apart,
    refuse_learned,
    with_holdouts,
)
from blemish.calibration.sessions import name_apart
from blemish.config import RunConfig, dump_config, validate_section
from blemish.datasets import GoodImages, find_good_images
from blemish.detectors import Detector, Progress, Setting, detector_class
from blemish.detectors.patch_features import sketches_of
from blemish.engines import Engine, open_engine
from blemish.errors import ModelError, UsageError
from blemish.fit_report import FitReport, SeenImages, report_fit
from blemish.framing import check_sides, frame_of
from blemish.good_patches import cut_good_patches
from blemish.images import Frame, Scored, Sides
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
    listed_hashes,
    output_fault,
    printable,
    short_hash,
    try_network,
)
from blemish.run_output import open_output
from blemish.training.checkpoints import checkpoint_folder, refuse_other_training
from blemish.training_images import TrainingImages, typical_sizes

log = logging.getLogger("blemish")

__all__ = ["FitReport", "fit"]


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
    good = good or find_good_images(
        Path(config.Global.dataset_dir), config.Global.good, config.Global.leave_out, without=config.Calibrate.holdout
    )
    config = config.model_copy(update={"Model": config.Model.model_copy(update=parameters.model_dump())})
    weight_file(config)
    resume = _resumed(config, make_class)
    sides = _sides(config, make_class)
    output = Path(config.Global.output)
    check_place(output / "best_model" / "inference")
    with open_output(output, keeps=keeps) as place:
        clock = _Clock(progress)
        images, sessions, others = _read(config, good, holdouts, sides, clock)
        if config.Calibrate.group_by is not None:
            for each in (images, *others.values()):
                parts_from_names(each.names, config.Calibrate.group_by)  # refused now, not after the training
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
            calibration, parts, apart = learned.calibration, learned.parts, learned.apart
            record, weights = training_record(config, learned, output), learned.detector.save_weights
        else:
            detector = _said(make()).fit(images.inputs, clock)
            calibration, parts = _calibrate(config, detector, make, images, clock, sessions=several)
            apart = apart_by(detector, images.inputs, calibration, config.Global.device, clock)
        model = detector.graph().SerializeToString()
        engine = open_engine(model, config.Global.device)
        map_size = _check(engine, images)
        patches = cut_good_patches(detector, images.inputs, map_size, clock) if config.Model.good_patches else None
        scored = {name: _scored(config, engine, setting, (name, held), clock) for name, held in others.items()}
        learned_parts, own = calibration.part_count, () if sessions is None else sessions.names[:1]
        held_out = [(name, found) for name, (found, _) in scored.items()]
        apart = apart_with_holdouts(apart, calibration, held_out, *own)
        calibration = _printable(with_holdouts(calibration, held_out, *own))
        info = _describe(config, detector, images, calibration, map_size, parts=learned_parts)
        try_network(engine, info)

        def save(result: dict[str, Any]) -> list[str]:
            return place.finish(model, info, patches, ({**result, **record}, dump_config(config), weights))

        seen = [SeenImages(None, images, parts)]
        seen += [SeenImages(name, held, scored[name][1]) for name, held in others.items()]
        return report_fit(config, seen, (calibration, apart), clock.seconds(), save, parts=learned_parts)


def _sides(config: RunConfig, make_class: type[Detector]) -> Sides:
    """The inputs that the backbone takes; `UsageError` where another one is asked for."""
    sides = make_class.sides(chosen_backbone(config.Model))
    check_sides(config.Model, sides)
    return sides


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
    sides: Sides,
    progress: Progress,
) -> tuple[TrainingImages, Groups | None, dict[str, TrainingImages]]:
    """The good images, their sessions, and the images of each held-out session, at the model's input size.

    A quarter of the memory budget may hold them.
    """
    frame = frame_of(config.Model, typical_sizes(good, config.Model.bit_depth), sides)
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
    sessions = image_sessions(config, images)
    return images, sessions, named_apart(others, () if sessions is None else sessions.names)


def _setting(config: RunConfig, frame: Frame) -> Setting:
    return Setting(
        frame.tiling.width,
        frame.tiling.height,
        preset=config.Model.preset,
        backbone=chosen_backbone(config.Model),
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
) -> tuple[Calibration, FoundParts]:
    """From the scores of all images with their part, or their session, left out; and the parts that they show."""
    found = image_parts(config, images, lambda: detector.sketches)
    section, inputs, device = config.Calibrate, images.inputs, config.Global.device
    found, units = session_units(sessions, found, section.group_by)
    if len(np.unique(units)) == 1:
        judged = guessed(open_engine(detector.graph().SerializeToString(), device), inputs, progress)
        kind = ONE_PART
    else:
        judged = left_out(detector, inputs, units, progress) or cross_fitted(make, inputs, units, device, progress)
        kind = "leave-one-part-out" if sessions is None else "leave-one-session-out"
    calibration = Calibration(
        judged.scores,
        judged.peaks,
        found.parts,
        section.false_alarm_rate,
        kind,
        group_by=section.group_by,
        sessions=None if sessions is None else Sessions.of_learned(sessions),
    )
    return calibration, found


def _scored(
    config: RunConfig, engine: Engine, setting: Setting, session: tuple[str, TrainingImages], progress: Progress
) -> tuple[Calibration, FoundParts]:
    """What the finished model says of a held-out session, by its name and its images, and the parts that these show."""
    name, held = session

    def told(scored: Iterable[Scored]) -> Iterator[Scored]:
        for done, one in enumerate(scored, 1):
            progress("held-out sessions", done, len(held), name)
            yield one

    judged = LeftOut.of(told(held.inputs.judged(scored_by(engine, held.inputs))))
    found = image_parts(config, held, lambda: sketches_of(held.inputs, EMBEDDED, setting))
    rate, group_by = config.Calibrate.false_alarm_rate, config.Calibrate.group_by
    return Calibration(judged.scores, judged.peaks, found.parts, rate, group_by=group_by), found


def _printable(calibration: Calibration) -> Calibration:
    """With names of sessions as `model.json` takes them."""
    sessions, names = calibration.sessions, list[str]()
    if sessions is None:
        return calibration
    for name in sessions.names:
        names.append(name_apart(printable(name), names))
    return replace(calibration, sessions=replace(sessions, names=tuple(names)))


def _said(detector: Detector) -> Detector:
    """The detector, after a word on what had to be assumed of its backbone."""
    backbone = detector.backbone
    if backbone is not None and backbone.note:
        log.warning("backbone %s: %s", printable(backbone.name), printable(backbone.note))
    return detector


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
    *,
    parts: int,
) -> ModelInfo:
    backbone, described = detector.backbone, InputInfo.of(images.frame, config.Model.bit_depth)
    calibrated = CalibrationInfo.of(calibration)
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
            hashes=listed_hashes(map(short_hash, images.hashes.values())),
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
