"""What a person should know of good images that stand apart from the others, and what they do to the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from blemish.calibration.conformal import Calibration
from blemish.calibration.outliers import LEAST_OTHERS, is_in_folder, odd_folders, outlier_limit
from blemish.calibration.parts import FEW_IMAGES, FoundParts
from blemish.datasets.files import some

SHOWN_PARTS, SHOWN_IMAGES = 3, 4
IF_SO = "If so, more good parts alarm than is stated: tell the part by a pattern on the names, Calibrate.group_by."
UNSURE_PARTS = f"Several images may show one part, which cannot be told for sure. {IF_SO}"


def linked(names: Sequence[str], parts: npt.NDArray[np.int64]) -> list[list[str]]:
    """The names of the images of each part that several images show."""
    counts = np.bincount(parts)
    return [[names[int(i)] for i in np.flatnonzero(parts == part)] for part in np.flatnonzero(counts > 1)]


def part_lines(names: Sequence[str], found: FoundParts) -> list[str]:
    """What a person should know of the parts that were found: which images are linked, or that some may have to be."""
    groups = [] if found.told else linked(names, found.parts)
    if groups:
        shown = "; ".join(" = ".join(group[:SHOWN_IMAGES]) for group in groups[:SHOWN_PARTS])
        more = f"; and {len(groups) - SHOWN_PARTS} more" if len(groups) > SHOWN_PARTS else ""
        return [
            f"{sum(map(len, groups))} images seem to show {len(groups)} part{'s' * (len(groups) != 1)} several times, "
            f"and each part counts once: {shown}{more}. Where the names tell the part, set Calibrate.group_by; where "
            "these are different parts, set Calibrate.near_duplicates=false."
        ]
    if not found.unsure or found.told:
        return []
    if len(names) < FEW_IMAGES:
        return [f"With so few images, it cannot be told whether several show one part. {IF_SO}"]
    return [UNSURE_PARTS]


def outliers(names: Sequence[str], calibration: Calibration) -> list[str]:
    """The names of the images that stand apart, highest score first; none where not every image has a score."""
    if len(calibration.scores) != len(names) or calibration.part_count < LEAST_OTHERS:
        return []
    limit = outlier_limit(calibration.scores)
    return [names[i] for i in np.argsort(-calibration.scores, kind="stable") if calibration.scores[i] > limit]


def outlier_lines(names: Sequence[str], calibration: Calibration) -> list[str]:
    """A line for each folder that is odd as a whole, and one for all other images that stand apart."""
    if len(calibration.scores) != len(names) or calibration.part_count < LEAST_OTHERS:
        return []
    lines, told = [], np.zeros(len(names), np.bool_)
    for folder in odd_folders(names, calibration.scores):
        inside = np.array([is_in_folder(name, folder.name) for name in names])
        told |= inside
        lines.append(
            f"{len(folder.odd)} of the {folder.images} images in the folder {folder.name} score far above those of the "
            f"other folders. {_thresholds(calibration, inside)} If the folder holds defects, move it out and train "
            "again. If it is another camera or product, add more images of it or train a model of its own. "
            "`blemish check` tells which it is."
        )
    apart = [name for name in outliers(names, calibration) if not told[names.index(name)]]
    if apart:
        odd = np.isin(np.array(names), apart)
        lines.append(
            f"{len(apart)} of {len(names)} good images stand apart: {some(apart)}. {_thresholds(calibration, odd)} "
            "If they do not show good parts, move them out and train again."
        )
    return lines


def _thresholds(calibration: Calibration, without: npt.NDArray[np.bool_]) -> str:
    """The threshold with and without some images `(n,)`; the model that has given the scores holds them all."""
    rest = replace(
        calibration,
        scores=calibration.scores[~without],
        peaks=calibration.peaks[~without],
        parts=calibration.parts[~without],
    )
    return (
        f"With them the threshold is {calibration.threshold():.3g}, without them about {rest.threshold():.3g} "
        "(an estimate: the model still holds them)."
    )
