"""Fitting a detector that learns by gradient: what it learns from, what is held out, what is kept of its training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from blemish.backbones import EMBEDDED
from blemish.calibration import (
    ONE_PART,
    Apart,
    Calibration,
    FoundParts,
    Groups,
    LeftOut,
    Sessions,
    cross_fitted,
    find_apart,
    find_parts,
    groups_by_time,
    groups_from_names,
    guessed,
    held_out_images,
    parts_from_names,
    scores_of,
    units_left_out,
)
from blemish.calibration.folds import FOLDS
from blemish.config import RunConfig
from blemish.datasets.files import file_hash
from blemish.detectors import Detector, Progress, Setting
from blemish.detectors.patch_features import sketches_of
from blemish.detectors.trained import Trained
from blemish.engines import open_engine
from blemish.engines.devices import parse_device
from blemish.errors import UsageError
from blemish.images import Inputs, exif_times, modification_times
from blemish.models import data_fingerprint
from blemish.training import Plan
from blemish.training.plan import new_run
from blemish.training_images import TrainingImages

Ints = npt.NDArray[np.int64]

log = logging.getLogger("blemish")

# Keys that may change when a training goes on: they decide where and how often, not what.
_FREE_KEYS = {
    *("Global.output", "Global.mode", "Global.dataset_dir", "Global.device"),
    *("Train.resume_path", "Train.log_interval", "Model.good_patches", "Calibrate.holdout"),
}
_FREE_SECTIONS = ("CheckDataset", "Evaluate", "Predict", "Export")


@dataclass(frozen=True)
class Learned:
    """A trained detector, the calibration of it, the parts that all images show, and the images that stand apart."""

    detector: Trained
    calibration: Calibration
    parts: FoundParts
    apart: Apart


def learn(
    config: RunConfig,
    make: Callable[[Setting], Detector],
    setting: Setting,
    images: TrainingImages,
    progress: Progress,
    *,
    sessions: Groups | None = None,
) -> Learned:
    """Train on all images but the held-out ones, which calibrate; with `Calibrate.folds` or sessions, train on all."""
    plan, inputs = plan_of(config, images), images.inputs
    if config.Calibrate.folds is not None or sessions is not None:
        _refuse_choice(plan, "Calibrate.folds" if sessions is None else "Calibrate.sessions")
    found = image_parts(config, images, lambda: sketches_of(inputs, EMBEDDED, setting))
    found, units = session_units(sessions, found, config.Calibrate.group_by)
    parts, settled = found.parts, replace(setting, plan=plan)
    section, device, count = config.Calibrate, config.Global.device, len(np.unique(units))
    folds = section.folds if sessions is None else section.folds or FOLDS
    of_sessions = None if sessions is None else Sessions.of_learned(sessions)

    def calibrated(judged: LeftOut, parts: Ints, kind: str) -> Calibration:
        rate, group_by = section.false_alarm_rate, section.group_by
        return Calibration(judged.scores, judged.peaks, parts, rate, kind, group_by=group_by, sessions=of_sessions)

    if count == 1:
        _refuse_choice(plan, "images of one part")
        detector = _trained(make(settled), inputs, None, progress)
        guess = guessed(open_engine(detector.graph().SerializeToString(), device), inputs, progress)
        calibration = calibrated(guess, parts, ONE_PART)
        return Learned(detector, calibration, found, find_apart(calibration))
    if folds is not None:
        detector = _trained(make(settled), inputs, None, progress)
        without_files = replace(setting, plan=plan.without_files())
        left_out = cross_fitted(lambda: make(without_files), inputs, units, device, progress, folds)
        kind = f"cross-fitted, {min(folds, count)} folds{' of sessions' * (sessions is not None)}"
        calibration = calibrated(left_out, parts, kind)
        return Learned(detector, calibration, found, find_apart(calibration))
    held = held_out_images(parts, config.Calibrate.held_out, config.Global.seed)
    chooses, calibrates = _roles(held, parts, plan)
    detector = _trained(make(settled), inputs.chosen(~held), inputs.chosen(chooses), progress)
    left_out = scores_of(detector, inputs.chosen(calibrates), device)
    kind = f"held out: {calibrates.sum()} of {len(images)} images"
    calibration = calibrated(left_out, parts[calibrates], kind)
    return Learned(detector, calibration, found, _apart(detector, inputs, calibration, calibrates, device))


def _apart(
    detector: Trained, inputs: Inputs, calibration: Calibration, calibrates: npt.NDArray[np.bool_], device: str
) -> Apart:
    """The images that stand apart: those that calibrate among themselves, and so those that were learned from.

    What was learned from scores lower than what was not, so the two are not compared with each other.
    """
    learned = scores_of(detector, inputs.chosen(~calibrates), device)
    known = replace(calibration, scores=learned.scores, peaks=learned.peaks, parts=np.arange(len(learned.scores)))
    found = LeftOut(calibration.scores, calibration.peaks)
    scores = learned.joined(found, calibrates).scores
    odd, inner, outer = np.zeros(len(scores), np.bool_), find_apart(calibration), find_apart(known)
    odd[calibrates], odd[~calibrates] = inner.odd, outer.odd
    return Apart(odd, scores, inner.rest)


def image_parts(
    config: RunConfig, images: TrainingImages, sketches: Callable[[], npt.NDArray[np.float16] | None]
) -> FoundParts:
    """The part that each image shows: from the names, else by what other images explain of it, else its own.

    `sketches` are those of the network's inputs; an image has those of all its tiles.
    """
    if config.Calibrate.group_by is not None:
        return FoundParts(parts_from_names(images.names, config.Calibrate.group_by), told=True)
    found = sketches() if config.Calibrate.near_duplicates else None
    if found is None:
        return FoundParts(np.arange(len(images)), told=not config.Calibrate.near_duplicates)
    return find_parts(images.inputs.joined(found))


def image_sessions(config: RunConfig, images: TrainingImages) -> Groups | None:
    """The session of each image by `Calibrate.sessions`, None without it.

    Raises `UsageError` where all images are of one session and no other is held out.
    """
    stated = config.Calibrate.sessions
    if stated is None:
        return None
    if stated == "time":
        found = groups_by_time(exif_times(images.files) or modification_times(images.files))
    else:
        found = groups_from_names(images.names, stated, "Calibrate.sessions")
    if len(found.names) == 1 and not config.Calibrate.holdout:
        raise UsageError(
            f"Calibrate.sessions `{stated}` finds one session only, {found.names[0]}, so none can be left out. Name "
            "several by a pattern on the images' paths, or give good images of another session: --holdout DIR"
        )
    return found


def session_units(sessions: Groups | None, found: FoundParts, group_by: str | None) -> tuple[FoundParts, Ints]:
    """The parts that count, and what is left out together `(n,)`: parts, or where there are some, sessions.

    Parts that were named by `group_by` join the sessions that show them. Of parts that were found nobody knows, and one
    wrong link would join whole days: they count within their session, and a warning tells of them.
    """
    if sessions is None:
        return found, found.parts
    if group_by is not None:
        return found, units_left_out(sessions.numbers, found.parts)
    pairs, within = np.unique(np.stack([sessions.numbers, found.parts]), axis=1, return_inverse=True)
    several = pairs.shape[1] - len(np.unique(found.parts))
    if several:
        log.warning(
            "images of different sessions look as if they showed the same part (%d times); if they do, the threshold "
            "is too low: name the parts by Calibrate.group_by, which leaves out all images of a part",
            several,
        )
    return replace(found, parts=within.reshape(-1)), sessions.numbers


def plan_of(config: RunConfig, images: TrainingImages) -> Plan:
    """The `Train` section for the loop."""
    from blemish.training.devices import computes_bfloat16, training_device

    section = config.Train
    device = training_device(config.Global.device)
    return Plan(
        iterations=section.epochs_iters,
        time_budget=section.time_budget,
        batch_size=section.batch_size,
        learning_rate=section.learning_rate,
        warmup=section.warmup_steps,
        log_interval=section.log_interval,
        eval_interval=section.eval_interval,
        mixed_precision=section.amp != "OFF" and computes_bfloat16(device),
        patience=section.patience,
        keep=section.keep,
        device=config.Global.device,
        processes=max(1, len(parse_device(config.Global.device).ids)),
        seed=config.Global.seed,
        weights=weight_file(config),
        folder=Path(config.Global.output),
        resume=None if section.resume_path is None else Path(section.resume_path),
        run=new_run(),
        identity=identity(config, images.hashes),
    )


def weight_file(config: RunConfig) -> Path | None:
    """The file of `Train.pretrain_weight_path` or `Model.backbone_weights`, which are the same.

    Raises `UsageError` if it is not there, or if they name two.
    """
    given = {
        key: path
        for key, path in (
            ("Train.pretrain_weight_path", config.Train.pretrain_weight_path),
            ("Model.backbone_weights", config.Model.backbone_weights),
        )
        if path is not None
    }
    for key, path in given.items():
        if not Path(path).is_file():
            raise UsageError(f"{key}: there is no file {path}")
    if len(set(given.values())) > 1:
        raise UsageError(f"{' and '.join(given)} name two files with the backbone's weights: leave one of them out")
    return next(map(Path, given.values()), None)


def training_record(config: RunConfig, learned: Learned, output: Path) -> dict[str, Any]:
    """What `train_result.json` says of the training, which has left its checkpoints in the folder `output`."""
    from blemish.training.checkpoints import checkpoints

    outcome = learned.detector.outcome
    if outcome is None:
        raise UsageError("nothing was trained")
    criteria = outcome.state.criteria
    models: dict[str, Any] = {f"last_{place}": {} for place in range(1, 6)}
    exported = dict.fromkeys(("inference_config", "pdmodel", "pdiparams", "pdiparams.info"), "")  # the best one's alone
    for place, folder in enumerate(checkpoints(output), 1):
        step = int(folder.name.removeprefix("iter_"))
        models[f"last_{place}"] = {
            "score": criteria.get(step),
            "pdparams": f"{folder.name}/model.safetensors",
            "pdopt": f"{folder.name}/optimiser.safetensors",
            "pdstates": f"{folder.name}/state.json",
            **exported,
        }
    models["best"] = {
        "score": criteria.get(outcome.kept_step),
        "pdparams": "best_model/model.safetensors",
        "pdstates": "",
        "inference": "best_model/inference",
        "inference_config": "best_model/inference/inference.yml",
        "pdmodel": "best_model/inference/model.onnx",
        "pdiparams": "best_model/inference/model.onnx",
        "pdiparams.info": "",
    }
    return {
        "label_dict": "",
        "visualdl_log": "tensorboard" if (output / "tensorboard").is_dir() else "",
        "run": outcome.state.run,
        "models": models,
        "criterion": "loss on held-out good images; smaller is better",
        "kept": config.Train.keep,
        "iterations": outcome.state.step,
        "losses": outcome.state.losses,
        "criteria": criteria,
    }


def _trained(detector: Detector, images: Any, watched: Any, progress: Progress) -> Trained:
    trained = cast("Trained", detector)
    trained.watched = watched if watched is not None else ()
    trained.fit(images, progress)
    return trained


def _roles(
    held: npt.NDArray[np.bool_], parts: npt.NDArray[np.int64], plan: Plan
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which held-out images watch the training, and which calibrate.

    While they only watch, they may calibrate too. Where they choose the weights, they would be too well known for
    that: half of the parts choose and the other half calibrates.
    """
    numbers = np.unique(parts[held])
    if plan.keep == "last" and plan.patience is None:
        return held, held
    if len(numbers) < 2:
        raise UsageError("Train.keep: best and Train.patience need two held-out parts: set Calibrate.held_out higher")
    chooses = held & np.isin(parts, numbers[::2])
    return chooses, held & ~chooses


def _refuse_choice(plan: Plan, reason: str) -> None:
    """Refuse to choose the weights by a loss on images that are learned, which falls whatever the model is worth."""
    if plan.keep == "best" or plan.patience is not None:
        raise UsageError(
            f"Train.keep: best and Train.patience choose by images that are held out, and with {reason} all are "
            "learned: set Train.keep=last and leave out Train.patience"
        )


def identity(config: RunConfig, hashes: Mapping[str, str]) -> dict[str, Any]:
    """All that must be the same for a training to go on, by dotted key; `hashes` are the images' by their names."""
    flat: dict[str, Any] = {}
    for section, keys in config.model_dump(mode="json").items():
        if section not in _FREE_SECTIONS:
            flat |= {f"{section}.{key}": value for key, value in keys.items()}
    weights = weight_file(config)
    flat["Train.pretrain_weight_path"] = weights and file_hash(weights)
    del flat["Model.backbone_weights"]  # is the same
    data = data_fingerprint(hashes)
    return {key: value for key, value in flat.items() if key not in _FREE_KEYS} | {"the training images": data}
