"""A guess at what other good parts score, from the images of one part: the part as it could lie elsewhere.

One part says nothing of how parts differ. What can be tried is how far the model's scores go when the same part lies
differently: mirrored, moved along both sides, nearer and farther, and all of it at once. The largest score is a guess
at a threshold, no more, and no false-alarm rate follows from it. Each image is one of those that the model has learned
from; only the view of it is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.calibration.folds import LeftOut, judged_by
from blemish.engines import Engine
from blemish.images import Inputs

if TYPE_CHECKING:  # a prediction needs the calibration, and no detector
    from blemish.detectors import Progress

Image = npt.NDArray[np.uint8]

ONE_PART = "one part"  # the kind of such a calibration
REACH = 0.1  # by which share of the sides content is moved, and enlarged or reduced


@dataclass(frozen=True)
class View:
    """How an image is shown.

    Attributes:
        flip: whether it is mirrored left to right, and top to bottom.
        move: shares of the width and the height by which its content is moved.
        scale: size of its content, about the middle.
    """

    flip: tuple[bool, bool] = (False, False)
    move: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0

    def of(self, image: Image) -> Image:
        """The view `(height, width, 3)` of an image of the same size; what comes in at an edge is mirrored there."""
        import cv2

        height, width = image.shape[:2]
        across, down = (-1 if flipped else 1 for flipped in self.flip)
        margin = (1 - self.scale) / 2
        shift = (margin + self.move[0]) * width, (margin + self.move[1]) * height
        matrix = np.array([[self.scale, 0, shift[0]], [0, self.scale, shift[1]]])
        flipped = np.ascontiguousarray(image[::down, ::across])
        seen = cv2.warpAffine(
            flipped, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        return np.asarray(seen, np.uint8)


def _views() -> Iterator[View]:
    """In every orientation: where it was (but for the image itself), then in each corner, in three sizes."""
    for flip in product((False, True), (False, True)):
        if any(flip):
            yield View(flip)
        for across, down, scale in product((-REACH, REACH), (-REACH, REACH), (1 - REACH, 1.0, 1 + REACH)):
            yield View(flip, (across, down), scale)


VIEWS = tuple(_views())


def guessed(engine: Engine, inputs: Inputs, progress: Progress | None = None) -> LeftOut:
    """The largest score and map value of views of each good image, all of one part; `engine` runs the fitted network.

    The views are dealt to the images, so that several images of the part take hardly longer than one.
    """
    images, frame = len(inputs.sizes), inputs.frame
    scores, peaks = np.empty(images), np.empty(images)
    for number, (image, size) in enumerate(zip(inputs.images, inputs.sizes, strict=True)):
        views = VIEWS[number % len(VIEWS) :: images]
        shown = [view.of(image) for view in views]
        if frame.area is not None:
            shown = [frame.area.fill(one) for one in shown]
        found = judged_by(engine, Inputs(shown, frame, [size] * len(shown)))
        scores[number], peaks[number] = found.scores.max(), found.peaks.max()
        if progress is not None:
            progress("calibration", number + 1, images)
    return LeftOut(scores, peaks)
