"""New good images for a model that is at work: seconds instead of a new training, and without the old images.

The detector takes the images in beside what it holds (`Detector.extend`). The calibration keeps its scores: with more
to compare with, an old image can only score lower, so they promise no less than before. The new images join it with
leave-one-part-out scores of their own, as in a fit. The old model stays until the new one is written and verified.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.calibration import Calibration, LeftOut, find_parts, left_out, parts_from_names, scored_by
from blemish.calibration.conformal import check_rate
from blemish.config import validate_section
from blemish.datasets import GoodImages, find_good_images
from blemish.detectors import Detector, Progress, Setting, detector_class
from blemish.engines import open_engine
from blemish.errors import ModelError, UsageError
from blemish.images import Inputs
from blemish.models import (
    CalibrationInfo,
    DataInfo,
    LoadedModel,
    ModelInfo,
    UpdateInfo,
    check_place,
    data_fingerprint,
    load_model,
    printable,
    replace_model,
    short_hash,
)
from blemish.training_images import TrainingImages

MEMORY = 512 << 20  # bytes of decoded images that are held; more are read again
TOLERANCE = 1e-4  # relative, as between engines
SHOWN = 5  # names in a line

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class UpdateReport:
    """What an update has done.

    Attributes:
        folder: where the new version is; the model's own folder where nothing was new.
        table: what changed: a name, the value before, the value after.
        lines: what a person should know, a sentence or two a line.
        failed: one line for each image that could not be read and was left out.
    """

    folder: Path
    table: list[tuple[str, str, str]]
    lines: list[str]
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _New:
    """The new images: their names, hashes and sizes, what the network takes of them, their scores by the old model."""

    images: TrainingImages
    inputs: Inputs
    taken: Mask  # (n,) of all images that could be read
    scores: Floats  # of those taken

    @property
    def names(self) -> list[str]:
        return list(compress(self.images.names, self.taken))

    @property
    def hashes(self) -> dict[str, str]:
        """By the names of the files, of which a page is a part."""
        files = {self.images.file_of(name) for name in self.names}
        return {name: digest for name, digest in self.images.hashes.items() if name in files}


def update(
    path: str | Path,
    new_good: Path,
    *,
    output: Path | None = None,
    max_score: float | None = None,
    group_by: str | None = None,
    false_alarm_rate: float | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> UpdateReport:
    """Take the good images of a folder into the model at `path`, or into a copy of it in `output`.

    Args:
        max_score: images that the old model gives a higher score are left out.
        group_by: pattern that finds the part in an image's name; without it, parts are found by near-duplicates.
        false_alarm_rate: the rate in force from now on.

    Raises `UsageError` for a model that cannot be updated, `DatasetError` for a folder without usable images, and
    `ModelError` if the new version does not pass its checks; the model is as it was then.
    """
    old = load_model(path)
    detector = _restored(old, device)
    calibration = Calibration.from_json(old.info.calibration.model_dump())
    rate = calibration.false_alarm_rate if false_alarm_rate is None else check_rate(false_alarm_rate)
    _check_writable(old.folder if output is None else output)
    good, lines = _without_known(find_good_images(new_good), old.info)
    if not good.paths:
        return UpdateReport(old.folder, [], [*lines, "Nothing is new; the model is as it was."])
    new, left = _judged(old, good, max_score, device, progress)
    lines += [*left, *_remarks(new, calibration, old.info)]
    if not new.taken.any():
        return UpdateReport(old.folder, [], [*lines, "Nothing is left; the model is as it was."], new.images.failed)
    before = detector.size
    _check_restored(detector, old, new.inputs, device)
    detector.extend(new.inputs, progress or _quietly)
    parts = _parts(detector, new, group_by)
    found = left_out(detector, new.inputs, parts, progress or _quietly)
    if found is None:
        raise UsageError(f"{old.info.detector.name} gives no left-out scores, so an update could not be calibrated")
    updated = _joined(calibration, found, parts, rate)
    limits = [calibration.threshold(), updated.threshold()]
    alarms = [int((new.scores > limits[0]).sum()), int((found.scores > limits[1]).sum())]
    record = UpdateInfo(
        version_before=old.info.checksum,
        images=len(new.names),
        parts=len(np.unique(parts)),
        fingerprint=data_fingerprint(new.hashes),
        folder=printable(new_good.resolve().name),
        size=None if before is None or detector.size is None else [before, detector.size],
        threshold=limits,
        false_alarms=alarms,
    )
    info = _described(old.info, new, updated, record)

    def verify(written: LoadedModel) -> None:
        _verify(written, new, device)

    folder = replace_model(old, detector.graph().SerializeToString(), info, verify, output)
    lines += [updated.statement(), *_shift_remark(alarms[1], len(new.names), updated)]
    return UpdateReport(folder, _table(old.info, info, record), lines, new.images.failed)


def _restored(old: LoadedModel, device: str) -> Detector:
    """The detector inside the model, with the parameters that it was fitted with."""
    cls, info = detector_class(old.info.detector.name), old.info.input
    own: dict[str, Any] = dict(old.info.detector.parameters)
    shared: dict[str, Any] = {key: own.pop(key) for key in ("preset", "seed") if key in own}
    setting = Setting(info.width, info.height, device=device, **shared)
    if cls.learns:
        return cls.restored(old.model, setting)
    if not old.info.calibration.scores:
        raise UsageError("the model is not calibrated, so an update cannot keep its false-alarm rate; train it again")
    return cls.restored(old.model, setting, validate_section(cls.Parameters, own, "Model"))


def _check_writable(folder: Path) -> None:
    """Refuse a place that cannot be written before the work."""
    check_place(folder)
    parent = Path(os.path.realpath(folder)).parent
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        raise ModelError(
            f"model folder {folder} cannot be written: no permission to write in {parent}; use --output DIR"
        )


def _without_known(good: GoodImages, info: ModelInfo) -> tuple[GoodImages, list[str]]:
    """The images that the model does not know by their hash, and what to say of the others."""
    if info.data.hashes is None:
        return good, ["The model does not tell its images, so one that it knows already would count twice."]
    known = set(info.data.hashes)
    fresh = [not _is_known(file, known) for file in good.paths]
    if all(fresh):
        return good, []
    names = [name for name, is_fresh in zip(good.names, fresh, strict=True) if not is_fresh]
    line = f"Left out, since the model has them already: {_some(names)}."
    return GoodImages(good.root, tuple(compress(good.paths, fresh)), tuple(compress(good.names, fresh))), [line]


def _is_known(file: Path, known: set[str]) -> bool:
    try:
        return short_hash(hashlib.sha256(file.read_bytes()).hexdigest()) in known
    except OSError:
        return False  # the reader names it


def _judged(
    old: LoadedModel, good: GoodImages, max_score: float | None, device: str, progress: Progress | None
) -> tuple[_New, list[str]]:
    """The new images with the scores of the old model, to which they are new; and those left out by their score."""

    def advance(done: int, total: int) -> None:
        (progress or _quietly)("images", done, total)

    info = old.info.input
    images = TrainingImages(good, info.frame, info.bit_depth, MEMORY, advance)
    scores = _scores(old.model, images.inputs, device)
    taken = np.ones(len(scores), np.bool_) if max_score is None else scores <= max_score
    odd = [f"{name} ({score:.1f})" for name, score in compress(zip(images.names, scores, strict=True), ~taken)]
    lines = [f"Left out, with a score above {max_score:g}: {_some(odd)}."] if odd else []
    return _New(images, images.inputs.chosen(taken), taken, scores[taken]), lines


def _scores(model: bytes, inputs: Inputs, device: str) -> Floats:
    return LeftOut.of(inputs.judged(scored_by(open_engine(model, device), inputs))).scores


def _remarks(new: _New, calibration: Calibration, info: ModelInfo) -> list[str]:
    """Images that look like defects, or are of another shape than the model's."""
    lines = []
    most = float(calibration.scores.max())
    odd = [(score, name) for score, name in zip(new.scores, new.names, strict=True) if score > most]
    if odd:
        shown = [f"{name} ({score:.1f})" for score, name in sorted(odd, reverse=True)]
        lines.append(
            f"Odder than every good image before, so their p-value is the smallest there is, {calibration.best_rate:.2g}: "
            f"{_some(shown)}. Are they good? If not, --undo, and leave them out, as by --max-score {most:.4g}."
        )
    geometry = info.input.frame.geometry
    sizes = zip(new.names, compress(new.images.original_sizes, new.taken), strict=True)
    beside = [name for name, size in sizes if not geometry.is_filled_by(*size)]
    if beside:
        lines.append(f"Of another aspect than the model's images, so they are letterboxed: {_some(beside)}.")
    return lines


def _check_restored(detector: Detector, old: LoadedModel, inputs: Inputs, device: str) -> None:
    """What was read back from the model must say what the model says."""
    pixels = next(iter(inputs))[None]
    networks = old.model, detector.graph().SerializeToString()
    stated, found = (open_engine(network, device).run(pixels)["anomaly_map"] for network in networks)
    if not np.allclose(found, stated, rtol=TOLERANCE, atol=TOLERANCE * float(np.abs(stated).max())):
        raise ModelError("the model cannot be read back exactly, so it is not updated; train it again")


def _parts(detector: Detector, new: _New, group_by: str | None) -> Ints:
    """The part that each new image shows, `(n,)`."""
    if group_by is not None:
        return parts_from_names(new.names, group_by)
    found = detector.embeddings
    return np.arange(len(new.names)) if found is None else find_parts(new.inputs.mean_of_each(found))


def _joined(calibration: Calibration, found: LeftOut, parts: Ints, rate: float) -> Calibration:
    """The old scores and the new ones; the new images show other parts than the old ones."""
    _, old_parts = np.unique(calibration.parts, return_inverse=True)
    kind = calibration.kind if calibration.kind.endswith("updated") else f"{calibration.kind}, updated"
    return Calibration(
        np.concatenate([calibration.scores, found.scores]),
        np.concatenate([calibration.peaks, found.peaks]),
        np.concatenate([old_parts, parts + calibration.part_count]),
        rate,
        kind,
    )


def _described(info: ModelInfo, new: _New, calibration: Calibration, record: UpdateInfo) -> ModelInfo:
    data, hashes = info.data, new.hashes
    sizes = Counter(data.sizes)
    sizes.update(f"{width}x{height}" for width, height in compress(new.images.original_sizes, new.taken))
    known = None if data.hashes is None else sorted([*data.hashes, *map(short_hash, hashes.values())])
    both = f"{data.fingerprint}\n{record.fingerprint}\n"
    update = {
        "format_version": 3,
        "calibration": CalibrationInfo(**calibration.to_json()),
        "data": DataInfo(
            images=data.images + record.images,
            parts=calibration.part_count,
            fingerprint=hashlib.sha256(both.encode()).hexdigest(),
            folder=data.folder,
            sizes=dict(sizes.most_common(100)),
            hashes=known,
        ),
        "history": [*(info.history or []), record],
    }
    return ModelInfo.model_validate({**dict(info), **update})


def _verify(written: LoadedModel, new: _New, device: str) -> None:
    """Refuse a version that gives the new images scores that are not finite, or higher than before."""
    scores = _scores(written.model, new.inputs, device)
    if not np.isfinite(scores).all():
        raise ModelError("the updated model gives scores that are not finite; it is not taken, please report it")
    higher = scores > new.scores + TOLERANCE * np.abs(new.scores).max()
    if higher.any():
        names = list(compress(new.names, higher))
        raise ModelError(
            f"the updated model scores {_some(names)} higher than before; it is not taken, please report it"
        )


def _shift_remark(alarms: int, images: int, calibration: Calibration) -> list[str]:
    """More alarms among the new images than the rate has room for: they come from another process than the old ones."""
    rate = max(calibration.false_alarm_rate, calibration.best_rate)
    expected = rate * images
    if alarms <= expected + 3 * np.sqrt(expected * (1 - rate)):
        return []
    return [
        f"Of images like the new ones, about {alarms / images:.0%} would still be false alarms: the threshold is that "
        "of old and new good images together. If only such images come from now on, train with these."
    ]


def _table(before: ModelInfo, after: ModelInfo, record: UpdateInfo) -> list[tuple[str, str, str]]:
    alarms = [f"{count} of {record.images}" for count in record.false_alarms]
    rows = [("images", f"{before.data.images}", f"{after.data.images}")]
    if record.size is not None:
        rows.append(("rows", *(f"{size}" for size in record.size)))  # type: ignore[arg-type]
    rows.append(("threshold", f"{record.threshold[0]:.3f}", f"{record.threshold[1]:.3f}"))
    return [*rows, ("new images called anomalous", alarms[0], alarms[1])]


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _quietly(stage: str, done: int, total: int, detail: str = "") -> None:  # noqa: ARG001
    """Nobody asked for the progress."""
