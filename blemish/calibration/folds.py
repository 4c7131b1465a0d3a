"""Leave-parts-out scores by refitting, for detectors that cannot leave out a part cheaply."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import compress

import numpy as np
import numpy.typing as npt

from blemish.detectors import Detector, Image, Images, LeftOut, Progress
from blemish.engines import open_engine

FOLDS = 5


class Chosen(Collection[Image]):
    """Some of the images, without a copy."""

    def __init__(self, images: Images, mask: npt.NDArray[np.bool_]) -> None:
        self._images, self._mask = images, mask

    def __len__(self) -> int:
        return int(self._mask.sum())

    def __iter__(self) -> Iterator[Image]:
        return compress(self._images, self._mask)

    def __contains__(self, image: object) -> bool:
        return any(image is chosen for chosen in self)


def cross_fitted(  # noqa: PLR0917
    make: Callable[[], Detector],
    images: Images,
    parts: npt.NDArray[np.int64],
    device: str,
    progress: Progress | None = None,
    folds: int = FOLDS,
) -> LeftOut:
    """Scores `(n,)` of every image by a detector that was fitted without its part's fold.

    The parts are dealt to at most `folds` folds. A single part cannot be left out: its own fit scores it, which is too
    low; the calibration says so by its one part.
    """
    numbers = np.unique(parts, return_inverse=True)[1]
    fold_of = numbers % min(folds, numbers.max() + 1)  # (n,)
    scores, peaks = np.empty(len(parts)), np.empty(len(parts))
    count = int(fold_of.max()) + 1
    for fold in range(count):
        held = fold_of == fold
        detector = make().fit(Chosen(images, ~held if count > 1 else held))
        left_out = scores_of(detector, Chosen(images, held), device)
        scores[held], peaks[held] = left_out.scores, left_out.peaks
        if progress is not None:
            progress("calibration", fold + 1, count)
    return LeftOut(scores, peaks)


def scores_of(detector: Detector, images: Images, device: str) -> LeftOut:
    """What a fitted detector says of images that it has not seen."""
    engine = open_engine(detector.graph().SerializeToString(), device)
    outputs = [engine.run(image[None]) for image in images]
    scores = np.array([output["score"][0] for output in outputs], np.float64)
    peaks = np.array([output["anomaly_map"].max() for output in outputs], np.float64)
    return LeftOut(scores, peaks)
