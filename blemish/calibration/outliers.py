"""Good images that stand apart from the others by their scores: single ones, and whole folders.

A robust deviation is that of the logarithm of the scores, estimated by the median absolute deviation, which outliers
hardly move (Leys et al. 2013, "Detecting outliers").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAD_TO_SIGMA = 1.4826
# Robust deviations above the median. The good images of MVTec's bottle, grid and screw and of three smaller sets have 0
# or 1 image beyond 5.5; of 18 defects planted among them, 11 lie beyond it.
DEVIATIONS = 5.5
# Of a folder, more than half of the images must lie beyond the limit, which is much rarer than one that does. Whoever
# looks at the images too may take a lower one: of 52 folders of 3 to 60 good images from those six sets, beside others
# from the same set, none has its median beyond 1.5, and of 53 folders of defects beside good ones 26 have it beyond 3.
# In a folder of few images these may all be of one part.
FOLDER_DEVIATIONS, FEW = 3.0, 6
LEAST, LEAST_OTHERS = 3, 10  # images of a folder, and of all others, that can be compared
MOST_FOLDERS = 20  # more of them are parts or days rather than kinds, and one of many is odd by chance

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OddFolder:
    """A folder of good images, `images` of them, of which most score far above those of all others: `odd`, by name."""

    name: str
    odd: tuple[str, ...]
    images: int


def outlier_limit(scores: Scores, deviations: float = DEVIATIONS, images: Scores | None = None) -> float:
    """The score beyond which a good image is odd; infinite where all are alike.

    `images` is how many images each score stands for `(n,)`; None for one.
    """
    logs = np.log(np.maximum(scores, 1e-12))
    middle = _median(logs, images)
    spread = MAD_TO_SIGMA * _median(np.abs(logs - middle), images)
    return float(np.exp(middle + deviations * spread)) if spread > 0 else float("inf")


def _median(values: Scores, weights: Scores | None) -> float:
    if weights is None:
        return float(np.median(values))
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(reached, reached[-1] / 2)]])


def odd_folders(names: Sequence[str], scores: Scores, deviations: float = DEVIATIONS) -> list[OddFolder]:
    """The folders most of whose images are odd among the images of the other folders, sorted by name.

    Args:
        names: of good images, with forward slashes; what lies before the last one is the folder.
        scores: `(n,)`, what each image scores when its own part is left out, and all others are not.
        deviations: how many robust ones make an image odd, for folders of six images or more; others take 5.5.

    Folders at every depth are looked at; within one that is odd no other is. Two cameras that each are consistent in
    themselves explain their own images, so neither scores far above the other. A camera with very few images may: only
    a look at where the images are odd tells it from a folder of defects.
    """
    parents = [name.split("/")[:-1] for name in names]
    found: dict[str, OddFolder] = {}
    for depth in range(1, max(map(len, parents), default=0) + 1):
        for folder, inside in _folders(parents, depth).items():
            if any(is_in_folder(f"{folder}/", outer) for outer in found) or not _can_compare(inside):
                continue
            limit = outlier_limit(scores[~inside], DEVIATIONS if inside.sum() < FEW else deviations)
            odd = tuple(names[int(i)] for i in np.flatnonzero(inside & (scores > limit)))
            if len(odd) > inside.sum() / 2:
                found[folder] = OddFolder(folder, odd, int(inside.sum()))
    return sorted(found.values(), key=lambda odd: odd.name)


def is_in_folder(name: str, folder: str) -> bool:
    """Whether an image of this name lies in the folder or below it; the folder "." holds what lies in none."""
    return "/" not in name if folder == "." else name.startswith(f"{folder}/")


def _folders(parents: list[list[str]], depth: int) -> dict[str, npt.NDArray[np.bool_]]:
    """Which images `(n,)` lie in each folder of a depth; none where there is but one folder, or too many."""
    keys = np.array(["/".join(parent[:depth]) or "." for parent in parents])
    folders = np.unique(keys)
    return {str(folder): keys == folder for folder in folders} if 1 < len(folders) <= MOST_FOLDERS else {}


def _can_compare(inside: npt.NDArray[np.bool_]) -> bool:
    """Whether there are enough images in a folder and beside it."""
    return int(inside.sum()) >= LEAST and int((~inside).sum()) >= LEAST_OTHERS
