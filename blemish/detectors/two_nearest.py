"""The nearest row of a memory bank to each of many patches, and the nearest of another part, in less than all products.

The products of all patches with all rows grow with the square of the images for as long as the bank grows with them.
But the rows of a coreset lie apart from each other, and few of them are near a patch. So each patch goes to a pivot
that is near it, one of the rows that were selected first and spread over all others. Whatever row is nearer to the
patch than a bound is, by the triangle inequality, no farther from the pivot than the patch is and the bound together
(Burkhard and Keller 1973, "Some approaches to best-match file searching"). All others are not looked at. A first bound
comes from the few rows nearest to the pivot. The result is that of all rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from blemish.detectors.coreset import PRODUCTS
from blemish.detectors.memory_bank import MemoryBank

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

ROWS_EACH = 4  # rows for each pivot
PATCHES_EACH = 128  # patches for each pivot; for fewer, a product is too small to be worth a search
LEAST_PIVOTS = 64  # with fewer, hardly any row can be ruled out
CLOSE = 128  # rows nearest to a pivot that give the first bounds
GROUP = 256  # patches of similar reach that are compared with the same rows
ROUNDING = 2e-6  # of the squared lengths, which squared distances as products of float32 are off by at most


class TwoNearest:
    """For each of N patches: its nearest row's part and squared distance, and that of the next part's."""

    def __init__(self, part: Ints, first: Floats, second: Floats) -> None:
        self.part, self.first, self.second = part, first, second

    @classmethod
    def empty(cls, patches: int) -> TwoNearest:
        """Of so many patches, to be filled."""
        return cls(np.empty(patches, np.int64), np.empty(patches, np.float32), np.empty(patches, np.float32))

    def put(self, which: slice | Ints, found: TwoNearest) -> None:
        """Fill in those of some patches."""
        self.part[which], self.first[which], self.second[which] = found.part, found.first, found.second

    def without(self, part: int, which: slice | Ints) -> Floats:
        """Squared distances of some patches to the nearest row that is not of this part."""
        left: Floats = np.where(self.part[which] == part, self.second[which], self.first[which])
        return left


class PartRows:
    """The rows of a bank, and the part that each shows."""

    def __init__(self, bank: MemoryBank, parts: Ints) -> None:
        self._part = bank.parts_of(parts)  # (M,)
        self._rows = bank.rows
        self._factors = -2 * bank.rows
        self._lengths = np.einsum("md,md->m", bank.rows, bank.rows)

    def two_nearest(self, points: Floats, norms: Floats) -> TwoNearest:
        """Of points `(N, d)` of squared lengths `(N,)`; `second` is infinite where all rows are of one part."""
        near = TwoNearest.empty(len(points))
        pivots = min(len(self._rows) // ROWS_EACH, len(points) // PATCHES_EACH)
        if pivots >= LEAST_PIVOTS:
            self._search(points, norms, pivots, near)
            return near
        for block in _blocks(len(points), len(self._rows)):
            near.put(block, self._compared(points[block], norms[block], slice(None)))
        return near

    def _search(self, points: Floats, norms: Floats, pivots: int, near: TwoNearest) -> None:
        """The same of very many points, by as many pivots."""
        pivot, away = self._pivot_of(points, norms, pivots)
        slack = ROUNDING * (math.sqrt(float(norms.max())) + math.sqrt(float(self._lengths.max()))) ** 2
        groups = list(_groups(pivot))
        for block in _blocks(len(groups), len(self._rows)):
            apart = np.sqrt(self._squared([number for number, _ in groups[block]], slice(None)))  # (size, M)
            for (_, members), row_apart in zip(groups[block], apart, strict=True):
                close = np.argpartition(row_apart, min(CLOSE, len(row_apart)) - 1)[:CLOSE]
                bounds = self._compared(points[members], norms[members], close).second
                # each of the three distances is off by the root of the slack at most
                reach = away[members] + np.sqrt(bounds) + 3 * math.sqrt(slack)
                order = np.argsort(reach)
                for some in np.split(order, range(GROUP, len(order), GROUP)):
                    which = members[some]
                    rows = np.flatnonzero(row_apart <= reach[some[-1]])
                    near.put(which, self._compared(points[which], norms[which], rows))

    def _pivot_of(self, points: Floats, norms: Floats, pivots: int) -> tuple[Ints, Floats]:
        """A pivot near each point and the distance to it, both `(N,)`: of those near the coarse pivot nearest to it."""
        coarse = math.ceil(math.sqrt(2 * pivots))
        near = np.argpartition(self._squared(slice(coarse), slice(pivots)), 2 * coarse - 1, axis=1)[:, : 2 * coarse]
        pivot, away = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
        for block in _blocks(len(points), coarse):
            products = self._products(points[block], slice(coarse))
            pivot[block] = products.argmin(axis=1)
        for number, members in _groups(pivot):
            for block in _blocks(len(members), 2 * coarse):
                which = members[block]
                products = self._products(points[which], near[number])  # (size, 2 coarse)
                closest = products.argmin(axis=1)
                pivot[which] = near[number][closest]
                away[which] = products[np.arange(len(which)), closest] + norms[which]
        return pivot, np.sqrt(np.maximum(away, 0))

    def _compared(self, points: Floats, norms: Floats, rows: slice | Ints) -> TwoNearest:
        """Of points `(k, d)` and some rows alone."""
        products, part = self._products(points, rows), self._part[rows]
        closest, lines = products.argmin(axis=1), np.arange(len(points))
        nearest, first = part[closest], products[lines, closest]
        np.copyto(products, np.inf, where=part == nearest[:, None])
        return TwoNearest(nearest, np.maximum(first + norms, 0), np.maximum(products.min(axis=1) + norms, 0))

    def _squared(self, some: slice | list[int], rows: slice) -> Floats:
        """Squared distances `(k, m)` between some rows and others."""
        squared = self._products(self._rows[some], rows)
        squared += self._lengths[some][:, None]
        return np.maximum(squared, 0, out=squared)

    def _products(self, points: Floats, rows: slice | Ints) -> Floats:
        """Squared distances `(k, m)` of points to rows, less the points' squared lengths."""
        products: Floats = points @ self._factors[rows].T
        products += self._lengths[rows]
        return products


def _blocks(count: int, width: int) -> Iterator[slice]:
    """Slices of `count` lines of this width, so short that one stays in the cache."""
    size = max(1, PRODUCTS // width)
    return (slice(start, start + size) for start in range(0, count, size))


def _groups(numbers: Ints) -> Iterator[tuple[int, Ints]]:
    """Each number, and where it stands."""
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    return zip(found.tolist(), np.split(order, starts[1:]), strict=True)
