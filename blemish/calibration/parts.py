"""Which images show the same part.

Leaving out one image at a time promises too few false alarms when other images of the same part stay in: they
explain the one that was left out. Images of one part are therefore left out together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError

# Expected number of links by chance among all pairs of unrelated images.
CHANCE_LINKS = 0.01
MAX_DIMENSIONS = 64
IMAGES_PER_DIMENSION = 4  # fewer, and whitening spreads even unrelated images evenly apart
ROWS = 1024  # images compared with all others at a time


def parts_from_names(names: Sequence[str], pattern: str) -> npt.NDArray[np.int64]:
    """Part numbers `(n,)` from names: images for which `pattern` finds the same text show the same part.

    The text is the pattern's first group, or its whole match. Raises `UsageError` for a pattern that is not a
    regular expression or that a name does not match.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"Calibrate.group_by is not a regular expression: {error} in `{pattern}`") from None
    keys = []
    for name in names:
        match = expression.search(name)
        if match is None:
            raise UsageError(f"Calibrate.group_by `{pattern}` finds nothing in `{name}`")
        keys.append(match.group(1 if expression.groups else 0))
    return np.unique(np.asarray(keys, dtype=object).astype(str), return_inverse=True)[1].astype(np.int64)


def find_parts(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Part numbers `(n,)` of images, from near-duplicates in their embeddings `(n, d)`.

    After whitening, embeddings of unrelated images point in independent directions: the cosine of two of them in
    k dimensions follows a known law. Pairs whose cosine is beyond what chance gives to all n(n-1)/2 pairs are of
    one part, and so are chains of such pairs. Identical embeddings are always of one part.
    """
    total = len(embeddings)
    leader = np.arange(total)
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    _link_identical(centred, leader)
    dimensions = min(MAX_DIMENSIONS, total // IMAGES_PER_DIMENSION, centred.shape[1])
    if dimensions >= 3:
        directions = _whitened(centred, dimensions)
        limit = chance_cosine(dimensions, CHANCE_LINKS / (total * (total - 1) / 2))
        for start in range(0, total, ROWS):
            cosines = directions[start : start + ROWS] @ directions.T  # (rows, n)
            for i, j in np.argwhere(np.triu(cosines, start + 1) > limit):
                _link(leader, start + int(i), int(j))
    roots = np.array([_root(leader, i) for i in range(total)])
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def chance_cosine(dimensions: int, probability: float) -> float:
    """The cosine that two independent random directions in `dimensions` >= 3 exceed with this probability."""
    cosines = np.linspace(-1, 1, 200_001)
    density = (1 - cosines**2) ** ((dimensions - 3) / 2)
    tail = np.cumsum(density[::-1])[::-1]
    return float(cosines[np.searchsorted(-tail, -probability * tail[0])])


def _whitened(centred: npt.NDArray[np.float64], dimensions: int) -> npt.NDArray[np.float32]:
    """Unit vectors `(n, k)`: scaled by dimension, decorrelated, the k strongest directions kept."""
    scaled = centred / (centred.std(axis=0) + 1e-6 * np.abs(centred).max() + 1e-30)
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    strongest = slice(len(values) - dimensions, None)
    white = scaled @ (vectors[:, strongest] / np.sqrt(np.maximum(values[strongest], 1e-12 * values[-1] + 1e-30)))
    lengths = np.linalg.norm(white, axis=1, keepdims=True)
    return np.asarray(white / np.maximum(lengths, 1e-30), np.float32)


def _link_identical(centred: npt.NDArray[np.float64], leader: npt.NDArray[np.int64]) -> None:
    first: dict[bytes, int] = {}
    for i, row in enumerate(centred):
        _link(leader, first.setdefault(row.tobytes(), i), i)


def _root(leader: npt.NDArray[np.int64], i: int) -> int:
    while leader[i] != i:
        leader[i] = leader[leader[i]]
        i = int(leader[i])
    return i


def _link(leader: npt.NDArray[np.int64], i: int, j: int) -> None:
    a, b = _root(leader, i), _root(leader, j)
    leader[max(a, b)] = min(a, b)
