"""A test martingale on p-values: a capital that grows where they are not uniform, from whenever on.

It bets on p-values being too small or too large by functions 1 + e (1 - 2 p), which are 1 on average while the p-values
are uniform (the simple jumper's bets of Vovk et al. 2021, "Retrain or not retrain: conformal test martingales for
change-point detection"). Its first capital 1 is not bet at once: at every step a part of it is, decreasing so slowly
that a change is noticed however late it comes. The sum of cash and stakes is still a martingale that begins at 1, so by
Ville's inequality the chance that it ever reaches 1 / alpha is at most alpha.

Some images of a stream are defects, and no drift. Each bet is therefore divided by the mean that it can have at most
where a share of the p-values is anything at all: what remains is a supermartingale under that much contamination too.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

BETS = (-0.9, -0.45, 0.45, 0.9)
_DELAY = 10.0  # after so many steps a third of the cash is at stake


def _none() -> list[float]:
    return [0.0] * len(BETS)


def _never() -> list[int]:
    return [0] * len(BETS)


@dataclass
class Martingale:
    """The state; `tolerance` is the share of p-values that may be anything.

    `stakes` holds the capital of each bet. `logs` is the logarithm of what each bet would have come to from the first
    step on, `lowest` its lowest value so far and `lowest_at` the step after it: where a change most likely began.
    """

    tolerance: float
    steps: int = 0
    stakes: list[float] = field(default_factory=_none)
    logs: list[float] = field(default_factory=_none)
    lowest: list[float] = field(default_factory=_none)
    lowest_at: list[int] = field(default_factory=_never)

    @property
    def value(self) -> float:
        """Cash and stakes together."""
        return self._cash(self.steps) + sum(self.stakes)

    @property
    def began(self) -> int:
        """The step, counted from 0, from which on the best bet has gained most: the likeliest beginning of a change."""
        gains = [log - lowest for log, lowest in zip(self.logs, self.lowest, strict=True)]
        return self.lowest_at[gains.index(max(gains))]

    def observe(self, p_value: float) -> float:
        """Take in the next p-value, in [0, 1]; returns the value."""
        new = (self._cash(self.steps) - self._cash(self.steps + 1)) / len(BETS)
        self.steps += 1
        for at, bet in enumerate(BETS):
            factor = (1 + bet * (1 - 2 * p_value)) / (1 + self.tolerance * abs(bet))
            self.stakes[at] = (self.stakes[at] + new) * factor
            self.logs[at] += math.log(factor)
            if self.logs[at] <= self.lowest[at]:
                self.lowest[at], self.lowest_at[at] = self.logs[at], self.steps
        return self.value

    def to_json(self) -> dict[str, Any]:
        """The whole state."""
        return asdict(self)

    @staticmethod
    def _cash(steps: int) -> float:
        return math.log(_DELAY) / math.log(_DELAY + steps)
