"""What a person should know of the good images: those that stand apart, and their sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import compress

import numpy as np
import numpy.typing as npt

from blemish.calibration.conformal import Calibration, images_shown, rate_text
from blemish.calibration.outliers import LEAST_OTHERS, is_in_folder, odd_folders, outlier_limit
from blemish.calibration.sessions import groups_by_time
from blemish.datasets.files import some


def outliers(names: Sequence[str], calibration: Calibration) -> list[str]:
    """The names of the images that stand apart in their session, highest score first.

    None where not every image has a score.
    """
    apart = np.zeros(len(names), np.bool_)
    for own in _comparable(names, calibration):
        apart |= own & (calibration.scores > outlier_limit(calibration.scores[own]))
    if not apart.any():
        return []
    return [names[i] for i in np.argsort(-calibration.scores, kind="stable") if apart[i]]


def outlier_lines(names: Sequence[str], calibration: Calibration) -> list[str]:
    """A line for each folder that is odd as a whole, and one for all other images that stand apart."""
    lines, told = [], np.zeros(len(names), np.bool_)
    odd = [
        (folder, own & np.array([is_in_folder(name, folder.name) for name in names]))
        for own in _comparable(names, calibration)
        for folder in odd_folders(list(compress(names, own)), calibration.scores[own])
    ]
    for folder, inside in odd:
        told |= inside
        lines.append(
            f"{len(folder.odd)} of the {folder.images} images in the folder {folder.name} score far above those of the "
            f"other folders. {_thresholds(calibration, inside)} If the folder holds defects, move it out and train "
            "again. If it is another camera or product, add more images of it or train a model of its own. "
            "`blemish check` tells which it is."
        )
    apart = [name for name in outliers(names, calibration) if not told[names.index(name)]]
    if apart:
        those = np.isin(np.array(names), apart)
        lines.append(
            f"{len(apart)} of {len(names)} good images stand apart: {some(apart)}. {_thresholds(calibration, those)} "
            "If they do not show good parts, move them out and train again."
        )
    return lines


def session_lines(calibration: Calibration, rate: float | None = None) -> list[str]:
    """A line for each session: what would alarm had it not been covered; none where all images are of one session."""
    return [] if calibration.sessions is None else list(_session_lines(calibration, rate))


def one_session_line(times: Callable[[], list[datetime] | None]) -> str:
    """What the promise of images that are taken for one session does not hold for.

    `times` gives when they were taken, if the camera has stated it.
    """
    line = "The rate holds for images like these: for one session (light, camera, day). "
    taken = times()
    sessions = 1 if taken is None else len(groups_by_time(taken).names)
    if sessions > 1:
        return f"{line}By their EXIF times they are of {sessions} sessions: -o Calibrate.sessions=time covers each."
    return f"{line}To cover another day, give good images of it: --holdout DIR."


def _session_lines(calibration: Calibration, rate: float | None) -> Iterator[str]:
    sessions = calibration.sessions
    assert sessions is not None
    present, threshold = np.unique(sessions.numbers), calibration.threshold(rate)
    is_learned = sessions.numbers < sessions.learned
    for number, one in zip(present, calibration.each_session, strict=True):
        own = sessions.numbers == number
        line = f"Session {sessions.names[number]}: {images_shown(one)}"
        others = is_learned & ~own  # what the threshold would be made of without this session
        if others.any():
            without = calibration.chosen(others).threshold(rate)
            alarms = int((one.scores > without).sum())
            whose = "the other sessions" if number < sessions.learned else "the training's images"
            line += (
                f"; at the threshold of {whose} alone {alarms} of them ({rate_text(alarms / len(one.scores))}) would "
                "alarm"
            )
            if threshold > without and alarms:
                line += f"; the threshold covers them ({threshold:.3g} instead of {without:.3g})"
        else:
            line += f"; they alone would set the threshold {one.threshold(rate):.3g}"
        if one.best_rate > (calibration.false_alarm_rate if rate is None else rate):
            line += f"; they support {rate_text(one.best_rate)} at best"
        yield f"{line}."


def _comparable(names: Sequence[str], calibration: Calibration) -> list[npt.NDArray[np.bool_]]:
    """Which images `(n,)` are of each session that has enough to tell what is odd."""
    if len(calibration.scores) != len(names):
        return []
    sessions = calibration.sessions
    masks = [np.ones(len(names), np.bool_)] if sessions is None else sessions.of_each()
    return [own for own in masks if len(np.unique(calibration.parts[own])) >= LEAST_OTHERS]


def _thresholds(calibration: Calibration, without: npt.NDArray[np.bool_]) -> str:
    """The threshold with and without some images `(n,)`; the model that has given the scores holds them all."""
    rest = calibration.chosen(~without)
    return (
        f"With them the threshold is {calibration.threshold():.3g}, without them about {rest.threshold():.3g} "
        "(an estimate: the model still holds them)."
    )
