"""Counts as rates with their exact intervals."""

from __future__ import annotations

from blemish.metrics import binomial_interval
from blemish.report import Rate


def rate_of(count: int, total: int) -> Rate:
    """`count` of `total` > 0."""
    one_sided = binomial_interval(count, total, 0.9)  # its two ends are one-sided bounds at 95 %
    return Rate(count, total, binomial_interval(count, total), *one_sided)
