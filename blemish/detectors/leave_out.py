"""How far the patches of an image are from the bank that would have been selected without the image's part.

Masking the part's own rows leaves holes: a row stood for patches of other parts too, and one of these would have been
chosen instead. So, for every part, its rows are taken out, and greedy selection goes on from the rest among the patches
of all other parts until there are as many rows as before. Against full selections without a tenth of the parts, the
scores agree; with holes they were far too large (see dev/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blemish.detectors.coreset import PRODUCTS, greedy_more, nearest_squared
from blemish.detectors.memory_bank import BEFORE, MemoryBank

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def left_out_distances(
    features: Floats,
    bank: MemoryBank,
    parts: Ints,
    advance: Callable[[int], None] = lambda _: None,
    covered: float = -1.0,
) -> Floats:
    """Distance `(n, P)` of every patch to the nearest row of a bank that was refilled without its part.

    Args:
        features: `(n, P, d)` of all images, from which the bank was selected.
        bank: the memory bank; it may hold rows of before, which stay.
        parts: the part that each image shows `(n,)`, at least two different ones; not negative.
        advance: called with the number of images done.
        covered: where the selection of the bank ended, as in `extended_bank`.
    """
    points = features.reshape(-1, features.shape[2])  # (n P, d)
    norms = np.einsum("npd,npd->np", features, features)  # (n, P)
    near = _two_nearest(features, norms, bank, parts)
    rows_of = bank.parts_of(parts)  # (M,)
    own_rows = rows_of != BEFORE
    distances = np.empty(features.shape[:2], np.float32)
    done = 0
    for part in np.unique(parts):
        own = parts == part  # (n,)
        left = near.without(part)  # (n, P)
        bounds = np.where(own[:, None], np.float32(-1), left)
        bounds[bank.images[own_rows], bank.cells[own_rows]] = -1
        missing = min(int((rows_of == part).sum()), int((bounds >= 0).sum()))
        refill = points[greedy_more(points, norms.reshape(-1), bounds.reshape(-1), missing, covered=covered)]
        for i in np.flatnonzero(own):
            distances[i] = left[i]
            if len(refill):
                distances[i] = np.minimum(left[i], nearest_squared(features[i], norms[i], refill))
            done += 1
            advance(done)
    return np.sqrt(distances)


@dataclass(frozen=True, eq=False)
class _Nearest:
    """For each patch `(n, P)`: its nearest row's part and squared distance, and that of the next part's."""

    part: Ints
    first: Floats
    second: Floats

    def without(self, part: int) -> Floats:
        """Squared distances to the nearest row that is not of this part."""
        return np.where(self.part == part, self.second, self.first)


def _two_nearest(features: Floats, norms: Floats, bank: MemoryBank, parts: Ints) -> _Nearest:
    """One product of all patches with all rows; `second` is infinite where all rows are of one part."""
    rows_of = bank.parts_of(parts)
    order = np.argsort(rows_of, kind="stable")
    owners, starts = np.unique(rows_of[order], return_index=True)  # (G,)
    factors = np.ascontiguousarray(-2 * bank.rows[order].T)  # (d, M)
    lengths = np.einsum("md,md->m", bank.rows[order], bank.rows[order])
    nearest = np.empty(norms.shape, np.int64)
    first, second = np.empty_like(norms), np.full_like(norms, np.inf)
    size = max(1, PRODUCTS // len(bank))
    for i, patches in enumerate(features):
        for block in (slice(start, start + size) for start in range(0, len(patches), size)):
            products = patches[block] @ factors  # (size, M)
            products += lengths
            of_part = np.minimum.reduceat(products, starts, axis=1)  # (size, G)
            closest = of_part.argmin(axis=1)
            lines = np.arange(len(closest))
            nearest[i, block], first[i, block] = owners[closest], of_part[lines, closest]
            if len(owners) > 1:
                of_part[lines, closest] = np.inf
                second[i, block] = of_part.min(axis=1)
    first += norms
    second += norms
    return _Nearest(nearest, np.maximum(first, 0, out=first), np.maximum(second, 0, out=second))
