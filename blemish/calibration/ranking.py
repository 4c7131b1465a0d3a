"""Values of good images by how many good parts reach them: p-values, thresholds and how sure these are."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blemish.metrics.binomial import beta_quantile
from blemish.metrics.rates import TOLERANCE

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CONFIDENCE = 0.95
STEPS = 2**30  # from a level to the next one, where limits are interpolated; a power of two, so that shares are exact


@dataclass(frozen=True, eq=False)
class Ranking:
    """Distinct values `(m,)`, ascending, and p-values `(m + 1,)`.

    Entry i of the p-values is that of the values above level i - 1 and up to level i. Where `is_even` `(m + 1,)` says
    so, it is that of the lowest of them, and from there up to level i the p-value falls evenly to entry i + 1.

    Without `is_even`, a limit is a level, and a rate between two p-values gives away what it has above the smaller one:
    up to what one part counts. With it, the limit lies as far between the two levels as the rate between their p-values
    (interpolated order statistics, Hutson 1999, "Calculating nonparametric confidence intervals for quantiles using
    fractional order statistics"). That keeps the rate where the survival function of good values is convex between the
    levels, which is where their density falls, as it mostly does in a tail: a convex function lies below its chord, and
    for a uniform tail the mean rate is exact. Whatever the distribution, the mean rate is less than 1 / (G + 1) above
    it. Several parts at the very same value are a jump of the survival function. So there is no interpolation from or
    to a level that weighs more than one part.
    """

    levels: Floats
    p_values: Floats
    is_even: Bools | None = None

    @classmethod
    def of(cls, values: Floats, parts: npt.NDArray[np.int64], *, interpolated: bool = False) -> Ranking:
        """Of values `(n,)` and the parts of their images `(n,)`: an image of a part with m images weighs 1/m."""
        _, part, images = np.unique(parts, return_inverse=True, return_counts=True)
        # In units that every number of images divides, weights are whole and their sums exact while they are small.
        unit = math.lcm(*np.flatnonzero(np.bincount(images)).tolist())
        unit = unit if is_exact(unit, len(images)) else 1
        return cls.of_weights(values, unit / images[part], unit, len(images), interpolated=interpolated)

    @classmethod
    def of_weights(
        cls, values: Floats, weights: npt.ArrayLike, unit: int, parts: int, *, interpolated: bool = False
    ) -> Ranking:
        """Of values `(n,)` of so many parts, by the weight of each `(n,)`; those of a part add up to `unit`."""
        levels, level = np.unique(values, return_inverse=True)
        summed = np.bincount(level, weights)  # (m,)
        at_least = np.append(np.cumsum(summed[::-1])[::-1], 0)  # (m + 1,)
        p_values = (unit + at_least) / (unit * (parts + 1))
        return cls(levels, p_values, _evenly(levels, summed <= unit * (1 + TOLERANCE)) if interpolated else None)

    @classmethod
    def of_largest(cls, values: Floats, parts: npt.NDArray[np.int64], *, interpolated: bool = False) -> Ranking:
        """Of the largest value of each part."""
        numbers, part = np.unique(parts, return_inverse=True)
        largest = np.full(len(numbers), -np.inf)  # (G,)
        np.maximum.at(largest, part, values)
        return cls.of(largest, numbers, interpolated=interpolated)

    def p_value(self, value: float) -> float:
        """The share of good parts that reach a value, the new one counted in.

        It is the smallest rate whose `limit` is below the value: `value > limit(rate)` is the same as
        `p_value(value) <= rate`, for rates from the smallest p-value on.
        """
        place = int(np.searchsorted(self.levels, value))
        if self.is_even is None or not self.is_even[place]:
            return float(self.p_values[place])
        p_value, limit = self._between(place)
        return p_value(bisect_left(range(STEPS), True, key=lambda step: value > limit(step)))

    def limit(self, rate: float) -> float:
        """The smallest value above which every value has a p-value within the rate; the largest level if there is none.

        It is a level, or lies between two levels that are interpolated, in steps that are rounded up.
        """
        if self.is_even is None:  # between two levels, a rate that is smaller by rounding makes no difference
            rate += TOLERANCE
        place = min(int(np.count_nonzero(self.p_values[1:] > rate)), len(self.levels) - 1)
        if self.is_even is None or not self.is_even[place]:
            return float(self.levels[place])
        p_value, limit = self._between(place)
        return limit(max(0, bisect_right(range(STEPS), rate, key=p_value) - 1))

    def _between(self, place: int) -> tuple[Callable[[int], float], Callable[[int], float]]:
        """The p-value and the limit of a step, from 0 at a level to `STEPS` at the next one below.

        Both are monotone also as they are rounded, and so are inverse to each other to the last digit.
        """
        high, low = float(self.levels[place]), float(self.levels[place - 1])
        least, most = float(self.p_values[place + 1]), float(self.p_values[place])
        return (
            lambda step: least + (most - least) * (step / STEPS),
            lambda step: high - (high - low) * (step / STEPS),
        )


def _evenly(levels: Floats, is_single: Bools) -> Bools:
    """Where p-values fall evenly from a level to the one above `(m + 1,)`: between single levels `(m,)`."""
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(np.diff(levels))
    return np.concatenate([[False], is_single[1:] & is_single[:-1] & is_finite, [False]])


def rate_bound(rate: float, parts: int, whole: Callable[[float], int] | None = None) -> float:
    """What the rate of a threshold of so many parts is under with 95 % confidence.

    `whole` makes a rank of a number of parts that is none. Without it, the threshold lies between two values of single
    parts, and the bound as far between theirs: between uniform order statistics, that covers 95 % or a little more.
    """
    expected = rate * (parts + 1)
    if abs(expected - round(expected)) < TOLERANCE:
        expected = round(expected)
    if whole is not None:
        return _rank_bound(whole(expected), parts)
    rank = math.floor(expected)
    bound = _rank_bound(rank, parts)
    return bound if rank < 1 or rank == expected else bound + (expected - rank) * (_rank_bound(rank + 1, parts) - bound)


def _rank_bound(rank: int, parts: int) -> float:
    """The same of the threshold that is the largest value but `rank - 1`; of the largest, if there is no such rank."""
    rank = max(1, rank)
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
