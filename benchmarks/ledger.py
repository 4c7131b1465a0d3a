"""What clients were told, beside what the store holds: answered inspections that are lost, and any that are doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """An inspection as the store has it."""

    number: int
    source: str | None
    score: float


@dataclass
class Ledger:
    """The answers with status 200, by the source that their request alone had.

    An answer knows its number and its score, or only its score, or neither: not every route tells both.
    """

    told: dict[str, tuple[int | None, float | None]] = field(default_factory=dict)
    anonymous: int = 0  # answers of a route that takes no source

    def lost(self, rows: Iterable[Row], anonymous_source: str) -> int:
        """How many answers the store does not have, or has with another number or score."""
        known: dict[str, list[Row]] = {}
        for row in rows:
            known.setdefault(row.source or "", []).append(row)
        missing = sum(
            not any(number in (None, row.number) and score in (None, row.score) for row in known.get(source, ()))
            for source, (number, score) in self.told.items()
        )
        return missing + max(0, self.anonymous - len(known.get(anonymous_source, ())))

    @staticmethod
    def doubled(rows: Iterable[Row], anonymous_source: str) -> int:
        """How many rows have the source of another one."""
        counts = Counter(row.source for row in rows if row.source != anonymous_source)
        return sum(count - 1 for count in counts.values())
