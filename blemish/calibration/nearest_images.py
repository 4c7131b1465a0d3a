"""How well other images explain an image, patch by patch: from small sketches of all patches of each image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Ints = npt.NDArray[np.int64]

NEAREST = 32  # images that an image is compared with, the likeliest ones where there are more
# Patches that stand for an image, each compared with all patches of the other image; fewer where their distances
# would take more than `ROOM` bytes.
QUERIES, LEAST_QUERIES = 64, 16
ROOM = 32 << 20
# Differences are averaged by the mean of fourth powers: as in the image score, the places that differ most count most.
POWER = 4
BLOCK = 2048  # images that are compared with others at a time, at most


@dataclass(frozen=True, eq=False)
class NearestImages:
    """The images `(n, k)` that explain each of n images best, best first, and how well.

    `squared` are the squared distances `(n, k, q)` of q patches of an image to the nearest patch of each of those.
    """

    images: Ints
    squared: Floats

    def distance(self) -> Floats:
        """How far each image is from each of its nearest, `(n, k)`."""
        blocks = (self.squared[start : start + BLOCK] for start in range(0, len(self.squared), BLOCK))
        return np.concatenate([powered(block) for block in blocks])

    def without(self, image: int, left_out: npt.NDArray[np.bool_]) -> float:
        """How far an image is from what all its nearest show together, less those left out `(k,)`."""
        return float(powered(self.squared[image, ~left_out].min(axis=0)))


def powered(squared: Floats) -> Floats:
    """The mean distance over the last axis, from squared distances."""
    mean: Floats = np.mean(squared ** (POWER // 2), axis=-1) ** (1 / POWER)
    return mean


def nearest_images(sketches: Halves) -> NearestImages:
    """For each of n >= 2 images, from the sketches of their patches `(n, p, d)`."""
    total, patches = sketches.shape[:2]
    candidates = _candidates(sketches)  # (n, k)
    count = max(LEAST_QUERIES, min(QUERIES, ROOM // (4 * candidates.size)))
    chosen = np.random.default_rng(0).permutation(patches)[:count]
    queries = sketches[:, np.sort(chosen)]  # (n, q, d)
    squared = np.empty((*candidates.shape, queries.shape[1]), np.float32)
    seen_by = np.argsort(candidates, axis=None, kind="stable")  # places in (n, k), by the image that they name
    starts = np.searchsorted(candidates.ravel()[seen_by], np.arange(total + 1))
    for image in range(total):
        places = seen_by[starts[image] : starts[image + 1]]
        if len(places):
            who, slot = np.divmod(places, candidates.shape[1])
            pool = sketches[image].astype(np.float32)  # (p, d)
            asked = queries[who].astype(np.float32).reshape(-1, pool.shape[1])
            lengths = np.einsum("qd,qd->q", asked, asked)
            products = (-2 * pool) @ asked.T  # (p, q of all who ask)
            products += np.einsum("pd,pd->p", pool, pool)[:, None]
            squared[who, slot] = np.maximum(products.min(axis=0) + lengths, 0).reshape(len(who), -1)
    for start in range(0, total, BLOCK):  # in place, block by block: copies of all would be what takes most memory
        block = slice(start, start + BLOCK)
        order = np.argsort(powered(squared[block]), axis=1, kind="stable")  # (b, k)
        candidates[block] = np.take_along_axis(candidates[block], order, axis=1)
        squared[block] = np.take_along_axis(squared[block], order[..., None], axis=1)
    return NearestImages(candidates, squared)


def summaries(sketches: Halves) -> Floats:
    """Mean and deviation of each image's patches, `(n, 2 d)`, in units of their spread over the images."""
    values = np.stack([_summary(sketch.astype(np.float32)) for sketch in sketches])
    return np.asarray((values - values.mean(axis=0)) / (values.std(axis=0) + 1e-12), np.float32)


def _summary(patches: Floats) -> Floats:
    return np.concatenate([patches.mean(axis=0), patches.std(axis=0)])


def _candidates(sketches: Halves) -> Ints:
    """The images `(n, k)` to compare each image with: all others, or those of the nearest summaries."""
    total = len(sketches)
    if total - 1 <= NEAREST:
        return np.array([[j for j in range(total) if j != i] for i in range(total)], np.int64)
    values = summaries(sketches)
    lengths = np.einsum("nd,nd->n", values, values)
    found = np.empty((total, NEAREST), np.int64)
    rows = max(1, min(BLOCK, ROOM // (8 * total)))
    for start in range(0, total, rows):
        apart = lengths - 2 * values[start : start + rows] @ values.T
        own = np.arange(len(apart))
        apart[own, start + own] = np.inf
        found[start : start + rows] = np.argpartition(apart, NEAREST, axis=1)[:, :NEAREST]
    return found
