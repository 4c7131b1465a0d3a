"""Which taps of a network are read where nobody names them, and which input sizes they allow."""

from __future__ import annotations

import math
from collections.abc import Iterable

_FINE, _COARSE = 8, 16
_FINEST, _COARSEST = 4, 32  # finer grids have too many patches, coarser ones say too little of where
_USUAL_STEP = 32


def usual_strides(strides: Iterable[int]) -> list[int]:
    """The stride nearest to 8 and, of the coarser ones, that nearest to 16: one or two, none outside of 4 to 32.

    Near is meant as a ratio; of two equally near strides the finer one counts.
    """
    known = sorted(stride for stride in set(strides) if _FINEST <= stride <= _COARSEST)
    if not known:
        return []
    fine = _nearest(known, _FINE)
    coarser = [stride for stride in known if stride > fine]
    return [fine, _nearest(coarser, _COARSE)] if coarser else [fine]


def side_step(strides: Iterable[int]) -> int:
    """Width and height must be multiples of this, so that every tap of these strides has a whole grid."""
    common = math.lcm(*strides)
    return _USUAL_STEP if _USUAL_STEP % common == 0 else common


def _nearest(strides: list[int], wanted: int) -> int:
    return min(strides, key=lambda stride: max(stride, wanted) / min(stride, wanted))
