"""What a person should know of the good images: those that stand apart, and their sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import compress
from shlex import quote

import numpy as np
import numpy.typing as npt

from blemish.calibration.apart import Apart, chosen, comparable
from blemish.calibration.conformal import Calibration, images_shown
from blemish.calibration.outliers import is_in_folder, odd_folders
from blemish.calibration.parts import FEW_IMAGES, FoundParts
from blemish.calibration.session_names import sessions_in_names
from blemish.calibration.sessions import Sessions, groups_by_time
from blemish.datasets.files import some
from blemish.metrics.rates import counted, rate_text, them

SHOWN_PARTS, SHOWN_IMAGES = 3, 4
NAMED = 20  # images that stand apart, in a line; a result file has them all
IF_SO = (
    "If so, more good parts alarm than is stated: name the part by a pattern, train --group-by PATTERN "
    "(Calibrate.group_by)."
)
UNSURE_PARTS = f"Several images may show one part, which cannot be told for sure. {IF_SO}"


def linked(names: Sequence[str], parts: npt.NDArray[np.int64]) -> list[list[str]]:
    """The names of the images of each part that several images show."""
    counts = np.bincount(parts)
    return [[names[int(i)] for i in np.flatnonzero(parts == part)] for part in np.flatnonzero(counts > 1)]


def part_lines(names: Sequence[str], found: FoundParts) -> list[str]:
    """What a person should know of the parts that were found: which images are linked, or that some may have to be."""
    if found.told:
        return []
    lines, first = [], np.arange(len(names))
    if found.copies is not None:
        first = np.unique(found.copies, return_index=True)[1]
        lines = _copy_lines(linked(names, found.copies))
    groups = linked([names[int(i)] for i in first], found.parts[first])
    if groups:
        return [
            *lines,
            f"{sum(map(len, groups))} images seem to show {counted(len(groups), 'part')} several times, and each part "
            f"counts once: {_shown(groups)}. Where the names tell the part, name it: train --group-by PATTERN "
            "(Calibrate.group_by); where these are different parts, set Calibrate.near_duplicates=false.",
        ]
    if not found.unsure:
        return lines
    if len(first) < FEW_IMAGES:
        return [*lines, f"With so few images, it cannot be told whether several show one part. {IF_SO}"]
    return [*lines, UNSURE_PARTS]


def are_copies_alone(found: FoundParts) -> bool:
    """Whether images of one part were found, and all of them have the same pixels."""
    return found.copies is not None and len(np.unique(found.copies)) == len(np.unique(found.parts)) < len(found.parts)


def _copy_lines(groups: list[list[str]]) -> list[str]:
    if not groups:
        return []
    return [
        f"{sum(map(len, groups))} images have the pixels of {counted(len(groups), 'image')}, and copies count once: "
        f"{_shown(groups)}. Delete all but one of each; copies teach nothing."
    ]


def _shown(groups: list[list[str]]) -> str:
    """The names of some images of some groups."""
    shown = "; ".join(" = ".join(group[:SHOWN_IMAGES]) for group in groups[:SHOWN_PARTS])
    return shown + (f"; and {len(groups) - SHOWN_PARTS} more" if len(groups) > SHOWN_PARTS else "")


def outlier_lines(names: Sequence[str], calibration: Calibration, apart: Apart, rest_in: str = "") -> list[str]:
    """A line for each folder that is odd as a whole, and one for all other images that stand apart.

    `rest_in` says where the names are that a line has no room for.
    """
    lines, told = [], np.zeros(len(names), np.bool_)
    for name, inside, count in _odd_folders(names, calibration):
        told |= inside
        lines.append(
            f"{count} of the {inside.sum()} images in the folder {name} score far above those of the other folders. "
            f"{_thresholds(calibration, chosen(calibration, ~inside))} If the folder holds defects, move it out and "
            "train again. If it is another camera or product, add more images of it or train a model of its own. "
            "`blemish check` tells which it is."
        )
    odd = apart.names(names, ~told)
    if odd:
        is_all = len(odd) == apart.odd.sum()
        rest = apart.rest if is_all or apart.rest is None else chosen(calibration, ~(apart.odd & ~told))
        lines.append(
            f"{len(odd)} of {len(names)} good images stand{'s' * (len(odd) == 1)} apart: {some(odd, NAMED)}"
            f"{f', all in {rest_in}' if rest_in and len(odd) > NAMED else ''}. "
            f"{_thresholds(calibration, rest, is_exact=apart.is_exact and is_all, count=len(odd))} If "
            + ("it does not show a good part, " if len(odd) == 1 else "they do not show good parts, ")
            + f"train again without {them(len(odd))}."
        )
    return lines


def session_lines(calibration: Calibration, rate: float | None = None) -> list[str]:
    """A line for each session: what would alarm had it not been covered; none where all images are of one session."""
    if calibration.sessions is None or not calibration.is_calibrated:
        return []
    return list(_session_lines(calibration if rate is None else calibration.with_rate(rate), calibration.sessions))


def sessions_told(names: Sequence[str], times: Callable[[], list[datetime] | None]) -> str | None:
    """Of which sessions the images seem to be, and the option of a training that covers each; None if of one.

    `times` gives when they were taken, if the camera has stated it.
    """
    named = sessions_in_names(names)
    if named is not None:
        option = quote(f"Calibrate.sessions={named.pattern}")
        return f"By their names they are of {len(named.names)} sessions ({some(named.names)}): -o {option} covers each."
    taken = times()
    sessions = 1 if not taken else len(groups_by_time(taken).names)
    if sessions > 1:
        return f"By their EXIF times they are of {sessions} sessions: -o Calibrate.sessions=time covers each."
    return None


def one_session_line(names: Sequence[str], times: Callable[[], list[datetime] | None]) -> str:
    """What the promise of images that are taken for one session does not hold for; `times` as in `sessions_told`."""
    line = "The rate holds for images like these: for one session (light, camera, day). "
    told = sessions_told(names, times)
    if told is not None:
        return f"{line}{told}"
    return f"{line}To cover another day, give good images of it: --holdout DIR."


def _session_lines(calibration: Calibration, sessions: Sessions) -> Iterator[str]:
    present, threshold = np.unique(sessions.numbers), calibration.threshold()
    is_learned = sessions.numbers < sessions.learned
    for number, one in zip(present, calibration.each_session, strict=True):
        own = sessions.numbers == number
        line = f"Session {sessions.names[number]}: {images_shown(one)}"
        others = is_learned & ~own  # what the threshold would be made of without this session
        if others.any():
            without = calibration.chosen(others).threshold()
            alarms = one.images_above(without)
            whose = "the other sessions" if number < sessions.learned else "the training's images"
            line += (
                f"; at the threshold of {whose} alone {alarms} of them ({rate_text(alarms / one.image_count)}) would "
                "alarm"
            )
            if threshold > without and alarms:
                line += f"; the threshold covers them ({threshold:.3g} instead of {without:.3g})"
        else:
            line += f"; they alone would set the threshold {one.threshold():.3g}"
        if one.best_rate > calibration.false_alarm_rate:
            line += f"; they support {rate_text(one.best_rate)} at best"
        yield f"{line}."


def _odd_folders(names: Sequence[str], calibration: Calibration) -> Iterator[tuple[str, npt.NDArray[np.bool_], int]]:
    """Name, images `(n,)` and number of odd ones of each folder that is odd in its session.

    None where not every image has a score.
    """
    for own in comparable(calibration) if len(calibration.scores) == len(names) else []:
        for folder in odd_folders(list(compress(names, own)), calibration.scores[own]):
            inside = np.array([is_in_folder(name, folder.name) for name in names])
            yield folder.name, own & inside, len(folder.odd)


def _thresholds(calibration: Calibration, rest: Calibration | None, *, is_exact: bool = False, count: int = 2) -> str:
    """The threshold with and without some images, of which there are `count`."""
    if rest is None:
        return f"The model has learned from {them(count)}."
    without = f"{rest.threshold():.3g}"
    if not is_exact:
        without = f"about {without} (an estimate: the model still holds {them(count)})"
    return f"With {them(count)} the threshold is {calibration.threshold():.3g}, without {them(count)} {without}."
