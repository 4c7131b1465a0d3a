"""Exact intervals of rates, from the binomial distribution alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError


def binomial_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a rate of which k of n trials were seen (Clopper and Pearson 1934).

    Covers the true rate with at least `level` probability, whatever the rate. No trials give (0, 1): nothing is known.
    Raises `UsageError` unless 0 <= k <= n and 0 < level < 1.
    """
    if not 0 <= k <= n:
        raise UsageError(f"{k} of {n} is no share: the first number lies between 0 and the second")
    tail = (1 - check_level(level)) / 2
    low = beta_quantile(tail, k, n - k + 1) if k else 0.0
    return low, beta_quantile(1 - tail, k + 1, n - k) if k < n else 1.0


def beta_quantile(level: float, a: int, b: int) -> float:
    """The quantile of Beta(a, b) for whole a, b >= 1, by bisection on the binomial tail that equals it."""
    n = a + b - 1
    i = np.arange(a)  # (a,) the counts of P(Binomial(n, x) < a) = P(Beta(a, b) > x)
    ways = _log_ways(i, n)
    low, high = 0.0, 1.0
    for _ in range(64):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if 1 - _tail(ways, i, n, middle) < level else (low, middle)
    return high


def binomial_tail(least: int, trials: int, chance: float) -> float:
    """The chance of at least so many successes in so many trials, each of a chance in (0, 1)."""
    failures = np.arange(trials - least + 1)
    return _tail(_log_ways(failures, trials), failures, trials, 1 - chance)


def check_level(level: float) -> float:
    """The level of an interval, or `UsageError` if it is not between 0 and 1."""
    if not 0 < level < 1:
        raise UsageError(f"the level of an interval lies between 0 and 1, for example 0.95; {level} does not")
    return level


def _log_ways(i: npt.NDArray[np.int_], n: int) -> npt.NDArray[np.float64]:
    """The logarithm of n over i, for i = 0, 1, 2 ..."""
    return np.concatenate([[0.0], np.cumsum(np.log((n - i[:-1]) / i[1:]))])


def _tail(ways: npt.NDArray[np.float64], i: npt.NDArray[np.int_], n: int, x: float) -> float:
    return float(np.exp(ways + i * np.log(x) + (n - i) * np.log1p(-x)).sum())
