"""The memory bank: a coreset of patch features, selected in memory or in a stream, and distances to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blemish.detectors.coreset import greedy_coreset, greedy_more, nearest_squared

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SURPLUS = 2  # rows that a chunk keeps for every row that is its part of the merged bank
PENDING = 4  # rows that wait to be merged, for every row of the merged bank
BEFORE = -1  # in the place of an image's number: the row was in the bank before the images at hand came
ROWS = 512  # compared with all others at a time
REFERENCE_ROWS = 2048  # patches that stand for all others when the oddest are sought


@dataclass(frozen=True, eq=False)
class MemoryBank:
    """Features of good patches, float32 `(M, d)`, and the image and grid cell of each, int64 `(M,)`.

    The rows are in the order of their selection. `images` is `BEFORE` where the image is no longer known.
    """

    rows: Floats
    images: Ints
    cells: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: npt.NDArray[np.int64] | npt.NDArray[np.bool_] | slice) -> MemoryBank:
        """The bank of the chosen rows only."""
        return MemoryBank(self.rows[chosen], self.images[chosen], self.cells[chosen])

    def with_row(self, row: Floats, image: int, cell: int) -> MemoryBank:
        """The bank with a patch `(d,)` more, from a cell of an image."""
        return MemoryBank(np.vstack([self.rows, row]), np.append(self.images, image), np.append(self.cells, cell))

    @classmethod
    def of_before(cls, rows: Floats) -> MemoryBank:
        """The bank of a model whose images are gone."""
        return cls(rows, np.full(len(rows), BEFORE, np.int64), np.zeros(len(rows), np.int64))

    def parts_of(self, parts: Ints) -> Ints:
        """The part that each row is of `(M,)`, from those of the images `(n,)`; `BEFORE` where it is not known."""
        return np.where(self.images == BEFORE, BEFORE, parts[self.images])

    def spacing(self) -> float:
        """Squared distance of the two nearest rows; 0 for a single row.

        Greedy selection chose the last row since no patch was farther from the others: all patches that the bank was
        selected from are at most this far from it.
        """
        lengths = np.einsum("md,md->m", self.rows, self.rows)
        least = np.inf
        for start in range(0, len(self), ROWS):
            end = min(start + ROWS, len(self))
            squares = lengths[start:end, None] + lengths[:end] - 2 * self.rows[start:end] @ self.rows[:end].T
            squares[np.arange(start, end)[:, None] <= np.arange(end)] = np.inf  # only rows before: each pair once
            least = min(least, float(squares.min()))
        return max(0.0, least) if len(self) > 1 else 0.0

    def nearest(self, features: Floats) -> tuple[Ints, Floats]:
        """The number of the row nearest to each of a few features `(k, d)`, and its Euclidean distance: `(k,)`s."""
        lengths = np.einsum("md,md->m", self.rows, self.rows)
        nearest = (lengths - 2 * features @ self.rows.T).argmin(axis=1)  # (k,)
        # of the difference itself, which the squares lose where it is small
        return nearest, np.linalg.norm(features - self.rows[nearest], axis=1)

    def distances(self, features: Floats) -> Floats:
        """Euclidean distance `(P,)` of every feature `(P, d)` to its nearest row."""
        return np.sqrt(nearest_squared(features, np.einsum("pd,pd->p", features, features), self.rows))


@dataclass(frozen=True)
class Selection:
    """How a bank is selected.

    Attributes:
        share: part of all patches to keep, in (0, 1].
        least, most: bounds on the rows of the bank, whatever the share says.
        noise_share: part of the patches of every chunk to drop as the oddest, for sets that are not all good.
        seed: start of the random reference that tells the odd ones.
    """

    share: float
    least: int
    most: int
    noise_share: float = 0.0
    seed: int = 0

    def count(self, patches: int) -> int:
        """Rows of a bank of so many patches."""
        return min(patches, self.most, max(self.least, math.ceil(self.share * patches)))


def bank_of(features: Floats, first_image: int, selection: Selection, advance: Callable[[int], None]) -> MemoryBank:
    """The exact greedy coreset of the features `(n, P, d)` of n images numbered from `first_image`."""
    return _selected(
        _clean(features, first_image, selection), selection.count(len(features) * features.shape[1]), advance
    )


def merged_bank(
    chunks: Iterable[tuple[Floats, int]], patches: int, selection: Selection, advance: Callable[[int], None]
) -> tuple[MemoryBank, MemoryBank]:
    """The coreset of coresets of chunks `((n, P, d), first image)`, for features that do not fit into memory.

    With it come the patches that were kept for the final selection and not chosen, which may take the place of rows.

    Every chunk keeps more rows than its part of the bank of all `patches`, so that the final selection has a choice.
    However many chunks come, the rows that wait for it stay few: too many are thinned in between.
    """
    rows = selection.count(patches)
    pending: list[MemoryBank] = []
    for features, first_image in chunks:
        share = len(features) * features.shape[1] / patches
        kept = max(selection.least, math.ceil(SURPLUS * rows * share))
        pending.append(_selected(_clean(features, first_image, selection), kept, _quietly))
        if sum(map(len, pending)) > PENDING * rows:
            pending = [_selected(_union(pending), SURPLUS * rows, _quietly)]
    return _split(_union(pending), rows, advance)


def bank_and_spare(
    features: Floats, first_image: int, selection: Selection, advance: Callable[[int], None]
) -> tuple[MemoryBank, MemoryBank]:
    """As `bank_of`, and as many patches again as selection would have gone on with."""
    clean = _clean(features, first_image, selection)
    rows = selection.count(len(features) * features.shape[1])
    found = _selected(clean, SURPLUS * rows, advance)
    return found.take(np.arange(min(rows, len(found)))), found.take(np.arange(min(rows, len(found)), len(found)))


def extended_bank(
    bank: MemoryBank, features: Floats, first_image: int, selection: Selection, *, most: int, covered: float
) -> MemoryBank:
    """The bank with at most `most` patches of `(n, P, d)` more, with which greedy selection goes on from its rows.

    It ends once no patch is farther than `covered`, a squared distance, from the bank.
    """
    candidates = _clean(features, first_image, selection)
    norms = np.einsum("md,md->m", candidates.rows, candidates.rows)
    bounds = nearest_squared(candidates.rows, norms, bank.rows)
    most = min(most, len(candidates))
    return _union([bank, candidates.take(greedy_more(candidates.rows, norms, bounds, most, covered=covered))])


def _union(banks: list[MemoryBank]) -> MemoryBank:
    return MemoryBank(
        np.concatenate([bank.rows for bank in banks]),
        np.concatenate([bank.images for bank in banks]),
        np.concatenate([bank.cells for bank in banks]),
    )


def _quietly(_done: int) -> None:
    """Progress of a step that is not worth showing."""


def _selected(bank: MemoryBank, count: int, advance: Callable[[int], None]) -> MemoryBank:
    """The greedy coreset of a bank; `take` copies, so the features themselves can be freed or overwritten."""
    return bank.take(greedy_coreset(bank.rows, min(count, len(bank)), advance=advance))


def _split(bank: MemoryBank, count: int, advance: Callable[[int], None]) -> tuple[MemoryBank, MemoryBank]:
    """The greedy coreset of a bank, and the rest."""
    chosen = greedy_coreset(bank.rows, min(count, len(bank)), advance=advance)
    return bank.take(chosen), bank.take(np.setdiff1d(np.arange(len(bank)), chosen))


def _clean(features: Floats, first_image: int, selection: Selection) -> MemoryBank:
    """All patches of `(n, P, d)`, less the oddest."""
    images, patches, dimensions = features.shape
    bank = MemoryBank(
        features.reshape(-1, dimensions),
        np.repeat(np.arange(first_image, first_image + images), patches),
        np.tile(np.arange(patches), images),
    )
    drop = int(selection.noise_share * len(bank))
    if drop == 0 or images < 3:
        return bank
    oddness = _oddness(features, np.random.default_rng((selection.seed, first_image)))  # (n, P)
    return bank.take(np.sort(np.argpartition(oddness.ravel(), len(bank) - drop)[: len(bank) - drop]))


def _oddness(features: Floats, random: np.random.Generator) -> Floats:
    """Distance `(n, P)` of every patch to the nearest of a random reference from the other images.

    A patch that no other image has anything like is noise, as in SoftPatch (Jiang et al. 2022), whose local outlier
    factor this replaces by the plain distance.
    """
    images, patches, _ = features.shape
    picks = np.sort(random.choice(images * patches, min(REFERENCE_ROWS, images * patches), replace=False))
    reference = MemoryBank(features.reshape(images * patches, -1)[picks], picks // patches, picks % patches)
    return np.stack([reference.take(reference.images != i).distances(features[i]) for i in range(images)])
