"""A metric for patch features: directions in which good patches usually differ count less.

A good patch differs from its nearest patch of another good image by what varies among good parts: noise, light, a
texture that never repeats. Let S be the second moments of these differences. Distances are taken after the linear map

    T = (S / m + .001)^(-1/4), m the mean eigenvalue of S,

which is half of the Mahalanobis distance of such differences, (S / m)^(-1/2): the full one trusts directions in which
good patches hardly differ so much that noise decides. All dimensions stay, and .001 bounds how much the rarest gains.
Whitening by the features' own covariance is worse: it forgets what differs between the places of one good part.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from itertools import islice
from zlib import crc32

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Image = npt.NDArray[np.uint8]

IMAGES = 32  # that are looked at, at most
SEARCHED = 2_000  # the first images, among which they are chosen: all of many need not be read once more
QUERIES, REFERENCES = 12_000, 1_024  # patches of all of them together
RIDGE = 0.001
MANY_DIMENSIONS, FEW_GROUPS = 512, 8
POWER = -0.25


def representative(images: Iterable[Image]) -> dict[int, Image]:
    """At most 32 images that the metric is from, by their numbers.

    They and their order follow from the checksums of their pixels, so that neither the order of the images nor the
    memory budget makes another metric.
    """
    numbered = enumerate(islice(images, SEARCHED))
    return dict(nsmallest(IMAGES, numbered, key=lambda image: crc32(np.ascontiguousarray(image[1]).data)))


class ResidualMetric:
    """The map T from the patches of good images, and what it would be without some of them.

    An image that T has seen looks less odd under it than a new one does, the more so the fewer images there are: what
    it differs in from the others counts less. So a left-out score needs the T that is left without the image.

    Attributes:
        matrix: T, float32 `(d, d)`, symmetric; None of one image alone, or where nearest patches do not differ.
    """

    def __init__(self, features: Floats, seed: int) -> None:
        """`features` are the patches `(n, P, d)` of n images."""
        images, patches, _ = features.shape
        random = np.random.default_rng(seed)
        queries, references = (max(1, min(patches, count // images)) for count in (QUERIES, REFERENCES))
        picks = [random.permutation(patches) for _ in range(images)]
        self._queries = np.concatenate([some[pick[:queries]] for some, pick in zip(features, picks, strict=True)])
        self._owners = np.repeat(np.arange(images), queries)  # (q,)
        self._references = np.stack([some[pick[-references:]] for some, pick in zip(features, picks, strict=True)])
        # of each query the nearest reference in each image, and its squared distance less a part that all share: (q, n)
        squares = [np.einsum("md,md->m", some, some) - 2 * self._queries @ some.T for some in self._references]
        self._nearest = np.stack([each.argmin(axis=1) for each in squares], axis=1)
        self._squares = np.stack([each.min(axis=1) for each in squares], axis=1)
        self._squares[np.arange(len(self._queries)), self._owners] = np.inf
        self._best = self._squares.argmin(axis=1)  # (q,), the image
        everything = np.arange(len(self._queries))
        self._moments = self._moments_of(everything, self._best) if images > 1 else np.zeros((features.shape[2],) * 2)
        self.matrix = _power(self._moments)

    @property
    def together(self) -> Ints:
        """Which of the images `(n,)` are better left out together: those of one number.

        The roots of large matrices take seconds each, so of many dimensions there are few.
        """
        groups = len(self._references) if self._queries.shape[1] <= MANY_DIMENSIONS else FEW_GROUPS
        return np.arange(len(self._references)) % groups

    def without(self, left_out: npt.NDArray[np.bool_]) -> Floats | None:
        """T of the images that are not left out `(n,)`."""
        if (~left_out).sum() < 2:
            return None
        lost = np.flatnonzero(left_out[self._owners] | left_out[self._best])
        moved = lost[~left_out[self._owners[lost]]]
        elsewhere = np.where(left_out, np.inf, self._squares[moved]).argmin(axis=1)
        return _power(self._moments - self._moments_of(lost, self._best[lost]) + self._moments_of(moved, elsewhere))

    def _moments_of(self, queries: Ints, images: Ints) -> Doubles:
        """Second moments `(d, d)` of some queries less their nearest reference in these images."""
        nearest = self._references[images, self._nearest[queries, images]]
        differences = (self._queries[queries] - nearest).astype(np.float64)
        moments: Doubles = differences.T @ differences
        return moments


def _power(moments: Doubles) -> Floats | None:
    values, vectors = np.linalg.eigh(moments)
    if not values.mean() > 0:
        return None
    gains = (np.maximum(values / values.mean(), 0) + RIDGE) ** POWER
    matrix: Floats = ((vectors * gains) @ vectors.T).astype(np.float32)
    return matrix
