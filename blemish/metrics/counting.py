"""Exact counts of very many values above given thresholds, without sorting them all.

A full sort of 10^8 values is what an exact pixel metric costs naively (40 ns a value where numpy's AVX-512 sort meets a
processor with slow compress-stores). Only the order relative to the thresholds matters, so the values are dealt to
buckets by a monotone map; a bucket without a threshold needs a count only, and just the others' values are sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

_MAX_BUCKETS = 1 << 22
_VALUES_PER_BUCKET = 8  # fewer would cost more in tables than they save in sorting
_BLOCK = 1 << 23  # values counted at once: large against the table, small against the memory
_SAMPLE = 1 << 16


def count_above(thresholds: Floats, values: Sequence[Floats]) -> tuple[Counts, Counts]:
    """How many values lie above each threshold, and how many at or above it: two int64 arrays `(k,)`, exact.

    Args:
        thresholds: float32 `(k,)`, ascending, finite.
        values: flat float32 arrays of any lengths, finite.
    """
    total = sum(map(len, values))
    if not total or not len(thresholds):
        return np.zeros(len(thresholds), np.int64), np.zeros(len(thresholds), np.int64)
    buckets = _Buckets(min(_MAX_BUCKETS, total // _VALUES_PER_BUCKET), sample(values, _SAMPLE))
    mixed, kept = np.zeros(buckets.count, np.bool_), []  # buckets that hold a threshold; the values in them
    own = buckets.of(thresholds)  # (k,)
    mixed[own] = True
    counts = np.zeros(buckets.count, np.int64)
    for block in _blocks(values):
        bucket = buckets.of(block)
        kept.append(block[mixed.take(bucket)])
        counts += np.bincount(bucket, minlength=buckets.count)
    counts[mixed] = 0
    higher = counts.sum() - np.cumsum(counts)[own]  # (k,) values in unmixed buckets above the threshold's own
    rest = np.concatenate(kept)
    rest.sort()
    above = higher + len(rest) - np.searchsorted(rest, thresholds, "right")
    return above, higher + len(rest) - np.searchsorted(rest, thresholds, "left")


def sample(values: Sequence[Floats], size: int) -> Floats:
    """About `size` of the values, evenly spaced in every array, ascending; all of them where there are no more."""
    step = max(1, sum(map(len, values)) // size)
    return np.sort(np.concatenate([array[::step] for array in values]))


def last_of_equals(ordered: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.intp]:
    """Index `(k,)` of the last of each run of equal scores: equal ones fall together."""
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


class _Buckets:
    """A monotone map from float32 to 0 .. count - 1: linear where the bulk of the values lies, clipped outside."""

    def __init__(self, count: int, ordered: Floats) -> None:
        last = len(ordered) - 1
        self.count = max(1, count)
        self._low = ordered[last // 1000]
        width = float(ordered[last - last // 100]) - float(self._low)
        self._scale = np.float32(self.count / max(width, 1e-30))

    def of(self, values: Floats) -> npt.NDArray[np.intp]:
        """The bucket of each value, `(n,)`."""
        with np.errstate(over="ignore"):
            scaled = values - self._low
            scaled *= self._scale
        # float32 holds count - 1 exactly; every step keeps the order of the values
        np.clip(scaled, 0, self.count - 1, out=scaled)
        numbers: npt.NDArray[np.intp] = scaled.astype(np.intp)
        return numbers


def _blocks(values: Sequence[Floats]) -> Iterator[Floats]:
    """The same values in arrays of at least `_BLOCK` values, but for the last."""
    waiting: list[Floats] = []
    size = 0
    for array in values:
        waiting.append(array)
        size += len(array)
        if size >= _BLOCK:
            yield np.concatenate(waiting)
            waiting, size = [], 0
    if waiting:
        yield np.concatenate(waiting)
