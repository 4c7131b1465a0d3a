"""Says once that a model sees images of another range than it was trained on."""

from __future__ import annotations

import logging
import threading

import numpy as np
import numpy.typing as npt

from blemish.images import Span

log = logging.getLogger("blemish")

_SHARE = 0.1  # of an image's samples; a defect or a reflection is smaller


class ClipWatch:
    """A meter of samples for one opened model."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._said = False
        self._lock = threading.Lock()

    def see(self, samples: npt.NDArray[np.uint16], low: int, high: int) -> None:
        """Warn at the first image of which much becomes black or white whatever it is."""
        if self._said:
            return
        span = Span.of(samples, low, high)
        with self._lock:
            if self._said or span.clipped_share < _SHARE:
                return
            self._said = True
        log.warning(
            "%s reads 16-bit samples from %d to %d, but an image has samples from %d to %d: %.0f %% of them become "
            "black or white. Was the camera set to another depth? Verdicts on such images mean little. Said once.",
            self._name, low, high, span.smallest, span.largest, 100 * span.clipped_share,
        )  # fmt: skip
