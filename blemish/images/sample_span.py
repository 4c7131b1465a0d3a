"""What samples of more than 8 bits some images hold together, and what that means for `Model.bit_depth`."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blemish.sample_range import LARGEST, SampleRange

_USUAL_BITS = (10, 12, 14)  # of cameras; 16 is what files are taken for
_NARROW = 0.25  # of a range: images that use less of it become 8-bit ones of fewer than 64 levels
_CLIPPED = 0.01  # of all samples; a few hot pixels are no reason to warn
_SAMPLES = "samples of 16-bit images"


@dataclass(frozen=True)
class Span:
    """The smallest and largest sample, what becomes black and white, and how many samples lie beyond."""

    smallest: int
    largest: int
    low: int
    high: int
    beyond: int
    samples: int
    images: int = 1

    @classmethod
    def of(cls, samples: npt.NDArray[np.uint16], low: int, high: int) -> Span:
        """That of one image."""
        smallest, largest = int(samples.min()), int(samples.max())
        beyond = 0
        if smallest < low or largest > high:
            beyond = int(np.count_nonzero(samples > high) + np.count_nonzero(samples < low))
        return cls(smallest, largest, low, high, beyond, samples.size)

    def __or__(self, other: Span) -> Span:
        """That of both."""
        return Span(
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
            min(self.low, other.low),
            max(self.high, other.high),
            self.beyond + other.beyond,
            self.samples + other.samples,
            self.images + other.images,
        )

    @property
    def clipped_share(self) -> float:
        """Share of the samples that become black or white whatever they are."""
        return self.beyond / self.samples

    def clipped(self) -> str | None:
        """What to say where samples lie beyond the range."""
        if self.clipped_share <= _CLIPPED:
            return None
        return (
            f"{self.clipped_share:.0%} of the {_SAMPLES} lie outside {self.low} to {self.high}, the range that "
            f"Model.bit_depth states, and become black or white: they go from {self.smallest} to {self.largest}. "
            "Look which range the camera has."
        )

    def unused(self) -> str | None:
        """What to say where the images use so little of the range that they are dark or flat, with the key to set."""
        if self.clipped_share > _CLIPPED or not self.largest:
            return None
        wanted = self._better()
        if wanted is None:
            return None
        who = "The 16-bit image holds" if self.images == 1 else f"The {self.images} 16-bit images hold"
        what = f"{who} samples from {self.smallest} to {self.largest} only, of {self.low} to {self.high}"
        if wanted.bits is None:
            return (
                f"{what}: the model sees them nearly without contrast. Set -o Model.bit_depth={wanted}, "
                "or a wider window where defects can be darker or brighter."
            )
        return (
            f"{what}: the model sees them dark. If this is a {wanted.bits}-bit camera, set -o Model.bit_depth={wanted}."
        )

    def _better(self) -> SampleRange | None:
        bits = next((bits for bits in _USUAL_BITS if self.largest < 1 << bits), 16)
        high = (1 << bits) - 1
        is_fewer = not self.low and self.high == LARGEST and high < self.high
        white = high if is_fewer else self.high
        width = self.largest - self.smallest
        if 0 < width < _NARROW * (white - self.low):
            step = 10 ** max(0, len(str(width)) - 2)
            low = self.smallest - self.smallest % step
            return SampleRange(low, min(LARGEST, self.largest + -self.largest % step))
        return SampleRange.of(bits) if is_fewer else None


class SampleMeter:
    """Takes the span of all images that are read with it; may be used in several threads."""

    def __init__(self) -> None:
        self.span: Span | None = None
        self._lock = threading.Lock()

    def see(self, samples: npt.NDArray[np.uint16], low: int, high: int) -> None:
        """Add an image's samples, of which `low` becomes black and `high` white."""
        span = Span.of(samples, low, high)
        with self._lock:
            self.span = span if self.span is None else self.span | span
