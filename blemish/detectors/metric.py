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
from itertools import islice
from zlib import crc32

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

IMAGES = 32  # that are looked at, at most
SEARCHED = 2_000  # the first images, among which they are chosen: all of many need not be read once more
QUERIES, REFERENCES = 12_000, 1_024  # patches of all of them together
RIDGE = 0.001
POWER = -0.25


def representative(images: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.int64]:
    """Numbers of at most 32 images that the metric is from.

    They and their order follow from the checksums of their pixels, so that neither the order of the images nor the
    memory budget makes another metric.
    """
    checksums = [crc32(np.ascontiguousarray(image).data) for image in islice(images, SEARCHED)]
    return np.argsort(checksums, kind="stable")[:IMAGES]


def residual_metric(features: Floats, seed: int) -> Floats | None:
    """The map T `(d, d)`, symmetric, from the patches `(n, P, d)` of good images.

    None where there is one image alone, or where its nearest patches do not differ.
    """
    if len(features) < 2:
        return None
    random = np.random.default_rng(seed)
    queries = [_some(patches, QUERIES // len(features), random) for patches in features]
    references = [_some(patches, REFERENCES // len(features), random) for patches in features]
    owners = np.repeat(np.arange(len(references)), [len(some) for some in references])
    pool = np.concatenate(references)  # (M, d)
    lengths = np.einsum("md,md->m", pool, pool)
    moments = np.zeros((pool.shape[1],) * 2)
    for image, patches in enumerate(queries):
        squares = lengths - 2 * patches @ pool.T  # (q, M), less the squared lengths of the patches
        squares[:, owners == image] = np.inf
        differences = (patches - pool[squares.argmin(axis=1)]).astype(np.float64)
        moments += differences.T @ differences
    values, vectors = np.linalg.eigh(moments)
    if not values.mean() > 0:
        return None
    gains = (np.maximum(values / values.mean(), 0) + RIDGE) ** POWER
    metric: Floats = ((vectors * gains) @ vectors.T).astype(np.float32)
    return metric


def _some(patches: Floats, count: int, random: np.random.Generator) -> Floats:
    return patches[random.permutation(len(patches))[: max(1, count)]]
