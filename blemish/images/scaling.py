"""Samples as a file stores them, and the one way from there to 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from blemish.sample_range import LARGEST, SampleRange

Samples = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Stored:
    """BGR samples (H, W, 3) of a file, and the largest value that the file says a sample can have.

    16-bit containers say 65535 whatever is in them; a PNM or a TIFF of 12 bits says 4095.
    """

    samples: Samples
    largest: int
    white_is_zero: bool = False

    @classmethod
    def of(cls, samples: Samples) -> Stored:
        """Samples that use all of their type's range, as far as the file says."""
        return cls(samples, int(np.iinfo(samples.dtype).max))

    def to_8_bit(self, bit_depth: SampleRange) -> npt.NDArray[np.uint8]:
        """Scaled to 0..255, in the same shape."""
        scaled = to_8_bit(self.samples, bit_depth, self.largest)
        return np.asarray(255 - scaled, np.uint8) if self.white_is_zero else scaled


def to_8_bit(samples: Samples, bit_depth: SampleRange, largest: int = LARGEST) -> npt.NDArray[np.uint8]:
    """16-bit samples scaled to 8 bits, in the same shape; 8-bit samples as they are unless `largest` is below 255.

    Where a file states its own largest value, a number of bits adds nothing to it; a window is applied as always.
    """
    import cv2

    if samples.dtype == np.uint8:
        return samples if largest >= np.iinfo(np.uint8).max else _levels(0, largest)[samples]  # type: ignore[return-value]
    states_its_own = largest != LARGEST and bit_depth.bits is not None
    low, high = (0, largest) if states_its_own else (bit_depth.low, bit_depth.high)
    if bit_depth.meter is not None:
        bit_depth.meter.see(samples, low, high)  # type: ignore[arg-type]
    if states_its_own or bit_depth.bits is None:
        return _levels(low, high)[samples]
    # One exact pass: it rounds to nearest, and no tie exists since 2**bits - 1 is odd.
    scaled = cv2.convertScaleAbs(np.ascontiguousarray(samples), alpha=255 / high)
    return np.asarray(scaled, np.uint8).reshape(samples.shape)


@lru_cache(maxsize=8)
def _levels(low: int, high: int) -> npt.NDArray[np.uint8]:
    """What each of the 65,536 samples becomes: `(v - low) * 255 / (high - low)`, halves rounded up."""
    above = np.clip(np.arange(LARGEST + 1, dtype=np.int64) - low, 0, high - low)
    return ((above * 510 + high - low) // (2 * (high - low))).astype(np.uint8)
