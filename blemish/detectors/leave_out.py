"""How far the patches of an image are from the bank that would have been selected without the image's part.

Masking the part's own rows leaves holes: a row stood for patches of other parts too, and one of these would have been
chosen instead. So, for every part, its rows are taken out, and greedy selection goes on from the rest among the patches
of all other parts until there are as many rows as before. Against full selections without a tenth of the parts, the
scores agree; with holes they were far too large (see dev/LOG.md).

Only patches whose nearest row is the part's are farther from the rest than before. All others keep their distance, so
for each part, selection looks at those and at the few that were farthest from the bank: the work for all parts grows
with the patches, not with parts times patches.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from blemish.detectors.coreset import PRODUCTS, greedy_more, nearest_squared
from blemish.detectors.memory_bank import BEFORE, MemoryBank

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Changed = Callable[[int], Floats | None]

FARTHEST = 256  # patches that selection looks at beside those that have changed; four times as many where they run out


def left_out_distances(
    features: Floats,
    bank: MemoryBank,
    parts: Ints,
    advance: Callable[[int], None] = lambda _: None,
    covered: float = -1.0,
    *,
    changed: Changed = lambda _: None,
) -> Floats:
    """Distance `(n, P)` of every patch to the nearest row of a bank that was refilled without its part.

    Args:
        features: `(n, P, d)` of all images, from which the bank was selected.
        bank: the memory bank; it may hold rows of before, which stay.
        parts: the part that each image shows `(n,)`, at least two different ones; not negative.
        advance: called with the number of images done.
        covered: where the selection of the bank ended, as in `extended_bank`.
        changed: of a part, the linear map `(d, d)` to the features that there would be without it; None for these.
    """
    images, patches, dimensions = features.shape
    numbers = np.repeat(np.arange(images), patches)
    candidates = MemoryBank(features.reshape(-1, dimensions), numbers, np.tile(np.arange(patches), images))
    refilled = RefilledBank(bank, parts, candidates, covered, changed=changed)
    distances = np.empty((images, patches), np.float32)
    done = 0
    for part in np.unique(parts):
        for image in np.flatnonzero(parts == part):
            distances[image] = refilled.known_distances(slice(image * patches, (image + 1) * patches), int(part))
            done += 1
            advance(done)
    return distances


class RefilledBank:
    """A memory bank without the rows of any one part, and with others in their place.

    Attributes:
        near: the nearest rows of each candidate.
        norms: the squared length of each candidate `(N,)`.
    """

    def __init__(
        self,
        bank: MemoryBank,
        parts: Ints,
        candidates: MemoryBank,
        covered: float = -1.0,
        *,
        changed: Changed = lambda _: None,
    ) -> None:
        """`candidates` may take the place of rows: all patches of the images, or what is kept of them.

        `changed` is as in `left_out_distances`.
        """
        self._rows, self._bank, self._changed = _Rows(bank, parts), bank, changed
        self._candidates, self._covered = candidates, covered
        self.norms = np.einsum("nd,nd->n", candidates.rows, candidates.rows)
        self.near = self._rows.two_nearest(candidates.rows, self.norms)
        self._part = candidates.parts_of(parts)  # (N,)
        self._rows_of = rows_of = bank.parts_of(parts)
        self._missing = dict(zip(*np.unique(rows_of, return_counts=True), strict=True))
        # Rows are no candidates, and neither is what was never one.
        bounds = self.near.first.copy()
        own = rows_of != BEFORE
        places = _places(candidates, bank.images[own], bank.cells[own])
        bounds[places] = -1
        self._is_row = np.zeros(len(bounds), np.bool_)
        self._is_row[places] = True
        self._by_distance = np.argsort(-bounds, kind="stable")[: int((bounds >= 0).sum())]
        order = np.argsort(self.near.part, kind="stable")
        owners, starts, sizes = np.unique(self.near.part[order], return_index=True, return_counts=True)
        self._nearest_to = {
            int(owner): order[start : start + size] for owner, start, size in zip(owners, starts, sizes, strict=True)
        }
        self._refills: dict[int, Floats] = {}

    def refill(self, part: int) -> Floats:
        """The features `(k, d)` that take the place of a part's rows."""
        missing = int(self._missing.get(part, 0))
        changed = self._nearest_to.get(part, np.empty(0, np.int64))
        changed = changed[(self._part[changed] != part) & ~self._is_row[changed]]
        most = FARTHEST
        while True:
            farthest, rest = np.split(self._by_distance, [most])
            farthest = farthest[(self._part[farthest] != part) & (self.near.part[farthest] != part)]
            # Selection ends where a patch that it does not look at would be chosen.
            limit = max(self._covered, float(self.near.first[rest[0]]) if len(rest) else -1.0)
            looked_at = np.sort(np.concatenate([changed, farthest]))
            points: Floats = self._candidates.rows[looked_at]
            norms = self.norms[looked_at]
            bounds = self.near.without(part, looked_at)
            found = greedy_more(points, norms, bounds, min(missing, len(points)), covered=limit)
            if len(found) == missing or limit <= self._covered:
                chosen: Floats = points[found]
                return chosen
            most *= 4

    def distances(self, patches: Floats, part: int) -> Floats:
        """Distance `(P,)` of the patches `(P, d)` of an image that shows this part."""
        change = self._changed(part)
        if change is not None:
            return self._changed_distances(patches, part, change)
        norms = np.einsum("pd,pd->p", patches, patches)
        squared = self._rows.two_nearest(patches, norms).without(part, slice(None))
        return self._completed(squared, patches, norms, part)

    def known_distances(self, span: slice, part: int) -> Floats:
        """The same of candidates that are all patches of such an image, whose nearest rows are known."""
        change = self._changed(part)
        if change is not None:
            return self._changed_distances(self._candidates.rows[span], part, change)
        return self._completed(self.near.without(part, span), self._candidates.rows[span], self.norms[span], part)

    def _changed_distances(self, patches: Floats, part: int, change: Floats) -> Floats:
        """The same where features would have been others without the part."""
        rows = np.concatenate([self._bank.rows[self._rows_of != part], self._refill_of(part)]) @ change
        patches = patches @ change
        distances: Floats = np.sqrt(nearest_squared(patches, np.einsum("pd,pd->p", patches, patches), rows))
        return distances

    def _completed(self, squared: Floats, patches: Floats, norms: Floats, part: int) -> Floats:
        """From squared distances `(P,)` to the rows of other parts, and squared lengths `(P,)`."""
        refill = self._refill_of(part)
        if len(refill):
            squared = np.minimum(squared, nearest_squared(patches, norms, refill))
        distances: Floats = np.sqrt(squared)
        return distances

    def _refill_of(self, part: int) -> Floats:
        if part not in self._refills:
            self._refills[part] = self.refill(part)
        return self._refills[part]


class _Nearest:
    """For each of N patches: its nearest row's part and squared distance, and that of the next part's."""

    def __init__(self, part: Ints, first: Floats, second: Floats) -> None:
        self.part, self.first, self.second = part, first, second

    def without(self, part: int, which: slice | Ints) -> Floats:
        """Squared distances of some patches to the nearest row that is not of this part."""
        left: Floats = np.where(self.part[which] == part, self.second[which], self.first[which])
        return left


class _Rows:
    """The rows of a bank, sorted by the part that they show."""

    def __init__(self, bank: MemoryBank, parts: Ints) -> None:
        rows_of = bank.parts_of(parts)
        order = np.argsort(rows_of, kind="stable")
        self._owners, self._starts = np.unique(rows_of[order], return_index=True)  # (G,)
        self._factors = np.ascontiguousarray(-2 * bank.rows[order].T)  # (d, M)
        self._lengths = np.einsum("md,md->m", bank.rows[order], bank.rows[order])

    def two_nearest(self, points: Floats, norms: Floats) -> _Nearest:
        """Of points `(N, d)` of squared lengths `(N,)`; `second` is infinite where all rows are of one part."""
        nearest = np.empty(len(points), np.int64)
        first, second = np.empty(len(points), np.float32), np.full(len(points), np.inf, np.float32)
        size = max(1, PRODUCTS // len(self._lengths))
        for block in (slice(start, start + size) for start in range(0, len(points), size)):
            products = points[block] @ self._factors  # (size, M)
            products += self._lengths
            of_part = np.minimum.reduceat(products, self._starts, axis=1)  # (size, G)
            closest = of_part.argmin(axis=1)
            lines = np.arange(len(closest))
            nearest[block], first[block] = self._owners[closest], of_part[lines, closest]
            if len(self._owners) > 1:
                of_part[lines, closest] = np.inf
                second[block] = of_part.min(axis=1)
        first += norms
        second += norms
        return _Nearest(nearest, np.maximum(first, 0, out=first), np.maximum(second, 0, out=second))


def _places(candidates: MemoryBank, images: Ints, cells: Ints) -> Ints:
    """Where patches stand among the candidates, by image and cell; those that are none of them are left out."""
    most = int(max(candidates.cells.max(initial=0), cells.max(initial=0))) + 1
    keys = candidates.images * most + candidates.cells
    order = np.argsort(keys, kind="stable")
    wanted = images * most + cells
    at = np.searchsorted(keys, wanted, sorter=order)
    found = order[np.minimum(at, len(order) - 1)] if len(order) else np.empty(0, np.int64)
    return found[keys[found] == wanted] if len(order) else found
