"""Leave-parts-out scores: those that a detector gives cheaply, or else by refitting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.engines import Engine, open_engine
from blemish.images import Inputs, Scored

if TYPE_CHECKING:  # a prediction needs the calibration, and no detector
    from blemish.detectors import Detector, Progress

FOLDS = 5


@dataclass(frozen=True)
class LeftOut:
    """What each good image scores when all images of its part are left out; both float64 `(n,)`."""

    scores: npt.NDArray[np.float64]
    peaks: npt.NDArray[np.float64]

    @classmethod
    def of(cls, images: Iterable[Scored]) -> LeftOut:
        """From the score and the map of every image."""
        pairs = [(score, float(anomaly_map.max())) for score, anomaly_map in images]
        return cls(*np.array(pairs, np.float64).reshape(-1, 2).T)

    def joined(self, others: LeftOut, where: npt.NDArray[np.bool_]) -> LeftOut:
        """These and `others` in one, with the others at `where` `(n,)`."""
        scores, peaks = np.empty(len(where)), np.empty(len(where))
        scores[~where], peaks[~where] = self.scores, self.peaks
        scores[where], peaks[where] = others.scores, others.peaks
        return LeftOut(scores, peaks)


def left_out(detector: Detector, inputs: Inputs, parts: npt.NDArray[np.int64], progress: Progress) -> LeftOut | None:
    """What a fitted detector says cheaply of the images it was fitted to, or None; `parts` is of the images `(n,)`."""
    scored = detector.left_out(inputs.of_each(parts), progress)
    return None if scored is None else LeftOut.of(inputs.judged(scored))


def cross_fitted(  # noqa: PLR0917
    make: Callable[[], Detector],
    inputs: Inputs,
    parts: npt.NDArray[np.int64],
    device: str,
    progress: Progress | None = None,
    folds: int = FOLDS,
) -> LeftOut:
    """Scores `(n,)` of every image by a detector that was fitted without its part's fold.

    The parts, two or more, are dealt to at most `folds` folds.
    """
    numbers = np.unique(parts, return_inverse=True)[1]
    fold_of = numbers % min(folds, numbers.max() + 1)  # (n,)
    scores, peaks = np.empty(len(parts)), np.empty(len(parts))
    count = int(fold_of.max()) + 1
    for fold in range(count):
        held = fold_of == fold
        detector = make().fit(inputs.chosen(~held))
        found = scores_of(detector, inputs.chosen(held), device)
        scores[held], peaks[held] = found.scores, found.peaks
        if progress is not None:
            progress("calibration", fold + 1, count)
    return LeftOut(scores, peaks)


def scores_of(detector: Detector, inputs: Inputs, device: str) -> LeftOut:
    """What a fitted detector says of images that it has not seen."""
    return judged_by(open_engine(detector.graph().SerializeToString(), device), inputs)


def judged_by(engine: Engine, inputs: Inputs) -> LeftOut:
    """What a network says of images that it has not seen."""
    return LeftOut.of(inputs.judged(scored_by(engine, inputs)))


def scored_by(engine: Engine, inputs: Inputs) -> Iterator[Scored]:
    """Score and map of each of the network's inputs, one at a time."""
    for pixels in inputs:
        outputs = engine.run(pixels[None])
        yield float(outputs["score"][0]), outputs["anomaly_map"][0]
