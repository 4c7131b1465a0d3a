"""The pixel curves of a category, kept exactly at every score that a defect pixel has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from blemish.metrics.counting import BITS, BLOCK, Counts, Slots, Vector, count_in
from blemish.scratch import Kept, Scratch


class Piece(NamedTuple):
    """Consecutive thresholds at which a curve over defect pixels can bend, falling: distinct scores of defect pixels.

    Between two of them only good pixels are passed, so that counting these at both ends loses nothing.

    Attributes:
        hits: int64 `(k,)`, defect pixels at or above each score.
        overlap: float64 `(k,)`, share of a defect region at or above it, averaged over the regions.
        above: int64 `(k,)`, good pixels above it.
        alarms: int64 `(k,)`, good pixels at or above it.
    """

    hits: Counts
    overlap: Vector
    above: Counts
    alarms: Counts


@dataclass(frozen=True, eq=False)
class Pixels:
    """The scores of a category.

    Attributes:
        good: those of good pixels.
        defects: those of defect pixels.
        regions: int32, the region that each of these belongs to.
        shares: float64 `(regions,)`, what each pixel of a region adds to the mean overlap.
        good_groups, defect_groups: int64 `(GROUPS,)`, how many scores there are in each group of ranks.
    """

    good: Sequence[Kept]
    defects: Sequence[Kept]
    regions: Sequence[Kept]
    shares: Vector
    good_groups: Counts
    defect_groups: Counts


class PixelCurve:
    """All pieces of the curve, from the highest score of a defect pixel down."""

    def __init__(self, pixels: Pixels, scratch: Scratch) -> None:
        self.good, self.defects = int(pixels.good_groups.sum()), int(pixels.defect_groups.sum())
        self._pieces = [
            [scratch.keep(values[start : start + BLOCK].copy()) for values in piece]
            for piece in _counted(pixels)
            for start in range(0, len(piece.hits), BLOCK)
        ]

    def auroc(self) -> float:
        """P(score of a defect pixel > score of a good one) + P(equal) / 2."""
        parts = (np.sum(gained * (self.good - (piece.above + piece.alarms) / 2)) for piece, gained in self._gained())
        return float(sum(parts) / self.good / self.defects)

    def average_precision(self) -> float:
        """Sum over falling scores of (gain in recall) x precision."""
        parts = (np.sum(gained * (piece.hits / (piece.hits + piece.alarms))) for piece, gained in self._gained())
        return float(sum(parts) / self.defects)

    def au_pro(self, limit: float) -> float:
        """Area under the curve up to the limit, divided by the limit."""
        area, ends = 0.0, (0.0, 0.0)
        for rate, overlap in self.pro(limit):
            x, y = np.append(ends[0], rate), np.append(ends[1], overlap)
            area += float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
            ends = rate[-1], overlap[-1]
        return area / limit

    def thinned_pro(self, points: int, limit: float) -> tuple[Vector, Vector]:
        """About so many points of the PRO curve up to the limit, evenly along it, `(m,)` each."""
        for _, overlap in self.pro(limit):
            end = 1 + float(overlap[-1])
        wanted = np.linspace(0, end, points)  # along the way, which rises with every step
        chosen = []
        for rate, overlap in self.pro(limit):
            way = rate / limit + overlap
            at = np.unique(np.searchsorted(way, wanted[wanted <= way[-1]]))
            wanted = wanted[wanted > way[-1]]
            chosen.append((rate[at], overlap[at]))
        rates, overlaps = zip(*chosen, strict=True)
        return np.concatenate(rates), np.concatenate(overlaps)

    def pro(self, limit: float) -> Iterator[tuple[Vector, Vector]]:
        """(false-positive rate, per-region overlap) `(m,)` from (0, 0) to the limit, interpolated there, in pieces."""
        before = 0.0, 0.0
        for rate, overlap in self._pro():
            end = int(np.searchsorted(rate, limit, "right"))
            if end < len(rate):
                x, y = np.append(before[0], rate), np.append(before[1], overlap)
                level = np.interp(limit, x[end : end + 2], y[end : end + 2])
                yield np.append(rate[:end], limit), np.append(overlap[:end], level)
                return
            before = rate[-1], overlap[-1]
            yield rate, overlap

    def _pro(self) -> Iterator[tuple[Vector, Vector]]:
        """The whole curve from (0, 0) to (1, 1): a point before and one after each fall of equal scores."""
        yield np.zeros(1), np.zeros(1)
        before = 0.0
        for piece in self._read():
            rate = np.stack([piece.above, piece.alarms], 1).ravel() / self.good
            overlap = np.empty_like(rate)
            overlap[0], overlap[2::2], overlap[1::2] = before, piece.overlap[:-1], piece.overlap
            before = float(piece.overlap[-1])
            yield rate, overlap
        yield np.ones(1), np.ones(1)

    def _gained(self) -> Iterator[tuple[Piece, Counts]]:
        """Every piece, and the defect pixels that each of its scores brings."""
        before = 0
        for piece in self._read():
            yield piece, np.diff(piece.hits, prepend=before)
            before = int(piece.hits[-1])

    def _read(self) -> Iterator[Piece]:
        for values in self._pieces:
            yield Piece(*(one.read() for one in values))


def _counted(pixels: Pixels) -> Iterator[Piece]:
    """The pieces, one for each pass over the scores."""
    good_before = np.cumsum(pixels.good_groups) - pixels.good_groups  # (GROUPS,) good pixels in higher groups
    hits, overlap = 0, 0.0
    for slots in Slots.over(np.flatnonzero(pixels.defect_groups)):
        found, gained, covered = _defects_in(slots, pixels)
        hits_here, overlap_here = np.cumsum(gained) + hits, covered + overlap
        above, alarms = _good_in(slots, pixels.good, good_before, found)
        yield Piece(hits_here, overlap_here, above, alarms)
        hits, overlap = int(hits_here[-1]), float(overlap_here[-1])


def _defects_in(slots: Slots, pixels: Pixels) -> tuple[npt.NDArray[np.intp], Counts, Vector]:
    """The places of the scores that defect pixels have `(k,)`; how many have each; the overlap down to each."""
    counts, covered = np.zeros(slots.size, np.int64), np.zeros(slots.size)
    for scores, regions in zip(pixels.defects, pixels.regions, strict=True):
        for part, owners in zip(scores.blocks(BLOCK), regions.blocks(BLOCK), strict=True):
            at, place = slots.find(part)
            np.add.at(counts, place, 1)
            np.add.at(covered, place, pixels.shares[owners[at]])
    found = np.flatnonzero(counts)
    # group by group: a sum over millions of places one after another would lose the last digits
    overlap = np.cumsum(covered.reshape(len(slots.groups), -1), axis=1)  # (m, 4096)
    overlap[1:] += np.cumsum(overlap[:-1, -1])[:, None]
    return found, counts[found], overlap.ravel()[found]


def _good_in(
    slots: Slots, good: Sequence[Kept], good_before: Counts, found: npt.NDArray[np.intp]
) -> tuple[Counts, Counts]:
    """Good pixels above, and at or above, the scores at some places `(k,)`."""
    counts = count_in(slots, good)
    equal = counts[found]
    np.cumsum(counts, out=counts)
    ends = counts[(1 << BITS) - 1 :: 1 << BITS]  # (m,) counted up to the end of each group
    starts = np.append(0, ends[:-1])
    slot = found >> BITS
    alarms = counts[found] + (good_before[slots.groups] - starts)[slot]
    return alarms - equal, alarms
