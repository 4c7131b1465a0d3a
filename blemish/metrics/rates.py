"""Rates in percent and counts, for people."""

from __future__ import annotations

import math

TOLERANCE = 1e-9  # of rates and counts that are equal but for rounding
_DIGITS, _MOST_DIGITS = 2, 4


def rate_text(rate: float) -> str:
    """A rate with two significant digits, or with up to four where they say it exactly: 2.6 %, 14 %, 12.5 %."""
    return rate_texts(rate)[0]


def rate_texts(*rates: float) -> list[str]:
    """The same of several rates, all with as many digits as one of them needs, and as different ones need to differ."""
    for digits in range(max(map(_digits, rates)), 17):
        texts = [_percent(rate, digits) for rate in rates]
        if len(set(texts)) == len(set(rates)):
            break
    return texts


def counted(count: int, noun: str) -> str:
    """'1 image', '2 images', '12,000 images'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def was(count: int) -> str:
    """The verb behind so many things: 'was' or 'were'."""
    return "was" if count == 1 else "were"


def them(count: int) -> str:
    """What stands for so many things: 'it' or 'them'."""
    return "it" if count == 1 else "them"


def rounded_up(rate: float) -> float:
    """The rate in two digits, none below it: "under 4.9 %" must not be said of 4.94 %."""
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return math.ceil(rate / step - TOLERANCE) * step


def _digits(rate: float) -> int:
    """The significant digits that say a rate exactly, where so many do, else two."""
    exact = (n for n in range(_DIGITS, _MOST_DIGITS + 1) if abs(float(f"{rate:.{n}g}") - rate) < TOLERANCE * rate)
    return next(exact, _DIGITS)


def _percent(rate: float, digits: int) -> str:
    """A rate in percent, with no decimals that are zeros."""
    if rate == 0:
        return "0 %"
    percent = 100 * rate
    decimals = max(0, digits - 1 - math.floor(math.log10(percent)))
    text = f"{percent:.{decimals}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"
