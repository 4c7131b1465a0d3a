"""What a person should know of good images that stand apart from the others, and what they do to the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from blemish.calibration.conformal import Calibration
from blemish.calibration.outliers import LEAST_OTHERS, is_in_folder, odd_folders, outlier_limit
from blemish.datasets.files import some


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
