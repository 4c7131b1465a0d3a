"""What a person should know of an update: of the images that came in, and of what the model promises with them."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import numpy as np
import numpy.typing as npt

from blemish.calibration import Calibration
from blemish.datasets.files import some
from blemish.metrics.rates import counted, them, was
from blemish.models import ModelInfo, UpdateInfo, kept_versions
from blemish.models.run_folder import DIGITS
from blemish.updating.incoming import Incoming

NAMED = 20  # images to look at in a line

Floats = npt.NDArray[np.float64]


def remarks_of(new: Incoming, info: ModelInfo, threshold: float) -> list[str]:
    """Images that score like defects, and images of another shape than the model's; `threshold` was that before."""
    geometry = info.input.frame.geometry
    beside = [name for name, size in zip(new.names, new.sizes, strict=True) if not geometry.is_filled_by(*size)]
    letterboxed = f"Of another aspect than the model's images, so they are letterboxed: {some(beside)}."
    return [*_like_defects(new, threshold), *([letterboxed] if beside else [])]


def _like_defects(new: Incoming, threshold: float) -> list[str]:
    """That images raised an alarm and are learned all the same, and which of them stand apart."""
    scores = dict(zip(new.names, new.scores, strict=True))
    alarms = [name for name in sorted(scores, key=lambda name: -scores[name]) if scores[name] > threshold]

    def shown(names: list[str]) -> str:
        return some([f"{name} ({scores[name]:.1f})" for name in names], NAMED)

    lines = []
    if alarms:
        lines.append(
            f"{len(alarms)} of {counted(len(new), 'new image')} score{'s' * (len(alarms) == 1)} like defects (above "
            f"the threshold {threshold:.1f}) and {_are(len(alarms))} learned as good: {shown(alarms)}. Look at "
            f"{them(len(alarms))}: a defect that is learned hides others like it."
        )
    apart = new.outliers
    if not apart:
        return lines
    lines.append(
        f"{len(apart)} of {counted(len(new), 'new image')} stand{'s' * (len(apart) == 1)} apart from the good images "
        f"that the model knows: {shown(apart)}."
    )
    if new.are_mostly_apart:
        lines.append(
            "Most of them do, so they are of another kind: other light, another camera or product, or defects. If they "
            "show good parts, train again with all good images, the new ones too. If they do not, take the update back."
        )
    else:
        lines.append("If they do not show good parts, take the update back and repeat it without them.")
    return lines


def apart_line(new: Incoming, after: Calibration, without: Calibration) -> list[str]:
    """What images that stand apart do to the threshold when they calibrate."""
    if not new.outliers or after.threshold() <= without.threshold():
        return []
    return [
        f"With what stands apart the threshold is {after.threshold():.3g}, without it {without.threshold():.3g}: "
        "defects below it are missed."
    ]


def alarm_again(path: str | Path, info: ModelInfo, after: Calibration) -> list[str]:
    """That false alarms which a model has learned may be some again at the threshold of `after`, and the way out.

    They were brought below the threshold of their time, as far as it takes and no further.
    """
    threshold = after.threshold()
    learned = [
        one
        for one in info.history or ()
        if one.calibrated is False and one.false_alarms[0] and one.threshold[1] > threshold * (1 + 1e-9)
    ]
    if not learned:
        return []
    count, highest = sum(one.false_alarms[0] for one in learned), max(one.threshold[1] for one in learned)
    version = learned[0].version_before[:DIGITS]
    back = f"take the version {version}, which did not know them and is not kept here,"
    if version in kept_versions(path):
        back = f"go back to what did not know them (blemish update {quote(str(path))} --undo --to {version})"
    return [
        f"{counted(count, 'false alarm')} that {was(count)} learned may raise an alarm again: learned up to the "
        f"threshold {highest:.3f}, which is {threshold:.3f} now.",
        f"To learn them up to the new one, {back} and update that with their images: blemish update {quote(str(path))} "
        f"DIR --false-alarm-rate {after.false_alarm_rate:g}",
    ]


def still_alarming(scores: Floats, new: Incoming, threshold: float) -> list[str]:
    """That images raise an alarm although they were learned, since the bank has no room for all that they take."""
    above = [name for name, score in zip(new.names, scores, strict=True) if score > threshold]
    if not above:
        return []
    return [
        f"{len(above)} of {counted(len(new), 'image')} still raise{'s' * (len(above) == 1)} an alarm although "
        f"{'it was' if len(above) == 1 else 'they were'} learned: {some(above)}. The memory bank has no room for what "
        "is so far from all good images. Look whether they are good."
    ]


def what_it_means(record: UpdateInfo, calibration: Calibration) -> list[str]:
    """That the images did not calibrate, or, where they did, that they come from another process than the old ones."""
    alarms, images = record.false_alarms[1], counted(record.images, "new image")
    if not record.calibrated:
        still = [
            f"{alarms} of {images} would still be {_false_alarms(alarms)} if not known. Parts like them will raise "
            "alarms until all good images of a period calibrate."
        ]
        is_same = record.size is not None and record.size[0] == record.size[1]
        what = "No image raised an alarm, so nothing had to be" if is_same and not record.false_alarms[0] else ""
        return still * (alarms > record.images / 2) + [
            f"{what or 'What raised alarms was'} learned, and the calibration stays as it was: images that were chosen "
            "because of their scores, such as false alarms, must not calibrate. If these are all good images of a "
            "period, none of them chosen by its score, let them calibrate too: --calibrate."
        ]
    expected = max(calibration.false_alarm_rate, calibration.best_rate) * record.images
    if alarms <= expected + 3 * np.sqrt(expected):
        return []
    return [
        f"{alarms} of {images} would still be {_false_alarms(alarms)} if not known. The rate holds for parts "
        "like the old and the new images together, and parts like the new ones alone have more alarms. If only such "
        "parts come from now on, train again with all good images of the new kind, not with false alarms alone."
    ]


def _false_alarms(count: int) -> str:
    return "a false alarm" if count == 1 else "false alarms"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
