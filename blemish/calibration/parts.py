"""Which images show the same part.

Leaving out one image at a time promises too few false alarms when other images of the same part stay in: they
explain the one that was left out. Images of one part are therefore left out together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blemish.calibration.sessions import Groups
from blemish.errors import UsageError

# Expected number of links by chance among all pairs of unrelated images.
CHANCE_LINKS = 0.01
MAX_DIMENSIONS = 64
LEAST_DIMENSIONS = 3
IMAGES_PER_DIMENSION = 4  # fewer, and whitening spreads even unrelated images evenly apart
ROWS = 512  # images compared with all others at a time


def parts_from_names(names: Sequence[str], pattern: str) -> npt.NDArray[np.int64]:
    """Part numbers `(n,)` from names: images for which `pattern` finds the same text show the same part."""
    return groups_from_names(names, pattern, "Calibrate.group_by").numbers


def groups_from_names(names: Sequence[str], pattern: str, key: str) -> Groups:
    """Images for which `pattern` finds the same text are of one group, in the order in which the texts come.

    The text is the pattern's first group, or its whole match. Raises `UsageError`, which names the pattern by its
    `key` in the run file, for one that is not a regular expression or that a name does not match.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{key} is not a regular expression: {error} in `{pattern}`") from None
    known: dict[str, int] = {}
    numbers = np.empty(len(names), np.int64)
    for i, name in enumerate(names):
        match = expression.search(name)
        text = match and match.group(1 if expression.groups else 0)
        if text is None:
            raise UsageError(f"{key} `{pattern}` finds nothing in `{name}`")
        numbers[i] = known.setdefault(text, len(known))
    return Groups(numbers, tuple(known))


def find_parts(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Part numbers `(n,)` of images, from near-duplicates in their embeddings `(n, d)`.

    After whitening, embeddings of unrelated images point in independent directions: the cosine of two of them in
    k dimensions follows a known law. Pairs whose cosine is beyond what chance gives to all n(n-1)/2 pairs are of
    one part, and so are chains of such pairs. Identical embeddings are always of one part; of fewer than 12 images,
    only these.

    G parts differ in G - 1 dimensions. Where many images show few parts, whitening in more blows up what little
    images of one part differ in. So fewer dimensions are tried too, and count where they find that few parts.
    """
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    parts = np.unique(embeddings, axis=0, return_inverse=True)[1].reshape(-1)
    axes = _principal_axes(centred)  # (n, d)
    dimensions = most = min(MAX_DIMENSIONS, len(embeddings) // IMAGES_PER_DIMENSION, centred.shape[1])
    while dimensions >= LEAST_DIMENSIONS:
        linked = _linked(axes[:, :dimensions], parts)
        if dimensions == most or linked.max() < most:
            parts = linked
        dimensions = dimensions * 3 // 4
    return parts.astype(np.int64)


def chance_cosine(dimensions: int, probability: float) -> float:
    """The cosine that two independent random directions in `dimensions` >= 3 exceed with this probability."""
    angles = np.geomspace(1e-8, np.pi, 20_001)
    density = np.sin(angles) ** (dimensions - 2)
    steps = np.diff(angles) * (density[1:] + density[:-1]) / 2
    within = np.cumsum(steps) / steps.sum()  # share of directions inside each angle but the first
    return float(np.cos(np.interp(probability, within, angles[1:])))


def _principal_axes(centred: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The embeddings `(n, d)` along their principal axes, strongest first, each of length one or zero."""
    scaled = centred / (centred.std(axis=0) + 1e-6 * np.abs(centred).max() + 1e-30)
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    axes: npt.NDArray[np.float64] = scaled @ (vectors / np.sqrt(np.maximum(values, 1e-12 * values[-1] + 1e-30)))
    return axes[:, ::-1]


def _linked(axes: npt.NDArray[np.float64], parts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Part numbers `(n,)`, joined where two images' directions `(n, k)` are nearer than chance has it."""
    total, dimensions = axes.shape
    directions = axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-30)
    limit = chance_cosine(dimensions, CHANCE_LINKS / (total * (total - 1) / 2))
    joined = parts.copy()
    for start in range(0, total, ROWS):
        for near in directions[start : start + ROWS] @ directions.T > limit:  # (n,)
            same = np.unique(joined[near])
            if len(same) > 1:
                joined[np.isin(joined, same)] = same[0]
    return np.unique(joined, return_inverse=True)[1]
