"""Exact counts of very many scores, without sorting them, in memory that does not grow with their number.

There are only 2^32 numbers in float32, and their bits tell their order. So a score has a *rank*, 0 for the highest
number there is, and ranks can be counted: first in coarse groups of 4096 neighbouring ranks, then one by one, but only
in those groups that hold a threshold, and of these a number at a time. However many scores there are, a pass takes the
same memory, and a category of 0.1 or of 10 gigapixels takes as many passes. (A full sort costs 40 ns a value where
numpy's AVX-512 sort meets a processor with slow compress-stores.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.scratch import Kept

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.uint32]

BITS = 12  # of a rank within its group
GROUPS = 1 << (32 - BITS)
BLOCK = 1 << 18  # scores looked at together, so few that they stay in the cache
SLOTS = 1024  # groups that are counted rank by rank in one pass: 34 MB of counts
_SIGN_APART = np.int32(0x7FFFFFFF)


def ranks(scores: Floats) -> Ranks:
    """The rank of each finite score `(n,)`: the higher the score the lower, equal for equal scores (0 and -0 too)."""
    bits = (scores + np.float32(0)).view(np.int32)  # -0 + 0 is 0
    # a positive number's bits grow with it, a negative number's with its distance from zero
    of: Ranks = np.where(bits < 0, bits, bits ^ _SIGN_APART).view(np.uint32)
    return of


def _score(rank: int) -> float:
    """The number with this rank; infinite where it is none."""
    bits = np.array([rank], np.uint32).view(np.int32)
    (score,) = np.where(bits < 0, bits, bits ^ _SIGN_APART).view(np.float32).tolist()
    return score if math.isfinite(score) else math.copysign(math.inf, 1 if rank < 1 << 31 else -1)


def count_groups(scores: Floats) -> tuple[slice, Counts]:
    """How many of some scores `(n,)` there are in each group of ranks, from that of the highest to the lowest."""
    first, last = (int(rank) >> BITS for rank in ranks(np.array([scores.max(), scores.min()])))
    counts = np.zeros(last - first + 1, np.int64)
    for start in range(0, len(scores), BLOCK):
        groups = (ranks(scores[start : start + BLOCK]) >> BITS).view(np.int32)
        groups -= np.int32(first)
        counts += np.bincount(groups, minlength=len(counts))
    return slice(first, last + 1), counts


@dataclass(frozen=True, eq=False)
class Slots:
    """Some groups, `(m,)` ascending, whose ranks are counted one by one."""

    groups: npt.NDArray[np.intp]

    @classmethod
    def over(cls, groups: npt.NDArray[np.intp]) -> Iterator[Slots]:
        """All these groups, as many as a pass can count."""
        for start in range(0, len(groups), SLOTS):
            yield cls(groups[start : start + SLOTS])

    @property
    def size(self) -> int:
        """How many ranks there are in these groups."""
        return len(self.groups) << BITS

    def find(self, scores: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Which scores `(n,)` are in these groups, by their index, and the place of each that is, from 0 to `size`."""
        low, high = self._range
        at = np.flatnonzero((scores >= low) & (scores <= high))
        of = ranks(scores[at])
        slot = self._table.take((of >> BITS) - np.uint32(self.groups[0]))
        if len(self.groups) != len(self._table):
            inside = slot >= 0
            at, of, slot = at[inside], of[inside], slot[inside]
        return at, (slot << BITS) + (of & np.uint32((1 << BITS) - 1))

    @cached_property
    def _range(self) -> tuple[np.float32, np.float32]:
        """The lowest and the highest score from the first to the last of the groups, those between them included."""
        low, high = (self.groups[-1] + 1 << BITS) - 1, self.groups[0] << BITS
        return np.float32(_score(int(low))), np.float32(_score(int(high)))

    @cached_property
    def _table(self) -> npt.NDArray[np.intp]:
        """The slot of each group from the first to the last, -1 where it is none of these."""
        table = np.full(self.groups[-1] - self.groups[0] + 1, -1)
        table[self.groups - self.groups[0]] = np.arange(len(self.groups))
        return table


def in_blocks(arrays: Sequence[Kept]) -> Iterator[npt.NDArray[Any]]:
    """The same numbers in arrays of about `BLOCK`: small arrays together, large ones in parts."""
    waiting: list[npt.NDArray[Any]] = []
    size = 0
    for array in arrays:
        for part in array.blocks(BLOCK):
            if size + len(part) > BLOCK:
                yield np.concatenate(waiting)
                waiting, size = [], 0
            waiting.append(part)
            size += len(part)
    if waiting:
        yield np.concatenate(waiting)


def count_in(slots: Slots, arrays: Sequence[Kept]) -> Counts:
    """How many of the scores have each rank of the slots, `(slots.size,)`."""
    counts = np.zeros(slots.size, np.int64)
    for block in in_blocks(arrays):
        np.add.at(counts, slots.find(block)[1], 1)
    return counts


def last_of_equals(ordered: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.intp]:
    """Index `(k,)` of the last of each run of equal scores: equal ones fall together."""
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
