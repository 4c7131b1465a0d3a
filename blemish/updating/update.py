"""New good images for a model that is at work: seconds instead of a new training, and without the old images.

The detector takes the images in beside what it holds (`Detector.extend`): whole where they calibrate, otherwise only as
much as it takes for none to raise an alarm, since all that comes in brings defects nearer too. The calibration keeps
its scores: with more to compare with, an old image can only score lower, so they promise no less than before. New
images join it, with leave-one-part-out scores of their own as in a fit, only where somebody says that none was chosen
by its score: of images that were chosen because they score high, the calibration would take high scores to be usual.
The old model stays until the new one is written and verified.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.calibration import Calibration, find_parts, fitting_pattern, left_out, parts_from_names, with_images
from blemish.calibration.conformal import check_rate
from blemish.datasets import find_good_images
from blemish.datasets.files import some
from blemish.detectors import Detector, Progress, Setting, detector_class, recorded_detector
from blemish.engines import open_engine
from blemish.errors import ModelError, UsageError
from blemish.good_patches import cut_good_patches
from blemish.images import Inputs
from blemish.models import (
    MOST_LEARNED_ONLY,
    CalibrationInfo,
    DataInfo,
    LoadedModel,
    ModelInfo,
    UpdateInfo,
    check_place,
    data_fingerprint,
    listed_hashes,
    load_model,
    printable,
    replace_model,
    short_hash,
)
from blemish.updating.incoming import Incoming, Sorted, read_incoming, scores_of_model, sort_by_known
from blemish.updating.remarks import alarm_again, apart_line, remarks_of, still_alarming, what_it_means

TOLERANCE = 1e-4  # relative, as between engines
MARGIN = 1e-3  # relative, by which what is learned stays below the threshold, whatever engine computes it

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class UpdateReport:
    """What an update has done.

    Attributes:
        folder: where the new version is; the model's own folder where nothing was new.
        record: what stands in the model's history now; None where nothing was new.
        lines: what a person should know, a sentence or two a line.
        failed: one line for each image that could not be read and was left out.
        unread: names of those of which no image could be read.
        outliers: names of the new images that stand apart from the good images of the model, highest score first.
        are_mostly_apart: whether most of the new images do, so that it is no use to leave some out.
    """

    folder: Path
    record: UpdateInfo | None
    lines: list[str]
    failed: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    outliers: list[str] = field(default_factory=list)
    are_mostly_apart: bool = False


def update(
    path: str | Path,
    new_good: Path,
    *,
    output: Path | None = None,
    calibrate: bool = False,
    leave_out: Sequence[str] = (),
    group_by: str | None = None,
    part_of: Mapping[str, str] | None = None,
    false_alarm_rate: float | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    good_folders: Sequence[str] = (),
) -> UpdateReport:
    """Take the good images of a folder into the model at `path`, or into a copy of it in the model folder `output`.

    Args:
        calibrate: whether the images join the calibration. That is right for all good images of a period, of which
            none was chosen by its score. Otherwise they are learned and the calibration stays as it is.
        leave_out: names of images in `new_good` that do not count, as in `find_good_images`.
        group_by: pattern that finds the part in an image's name; without it, the model's own where it finds one in
            every name, else parts are found by near-duplicates. Only where they calibrate do parts matter.
        part_of: instead of a pattern, the part that a file shows, by its name relative to `new_good`. Parts of other
            images are found by near-duplicates. The model's own pattern is not used then.
        false_alarm_rate: the rate in force from now on. Images that do not calibrate are learned up to its threshold.
        good_folders: folders of good parts in `new_good`, whatever they are called.

    Raises `UsageError` for a model that cannot be updated or a rate where nothing is calibrated, `DatasetError` for a
    folder without usable images, and `ModelError` if the new version does not pass its checks; the model is as it was.
    """
    old = load_model(path)
    pictures = old.good_patches  # now, while they lie beside this model
    detector, calibration = _restored(old, device)
    after = calibration if false_alarm_rate is None else _at_rate(calibration, false_alarm_rate, calibrate=calibrate)
    if output is not None and os.path.realpath(output) == os.path.realpath(old.folder):
        output = None
    _check_writable(output or old.folder)
    good = sort_by_known(find_good_images(new_good, good_folders, leave_out), old.info, calibrate=calibrate)
    if not good.fresh.paths:
        return UpdateReport(old.folder, None, [*good.lines, _nothing_new(good)])
    if not calibrate:
        _check_room(old.info, good)
    progress = progress or _quietly
    new = read_incoming(old, good.fresh, device, progress)
    _check_restored(detector, old, new.inputs, device)
    size = detector.size
    detector.extend(new.inputs, progress, None if calibrate else after.threshold() * (1 - MARGIN))
    if part_of is None:
        group_by = group_by or fitting_pattern(calibration.group_by, [*new.names, *good.waiting_images])
    parts = _parts(detector, new, good, group_by, part_of)
    added = _left_out(detector, new, parts[: len(new)], replace(calibration, group_by=group_by), progress)
    lines: list[str] = []
    if calibrate:
        usual, waiting = ~np.isin(new.names, new.outliers), parts[len(new) :]
        joined = _joined(after, _with_waiting(added, good, waiting))
        if usual.any():
            lines = apart_line(new, joined, _joined(after, _with_waiting(added.chosen(usual), good, waiting)))
        after = joined
    if false_alarm_rate is not None:
        after = after.with_rate(false_alarm_rate)  # refused where old and new images together show one part
    record = _record(old, new, new_good, [calibration, added, after], [size, detector.size], calibrate=calibrate)

    still: list[str] = []

    def verify(written: LoadedModel) -> None:
        still.extend(still_alarming(_verify(written, new, device), new, after.threshold()))

    model = detector.graph().SerializeToString()
    patches = None
    if pictures is not None:  # a model without them stays so: they may have been left out on purpose
        grid = old.info.output.map_height, old.info.output.map_width
        patches = cut_good_patches(detector, new.inputs, grid, progress, pictures)
    info = _described(old.info, new, after, record, set(good.waiting))
    kept = replace_model(old, model, info, verify, output, good_patches=patches)
    lines = [*good.lines, *kept.lines, *remarks_of(new, old.info, calibration.threshold()), *lines]
    lines += [after.statement(), *still, *alarm_again(path, old.info, after), *what_it_means(record, after)]
    folder = old.folder if output is None else output
    return UpdateReport(folder, record, lines, new.failed, new.unread, new.outliers, new.are_mostly_apart)


def _nothing_new(good: Sorted) -> str:
    if not good.waiting:
        return "Nothing is new; the model is as it was."
    return (
        "Nothing is new, and the model is as it was. To let these images calibrate, put the version back that did not "
        "know them (--undo) and update that one."
    )


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


def _check_room(info: ModelInfo, good: Sorted) -> None:
    """Refuse more images than a model can remember to have learned without calibration, before the work."""
    count = len(info.data.learned_only or ()) + len(good.fresh.paths)
    if count > MOST_LEARNED_ONLY:
        raise UsageError(
            f"with these, {count} images would be learned without calibration, and a model remembers at most "
            f"{MOST_LEARNED_ONLY}; let all good images of a period calibrate (--calibrate), or train again"
        )


def _at_rate(calibration: Calibration, rate: float, *, calibrate: bool) -> Calibration:
    """The calibration at another rate; one of a single part may get one only from images that calibrate."""
    return replace(calibration, false_alarm_rate=check_rate(rate)) if calibrate else calibration.with_rate(rate)


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


def _parts(
    detector: Detector, new: Incoming, good: Sorted, group_by: str | None, part_of: Mapping[str, str] | None
) -> Ints:
    """The part that each new image shows and, after them, each that waits, `(n + m,)`: one part has one number.

    Without a pattern, they are those that `part_of` tells of files; of the other new images, near-duplicates show one
    part, and of those that wait the images of a file.
    """
    if group_by is not None:
        return parts_from_names([*new.names, *good.waiting_images], group_by)
    told = [(part_of or {}).get(file) for file in [*map(new.file_of, new.names), *good.waiting_files]]
    sketches = None if None not in told[: len(new)] else detector.sketches
    near = np.arange(len(new)) if sketches is None else find_parts(new.inputs.joined(sketches)).parts
    groups = [("near", str(number)) for number in near] + [("file", name) for name in good.waiting_files]
    shown = {group: ("told", part) for group, part in zip(groups, told, strict=True) if part is not None}
    numbers: dict[tuple[str, str], int] = {}
    parts = [
        shown.get(group, group) if part is None else ("told", part) for group, part in zip(groups, told, strict=True)
    ]
    return np.array([numbers.setdefault(part, len(numbers)) for part in parts], np.int64)


def _left_out(
    detector: Detector, new: Incoming, parts: Ints, calibration: Calibration, progress: Progress
) -> Calibration:
    """The new images' own calibration: what each scores when the detector has not seen its part."""
    found = left_out(detector, new.inputs, parts, progress)
    if found is None:
        raise UsageError(f"{detector.card.name} gives no left-out scores, so an update cannot be calibrated")
    rate, kind = calibration.false_alarm_rate, calibration.kind
    return Calibration(found.scores, found.peaks, parts, rate, kind, group_by=calibration.group_by)


def _with_waiting(added: Calibration, good: Sorted, parts: Ints) -> Calibration:
    """Besides, images that were learned before without calibrating, with the scores that they had when they were new.

    They are in the bank now, so that it can say nothing of them any more. Those scores are a little too large.
    """
    scores, peaks = np.array(good.waiting_seen, np.float64).reshape(-1, 2).T
    return replace(
        added,
        scores=np.concatenate([added.scores, scores]),
        peaks=np.concatenate([added.peaks, peaks]),
        parts=np.concatenate([added.parts, parts]),
    )


def _joined(old: Calibration, added: Calibration) -> Calibration:
    """Both together; the new images show other parts than the old ones, and join the largest learned session.

    A guess of before goes. What is calibrated anew is interpolated, also where the model of before was not.
    """
    if not old.is_calibrated and old.sessions is None:
        kind, pattern = "leave-one-part-out, updated", added.group_by or old.group_by
        return replace(added, false_alarm_rate=old.false_alarm_rate, kind=kind, group_by=pattern)
    together = _with_each(old, added) if old.counted is None else with_images(old, added)
    return replace(
        together,
        interpolated=True,
        kind=old.kind if old.kind.endswith(", updated") else f"{old.kind}, updated",
        group_by=old.group_by and (added.group_by or old.group_by),  # a pattern for the new images alone is none
    )


def _with_each(old: Calibration, added: Calibration) -> Calibration:
    """Both together, with an entry for each image."""
    numbers = [np.unique(each.parts, return_inverse=True)[1] for each in (old, added)]
    return replace(
        old,
        scores=np.concatenate([old.scores, added.scores]),
        peaks=np.concatenate([old.peaks, added.peaks]),
        parts=np.concatenate([numbers[0], numbers[1] + old.part_count]),
        sessions=old.sessions and old.sessions.with_learned(len(added.scores)),
    )


def _record(
    old: LoadedModel,
    new: Incoming,
    folder: Path,
    calibrations: list[Calibration],
    sizes: list[int | None],
    *,
    calibrate: bool,
) -> UpdateInfo:
    """For the history; `calibrations` are that of before, that of the new images, and that from now on."""
    before, added, after = calibrations
    limits = [before.threshold(), after.threshold()]
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
        calibrated=calibrate,
    )


def _described(
    info: ModelInfo, new: Incoming, calibration: Calibration, record: UpdateInfo, joined: set[str]
) -> ModelInfo:
    """The record of the new version; `joined` are the short hashes of images that calibrate from now on."""
    data = info.data
    known = None if data.hashes is None else listed_hashes([*data.hashes, *map(short_hash, new.hashes.values())])
    described = DataInfo(
        images=data.images + len(new),
        parts=data.parts + record.parts,
        fingerprint=hashlib.sha256(f"{data.fingerprint}\n{record.fingerprint}\n".encode()).hexdigest(),
        folder=data.folder,
        sizes=dict((Counter(data.sizes) + new.sizes_counted).most_common(100)),
        hashes=known,
        learned_only=_learned_only(data, new, record, joined),
    )
    calibrated = CalibrationInfo.of(calibration)
    update = {
        "format_version": max(6, info.format_version, calibrated.least_version),
        "calibration": calibrated,
        "data": described,
        "history": [*(info.history or []), record],
    }
    return ModelInfo.model_validate({**dict(info), **update})


def _learned_only(
    data: DataInfo, new: Incoming, record: UpdateInfo, joined: set[str]
) -> dict[str, list[list[float]]] | None:
    """The images that do not calibrate, with what they scored when they were new."""
    kept = {key: seen for key, seen in (data.learned_only or {}).items() if key not in joined}
    return kept | ({} if record.calibrated else new.seen_by_hash()) or None


def _verify(written: LoadedModel, new: Incoming, device: str) -> npt.NDArray[np.float64]:
    """The new images' scores `(n,)`; refuses a version that gives some that are not finite, or higher than before."""
    scores = scores_of_model(written.model, new.inputs, device)
    if not np.isfinite(scores).all():
        raise ModelError("the updated model gives scores that are not finite; it is not taken, please report it")
    higher = scores > new.scores + TOLERANCE * np.abs(new.scores).max()
    if higher.any():
        names = some([name for name, is_higher in zip(new.names, higher, strict=True) if is_higher])
        raise ModelError(f"the updated model scores {names} higher than before; it is not taken, please report it")
    return scores


def _quietly(stage: str, done: int, total: int, detail: str = "") -> None:
    """Nobody asked for the progress."""
