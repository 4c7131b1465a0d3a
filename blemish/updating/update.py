"""New good images for a model that is at work: seconds instead of a new training, and without the old images.

The detector takes the images in beside what it holds (`Detector.extend`). The calibration keeps its scores: with more
to compare with, an old image can only score lower, so they promise no less than before. The new images join it with
leave-one-part-out scores of their own, as in a fit. The old model stays until the new one is written and verified.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.calibration import Calibration, find_parts, left_out, parts_from_names
from blemish.calibration.conformal import check_rate
from blemish.datasets import find_good_images
from blemish.detectors import Detector, Progress, Setting, detector_class, recorded_detector
from blemish.engines import open_engine
from blemish.errors import ModelError, UsageError
from blemish.good_patches import cut_good_patches
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
from blemish.updating.incoming import Incoming, read_incoming, scores_of_model, some, without_known

TOLERANCE = 1e-4  # relative, as between engines

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class UpdateReport:
    """What an update has done.

    Attributes:
        folder: where the new version is; the model's own folder where nothing was new.
        record: what stands in the model's history now; None where nothing was new.
        lines: what a person should know, a sentence or two a line.
        failed: one line for each image that could not be read and was left out.
    """

    folder: Path
    record: UpdateInfo | None
    lines: list[str]
    failed: list[str] = field(default_factory=list)


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
    good_folders: Sequence[str] = (),
) -> UpdateReport:
    """Take the good images of a folder into the model at `path`, or into a copy of it in the model folder `output`.

    Args:
        max_score: images that the old model gives a higher score are left out.
        group_by: pattern that finds the part in an image's name; without it, parts are found by near-duplicates.
        false_alarm_rate: the rate in force from now on.
        good_folders: folders of good parts in `new_good`, whatever they are called.

    Raises `UsageError` for a model that cannot be updated, `DatasetError` for a folder without usable images, and
    `ModelError` if the new version does not pass its checks; the model is as it was then.
    """
    old = load_model(path)
    pictures = old.good_patches  # now, while they lie beside this model
    detector, calibration = _restored(old, device)
    rate = calibration.false_alarm_rate if false_alarm_rate is None else check_rate(false_alarm_rate)
    if output is not None and os.path.realpath(output) == os.path.realpath(old.folder):
        output = None
    _check_writable(output or old.folder)
    good, lines = without_known(find_good_images(new_good, good_folders), old.info)
    if not good.paths:
        return UpdateReport(old.folder, None, [*lines, "Nothing is new; the model is as it was."])
    progress = progress or _quietly
    new, remarks = read_incoming(old, good, max_score, device, progress)
    if len(new) == 0:
        return UpdateReport(old.folder, None, [*lines, *remarks, "The model is as it was."], new.failed)
    _check_restored(detector, old, new.inputs, device)
    size = detector.size
    detector.extend(new.inputs, progress)
    added = _calibrated(detector, new, group_by, calibration, progress)
    joined = _joined(calibration, added, rate)
    record = _record(old, new, new_good, [calibration, added, joined], [size, detector.size])

    def verify(written: LoadedModel) -> None:
        _verify(written, new, device)

    model = detector.graph().SerializeToString()
    patches = None
    if pictures is not None:  # a model without them stays so: they may have been left out on purpose
        grid = old.info.output.map_height, old.info.output.map_width
        patches = cut_good_patches(detector, new.inputs, grid, progress, pictures)
    info = _described(old.info, new, joined, record)
    before = replace_model(old, model, info, verify, output, good_patches=patches)
    lines += [*before.lines, *remarks, joined.statement(), *_remaining_alarms(record, joined)]
    return UpdateReport(old.folder if output is None else output, record, lines, new.failed)


def _restored(old: LoadedModel, device: str) -> tuple[Detector, Calibration]:
    """The detector inside the model, with the parameters that it was fitted with, and its calibration."""
    info = old.info
    cls, setting = detector_class(info.detector.name), Setting(info.input.width, info.input.height, device=device)
    if cls.learns:
        cls.restored(old.model, setting)  # says why not, before parameters of an imported model are looked at
    if not info.calibration.scores:
        raise UsageError("the model is not calibrated, so an update has no false-alarm rate to keep; train it again")
    cls, setting, parameters = recorded_detector(info.detector.name, info.detector.parameters, setting)
    return cls.restored(old.model, setting, parameters), info.calibration.loaded()


def _check_writable(folder: Path) -> None:
    """Refuse a place that cannot be written before the work."""
    check_place(folder)
    parent = Path(os.path.realpath(folder)).parent
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        raise ModelError(f"model folder {folder} cannot be written: no permission for {parent}; take --output DIR")


def _check_restored(detector: Detector, old: LoadedModel, inputs: Inputs, device: str) -> None:
    """What was read back from the model must say what the model says."""
    pixels = next(iter(inputs))[None]
    networks = old.model, detector.graph().SerializeToString()
    stated, found = (open_engine(network, device).run(pixels)["anomaly_map"] for network in networks)
    if not np.allclose(found, stated, rtol=TOLERANCE, atol=TOLERANCE * float(np.abs(stated).max())):
        raise ModelError("the model cannot be read back exactly, so it is not updated; train it again")


def _calibrated(
    detector: Detector, new: Incoming, group_by: str | None, calibration: Calibration, progress: Progress
) -> Calibration:
    """The new images' own calibration: what each scores when the detector has not seen its part."""
    parts = _parts(detector, new, group_by)
    found = left_out(detector, new.inputs, parts, progress)
    if found is None:
        raise UsageError(f"{detector.card.name} gives no left-out scores, so an update cannot be calibrated")
    return Calibration(found.scores, found.peaks, parts, calibration.false_alarm_rate, calibration.kind)


def _parts(detector: Detector, new: Incoming, group_by: str | None) -> Ints:
    """The part that each new image shows, `(n,)`."""
    if group_by is not None:
        return parts_from_names(new.names, group_by)
    found = detector.sketches
    return np.arange(len(new)) if found is None else find_parts(new.inputs.joined(found)).parts


def _joined(old: Calibration, added: Calibration, rate: float) -> Calibration:
    """Both together; the new images show other parts than the old ones. A guess of before goes."""
    if not old.is_calibrated:
        return replace(added, false_alarm_rate=rate, kind="leave-one-part-out, updated")
    numbers = [np.unique(each.parts, return_inverse=True)[1] for each in (old, added)]
    return Calibration(
        np.concatenate([old.scores, added.scores]),
        np.concatenate([old.peaks, added.peaks]),
        np.concatenate([numbers[0], numbers[1] + old.part_count]),
        rate,
        old.kind if old.kind.endswith(", updated") else f"{old.kind}, updated",
    )


def _record(
    old: LoadedModel, new: Incoming, folder: Path, calibrations: list[Calibration], sizes: list[int | None]
) -> UpdateInfo:
    """For the history; `calibrations` are the old one, that of the new images, and both joined."""
    before, added, joined = calibrations
    limits = [before.threshold(), joined.threshold()]
    known = [size for size in sizes if size is not None]
    return UpdateInfo(
        version_before=old.info.version,
        images=len(new),
        parts=added.part_count,
        fingerprint=data_fingerprint(new.hashes),
        folder=printable(folder.resolve().name),
        size=known if len(known) == len(sizes) else None,
        threshold=limits,
        false_alarms=[int((new.scores > limits[0]).sum()), int((added.scores > limits[1]).sum())],
    )


def _described(info: ModelInfo, new: Incoming, calibration: Calibration, record: UpdateInfo) -> ModelInfo:
    """The record of the new version."""
    data = info.data
    known = None if data.hashes is None else sorted([*data.hashes, *map(short_hash, new.hashes.values())])
    described = DataInfo(
        images=data.images + len(new),
        parts=data.parts + record.parts,
        fingerprint=hashlib.sha256(f"{data.fingerprint}\n{record.fingerprint}\n".encode()).hexdigest(),
        folder=data.folder,
        sizes=dict((Counter(data.sizes) + new.sizes_counted).most_common(100)),
        hashes=known,
    )
    update = {
        "format_version": max(3, info.format_version),
        "calibration": CalibrationInfo(**calibration.to_json()),
        "data": described,
        "history": [*(info.history or []), record],
    }
    return ModelInfo.model_validate({**dict(info), **update})


def _verify(written: LoadedModel, new: Incoming, device: str) -> None:
    """Refuse a version that gives the new images scores that are not finite, or higher than before."""
    scores = scores_of_model(written.model, new.inputs, device)
    if not np.isfinite(scores).all():
        raise ModelError("the updated model gives scores that are not finite; it is not taken, please report it")
    higher = scores > new.scores + TOLERANCE * np.abs(new.scores).max()
    if higher.any():
        names = some([name for name, is_higher in zip(new.names, higher, strict=True) if is_higher])
        raise ModelError(f"the updated model scores {names} higher than before; it is not taken, please report it")


def _remaining_alarms(record: UpdateInfo, calibration: Calibration) -> list[str]:
    """More alarms among the new images than the rate has room for: they come from another process than the old ones."""
    alarms, images = record.false_alarms[1], record.images
    expected = max(calibration.false_alarm_rate, calibration.best_rate) * images
    if alarms <= expected + 3 * np.sqrt(expected):
        return []
    return [
        f"{alarms} of {images} new images would still be false alarms, if they were not known: the threshold is that "
        "of old and new good images together. Where only such images come from now on, train with these alone."
    ]


def _quietly(stage: str, done: int, total: int, detail: str = "") -> None:
    """Nobody asked for the progress."""
