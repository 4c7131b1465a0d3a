"""Which samples of a 16-bit image are black and which are white: `Model.bit_depth`, wherever it is carried."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from blemish.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LARGEST = 65_535
_FEWEST_BITS, _MOST_BITS = 10, 16
_WINDOW = re.compile(r"\s*(\d{1,5})\s*-\s*(\d{1,5})\s*")
_ACCEPTED = "be a number of bits, 10 to 16, or a window LOW-HIGH within 0-65535, such as 800-1200"


class Meter(Protocol):
    """Is shown the samples of every image of more than 8 bits, as stored, before they are scaled."""

    def see(self, samples: npt.NDArray[np.uint16], low: int, high: int) -> None:
        """`low` becomes black in it, `high` white."""


@dataclass(frozen=True)
class SampleRange:
    """`low` and what is below it becomes 0, `high` and what is above it 255, and the rest lies evenly between.

    Written as a number of bits, 12 for 0..4095, or as a window, `"800-1200"`. Images of 8 bits are not scaled.
    `meter` is shown what is scaled.
    """

    low: int = 0
    high: int = LARGEST
    meter: Meter | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= LARGEST:
            raise UsageError(f"bit depth {self.low}-{self.high} should {_ACCEPTED}")

    @classmethod
    def of(cls, value: object) -> SampleRange:
        """From a number of bits, a window as text, or another one; `UsageError` for anything else."""
        if isinstance(value, SampleRange):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            if _FEWEST_BITS <= value <= _MOST_BITS:
                return cls(0, (1 << value) - 1)
            raise UsageError(f"bit depth {value} should {_ACCEPTED}")
        match = _WINDOW.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise UsageError(f"bit depth {str(value)[:50]!r} should {_ACCEPTED}")
        return cls(int(match[1]), int(match[2]))

    @property
    def bits(self) -> int | None:
        """The number of bits that say the same, None for a window."""
        bits = self.high.bit_length()
        return bits if not self.low and bits >= _FEWEST_BITS and self.high == (1 << bits) - 1 else None

    @property
    def written(self) -> int | str:
        """As `of` takes it."""
        return f"{self.low}-{self.high}" if self.bits is None else self.bits

    def metered(self, meter: Meter) -> SampleRange:
        """The same, with a meter."""
        return replace(self, meter=meter)

    def __str__(self) -> str:
        return str(self.written)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """In typed records it is read as `of` does, and written as it is `written`."""
        from pydantic_core import core_schema

        def validated(value: object) -> SampleRange:
            try:
                return cls.of(value)
            except UsageError:
                raise ValueError(_ACCEPTED) from None

        written = core_schema.plain_serializer_function_ser_schema(lambda value: value.written)
        return core_schema.no_info_plain_validator_function(validated, serialization=written)


FULL = SampleRange()
BitDepth = SampleRange | int | str  # as callers may write it
