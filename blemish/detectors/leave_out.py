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

from blemish.detectors.coreset import greedy_more, nearest_squared
from blemish.detectors.memory_bank import BEFORE, MemoryBank
from blemish.detectors.two_nearest import PartRows

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
        self._rows, self._bank, self._changed = PartRows(bank, parts), bank, changed
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

    def distances(self, features: Floats, parts: Ints) -> Floats:
        """Distance `(k, P)` of every patch of some images `(k, P, d)`, which show these parts `(k,)`.

        Many images together take less time for each than one.
        """
        images, patches, dimensions = features.shape
        points = features.reshape(-1, dimensions)
        norms = np.einsum("nd,nd->n", points, points)
        near = self._rows.two_nearest(points, norms)
        distances = np.empty((images, patches), np.float32)
        for image, part in enumerate(parts.tolist()):
            span = slice(image * patches, (image + 1) * patches)
            distances[image] = self._distances(near.without(part, span), points[span], norms[span], part)
        return distances

    def known_distances(self, span: slice, part: int) -> Floats:
        """The same of candidates that are all patches of such an image, whose nearest rows are known."""
        return self._distances(self.near.without(part, span), self._candidates.rows[span], self.norms[span], part)

    def _distances(self, squared: Floats, patches: Floats, norms: Floats, part: int) -> Floats:
        """From squared distances `(P,)` to the rows of other parts, and squared lengths `(P,)`."""
        change = self._changed(part)
        if change is not None:
            return self._changed_distances(patches, part, change)
        refill = self._refill_of(part)
        if len(refill):
            squared = np.minimum(squared, nearest_squared(patches, norms, refill))
        distances: Floats = np.sqrt(squared)
        return distances

    def _changed_distances(self, patches: Floats, part: int, change: Floats) -> Floats:
        """The same where features would have been others without the part."""
        rows = np.concatenate([self._bank.rows[self._rows_of != part], self._refill_of(part)]) @ change
        patches = patches @ change
        distances: Floats = np.sqrt(nearest_squared(patches, np.einsum("pd,pd->p", patches, patches), rows))
        return distances

    def _refill_of(self, part: int) -> Floats:
        if part not in self._refills:
            self._refills[part] = self.refill(part)
        return self._refills[part]


def _places(candidates: MemoryBank, images: Ints, cells: Ints) -> Ints:
    """Where patches stand among the candidates, by image and cell; those that are none of them are left out."""
    most = int(max(candidates.cells.max(initial=0), cells.max(initial=0))) + 1
    keys = candidates.images * most + candidates.cells
    order = np.argsort(keys, kind="stable")
    wanted = images * most + cells
    at = np.searchsorted(keys, wanted, sorter=order)
    found = order[np.minimum(at, len(order) - 1)] if len(order) else np.empty(0, np.int64)
    return found[keys[found] == wanted] if len(order) else found
