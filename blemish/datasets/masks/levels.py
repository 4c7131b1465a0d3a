"""What a plane of mask values marks: class numbers are all marked, soft edges are cut in the middle.

The two are told apart by their edges, not by their values. Around a marked region, soft edges have ramps: pixels whose
value lies strictly between those of two opposite neighbours. In a map of classes, however many it has, a pixel at the
edge of a region has the value of its region.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[Any]  # (H, W), of any real type, none negative; 0 is background

# Ramps by the pixels between 0 and the largest value that lie in no flat area, and by the pixels at the outer edge.
# Masks of one defect drawn soft in 60 ways (antialiased, blurred, resized, JPEG and WebP of quality 10 to 98, saved as
# PNG) have at least 0.30 and 0.21. Class maps (regions, lines, dozens of them over each other) have 0.08 and 0.15 at
# most from 300 x 400 pixels on, and seldom more at 64 x 64.
RAMPS, RAMPS_OF_EDGE = 0.25, 0.2
DOUBT, DOUBT_OF_EDGE = 0.12, 0.02
LARGEST_CLASS = 32  # of whole numbers: what goes no higher is no brightness
PLATEAU = 0.05  # share of the flat pixels from which on a value is the inside of a region
FAINT = 8  # JPEG's ringing has flat areas too, of less than this fraction of the largest value
MOST = 1 << 22  # pixels looked at; of larger masks, some rows


@dataclass(frozen=True, eq=False)
class Marked:
    """What counts as marked.

    Attributes:
        pixels: True where the defect is, `(H, W)`.
        cut: the value above which a pixel of a mask with soft edges counts; None where all but zero counts.
        is_sure: whether the values leave no doubt which of the two it is.
    """

    pixels: npt.NDArray[np.bool_]
    cut: float | None = None
    is_sure: bool = True


@dataclass(frozen=True, eq=False)
class _Edges:
    """How many of the pixels between zero and the largest value are ramps, of these and by pixels at the outer edge.

    `plateaus` are the values of flat pixels: those whose eight neighbours have the same value.
    """

    ramps: float
    ramps_of_edge: float
    plateaus: Levels


def marked_of(levels: Levels, *, is_lossy: bool = False) -> Marked:
    """What a plane of values `(H, W)` marks. What comes from a lossy file (JPEG) has no class numbers above 32."""
    marked = np.asarray(levels != 0)
    top = levels.max()
    if (marked == (levels == top)).all() or (levels.dtype.kind in "bui" and top <= LARGEST_CLASS):
        return Marked(marked)
    edges = _edges(_around(levels, marked))
    if is_lossy or (edges.ramps >= RAMPS and edges.ramps_of_edge >= RAMPS_OF_EDGE):
        cut = _lowest_plateau(edges.plateaus, float(top)) / 2
        return Marked(np.asarray(levels > cut), cut)
    return Marked(marked, is_sure=edges.ramps <= DOUBT or edges.ramps_of_edge <= DOUBT_OF_EDGE)


def _around(levels: Levels, marked: npt.NDArray[np.bool_]) -> Levels:
    """The part of the plane that holds what is not zero, and one pixel around it."""
    rows, columns = (np.flatnonzero(marked.any(axis=axis)) for axis in (1, 0))
    return levels[max(0, rows[0] - 1) : rows[-1] + 2, max(0, columns[0] - 1) : columns[-1] + 2]


def _edges(levels: Levels) -> _Edges:
    height, width = levels.shape
    rows = np.arange(0, height, max(1, levels.size // MOST))
    near = [np.pad(levels[np.clip(rows + down, 0, height - 1)], ((0, 0), (1, 1)), mode="edge") for down in (-1, 0, 1)]
    middle = near[1][:, 1:-1]
    flat, ramp, edge = np.ones(middle.shape, np.bool_), np.zeros(middle.shape, np.bool_), middle < 0
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = near[1 + down][:, 1 + right : 1 + right + width]
        other = near[1 - down][:, 1 - right : 1 - right + width]
        flat &= (one == middle) & (other == middle)
        ramp |= ((one < middle) & (middle < other)) | ((other < middle) & (middle < one))
        edge |= (one == 0) | (other == 0)
    between = (middle > 0) & (middle < levels.max()) & ~flat
    ramps = int(np.count_nonzero(ramp & between))
    of_all, of_edge = int(np.count_nonzero(between)), int(np.count_nonzero(edge & (middle > 0)))
    return _Edges(ramps / max(1, of_all), ramps / max(1, of_edge), middle[flat & (middle > 0)])


def _lowest_plateau(plateaus: Levels, top: float) -> float:
    """The smallest value that regions have inside; the largest of all if they are too small to have an inside."""
    values, counts = np.unique(plateaus, return_counts=True)
    inside = values[(counts >= PLATEAU * plateaus.size) & (values >= top / FAINT)]
    return float(inside[0]) if len(inside) else top
