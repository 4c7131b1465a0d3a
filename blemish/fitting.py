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
    ONE_PART,
    Calibration,
    FoundParts,
    Groups,
    LeftOut,
    NamePattern,
    Sessions,
    cross_fitted,
    guessed,
    left_out,
    linked,
    one_session_line,
    outlier_lines,
    outliers,
    part_lines,
    parts_from_names,
    scored_by,
    session_lines,
)
from blemish.calibration.holdout import Holdout, find_holdouts, refuse_learned, with_holdouts
from blemish.calibration.sessions import name_apart
from blemish.config import RunConfig, dump_config, validate_section
from blemish.datasets import GoodImages, find_good_images
from blemish.datasets.files import some
from blemish.detectors import Detector, Progress, Setting, detector_class
from blemish.detectors.patch_features import EMBEDDED, sketches_of
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
            calibration, parts = learned.calibration, learned.parts
            record, weights = training_record(config, learned, output), learned.detector.save_weights
        else:
            detector = make().fit(images.inputs, clock)
            calibration, parts = _calibrate(config, detector, make, images, clock, sessions=several)
        model = detector.graph().SerializeToString()
        engine = open_engine(model, config.Global.device)
        map_size = _check(engine, images)
        patches = cut_good_patches(detector, images.inputs, map_size, clock) if config.Model.good_patches else None
        scored = {name: _scored(config, engine, setting, (name, held), clock) for name, held in others.items()}
        learned_parts, own = calibration.part_count, () if sessions is None else sessions.names[:1]
        held_out = [(name, found) for name, (found, _) in scored.items()]
        calibration = _printable(with_holdouts(calibration, held_out, *own))
        info = _describe(config, detector, images, calibration, map_size, parts=learned_parts)
        try_network(engine, info)

        def save(result: dict[str, Any]) -> list[str]:
            return place.finish(model, info, patches, ({**result, **record}, dump_config(config), weights))

        seen = [_Session(None, images, parts)]
        seen += [_Session(name, held, scored[name][1]) for name, held in others.items()]
        return _report(config, seen, calibration, clock.seconds(), save, parts=learned_parts)


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


@dataclass(frozen=True, eq=False)
class _Session:
    """Good images and the parts that they show; `name` is that of a held-out session, None for what is learned."""

    name: str | None
    images: TrainingImages
    parts: FoundParts

    @property
    def names(self) -> list[str]:
        """Of the images, those of a held-out session with its name before them."""
        return [name if self.name is None else f"{self.name}/{name}" for name in self.images.names]

    def lines(self) -> list[str]:
        """What a person should know of the parts."""
        before = "" if self.name is None else f"Session {self.name}: "
        return [f"{before}{line}" for line in part_lines(self.names, self.parts)]

    def known_parts(self, learned: TrainingImages, group_by: str | None) -> list[str]:
        """Parts of a held-out session that are called as learned ones are."""
        if self.name is None or group_by is None:
            return []
        pattern = NamePattern(group_by)
        known = {pattern.find(name) for name in learned.names}
        both = list(dict.fromkeys(part for name in self.images.names if (part := pattern.find(name)) in known and part))
        if not both:
            return []
        return [
            f"Session {self.name}: {len(both)} of its parts are called as learned ones are: {some(both)}. If they are "
            "the same parts, they are not new to the model and the threshold is too low: remove them from one of both."
        ]


def _report(
    config: RunConfig,
    seen: list[_Session],
    calibration: Calibration,
    seconds: dict[str, float],
    save: Callable[[dict[str, Any]], list[str]],
    *,
    parts: int,
) -> FitReport:
    """Save the model with what is to be said of it."""
    output, images = Path(config.Global.output), seen[0].images
    names = [name for each in seen for name in each.names]
    failed = [line for each in seen for line in each.images.failed]
    sessions = [*_left_of_holdouts(seen), *session_lines(calibration)]
    if not sessions and calibration.is_calibrated:
        sessions = [one_session_line(partial(exif_times, images.files))]
    lines = [*filter(None, [images.learned]), calibration.statement(), *sessions]
    oddest = _oddest(names, calibration)
    if oddest:
        shown = ", ".join(f"{name} ({score:.1f})" for name, score in oddest[:SHOWN])
        lines.append(
            f"The oddest of them, on which the threshold of {calibration.threshold():.1f} hangs: {shown}. "
            "Look at them: a defect among the good images hides others like it."
        )
    for each in seen:
        lines += [*each.lines(), *each.known_parts(images, config.Calibrate.group_by)]
    if calibration.is_calibrated and calibration.has_several_images and calibration.group_by is None:
        lines.append(
            "Verdicts of parts need a pattern that finds the part in the names of images: "
            "`blemish predict MODEL INPUT --group-by PATTERN`."
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
        "linked": [group for each in seen if not each.parts.told for group in linked(each.names, each.parts.parts)],
        "false_alarm_rate": calibration.stated_rate,
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


def _left_of_holdouts(seen: list[_Session]) -> list[str]:
    """What lies in the folders of held-out sessions and was not taken for a good image."""
    found = {each.name: each.images.learned.partition("; left out: ")[2] for each in seen if each.name is not None}
    return [f"Session {name}: left out of its folder: {left}." for name, left in found.items() if left]


def _oddest(names: list[str], calibration: Calibration) -> list[tuple[str, float]]:
    """Names and scores of the good images with the highest ones; none where only some were held out, or none was."""
    if len(calibration.scores) != len(names) or not calibration.is_calibrated:
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
