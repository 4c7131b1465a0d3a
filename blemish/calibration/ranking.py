"""Values of good images by how many good parts reach them: p-values, thresholds and how sure these are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blemish.metrics.binomial import beta_quantile
from blemish.metrics.rates import TOLERANCE

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Ranking:
    """Distinct values `(m,)`, ascending, and p-values `(m + 1,)`.

    Entry i of the p-values is that of the values above level i - 1 and up to level i.
    """

    levels: Floats
    p_values: Floats

    @classmethod
    def of(cls, values: Floats, parts: npt.NDArray[np.int64]) -> Ranking:
        """Of values `(n,)` and the parts of their images `(n,)`: an image of a part with m images weighs 1/m."""
        _, part, images = np.unique(parts, return_inverse=True, return_counts=True)
        # In units that every number of images divides, weights are whole and their sums exact while they are small.
        unit = math.lcm(*np.flatnonzero(np.bincount(images)).tolist())
        unit = unit if is_exact(unit, len(images)) else 1
        return cls.of_weights(values, unit / images[part], unit, len(images))

    @classmethod
    def of_weights(cls, values: Floats, weights: npt.ArrayLike, unit: int, parts: int) -> Ranking:
        """Of values `(n,)` of so many parts, by the weight of each `(n,)`; those of a part add up to `unit`."""
        levels, level = np.unique(values, return_inverse=True)
        summed = np.bincount(level, weights)  # (m,)
        at_least = np.append(np.cumsum(summed[::-1])[::-1], 0)  # (m + 1,)
        return cls(levels, (unit + at_least) / (unit * (parts + 1)))

    @classmethod
    def of_largest(cls, values: Floats, parts: npt.NDArray[np.int64]) -> Ranking:
        """Of the largest value of each part."""
        numbers, part = np.unique(parts, return_inverse=True)
        largest = np.full(len(numbers), -np.inf)  # (G,)
        np.maximum.at(largest, part, values)
        return cls.of(largest, numbers)

    def p_value(self, value: float) -> float:
        """The share of good parts that reach a value, the new one counted in."""
        return float(self.p_values[np.searchsorted(self.levels, value)])

    def limit(self, rate: float) -> float:
        """The smallest level above which every value has a p-value within the rate; the largest if there is none."""
        beyond = int(np.count_nonzero(self.p_values[1:] > rate + TOLERANCE))
        return float(self.levels[min(beyond, len(self.levels) - 1)])


def rate_bound(rate: float, parts: int, whole: Callable[[float], int]) -> float:
    """What the rate of a threshold of so many parts is under with 95 % confidence.

    `whole` makes a rank of a number of parts that is none.
    """
    expected = rate * (parts + 1)
    rank = max(1, round(expected) if abs(expected - round(expected)) < TOLERANCE else whole(expected))
    return 1.0 if rank > parts else beta_quantile(CONFIDENCE, rank, parts + 1 - rank)


def is_exact(unit: int, parts: int) -> bool:
    """Whether sums of whole weights are exact in float64, where a part weighs `unit`."""
    return unit * (parts + 1) < 2**53


def whole_unit(images: npt.NDArray[np.int64]) -> int:
    """What a part weighs, so that the weights of images are whole, from the number of images of each part `(G,)`.

    Where no such unit is small enough, it is the finest that is, and some weights are rounded.
    """
    unit = math.lcm(*np.flatnonzero(np.bincount(images)).tolist())
    return unit if is_exact(unit, len(images)) else finest_unit(len(images))


def finest_unit(parts: int) -> int:
    """The largest power of two in which so many parts can weigh one each, exactly."""
    return int(2 ** (52 - parts.bit_length()))
