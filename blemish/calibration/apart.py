"""Good images that stand apart from all others, as defects among them do, and the calibration without them.

Several defects of one kind explain each other: each scores low while the others are in the model, and is masked. So
the quarter of the images with the highest scores is left out together first; an image that is explained by others of
the quarter alone scores much higher then. The images that stand apart are taken out, all are scored again, and
those that stand apart now join them, until no further one does. This is a search for masked outliers from a clean
subset on (Hadi 1992, "Identifying multiple outliers in multivariate data"), with left-out scores as the distance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.calibration.conformal import Calibration
from blemish.calibration.folds import LeftOut, left_out, scores_of
from blemish.calibration.outliers import LEAST_OTHERS, outlier_limit
from blemish.images import Inputs

if TYPE_CHECKING:  # a prediction needs the calibration, and no detector
    from blemish.detectors import Detector, Progress

ROUNDS = 5  # of taking out and scoring again; a defect that several kinds mask needs a round for each
QUARTER = 0.25
# How much higher an image scores once the quarter is left out, if others of the quarter have masked it. Of 60 sets of
# 26 to 100 good images of MVTec's bottle, grid and screw and three smaller sets, none has an image that does. Beside
# one that does, a smaller leap is enough: all images of its kind have masked each other.
LEAP, BESIDE = 1.4, 1.15

Mask = npt.NDArray[np.bool_]
Scored = Callable[[Mask], "LeftOut | None"]


@dataclass(frozen=True, eq=False)
class Apart:
    """The images that stand apart.

    Attributes:
        odd: which of the images `(n,)`.
        scores: `(n,)`, what tells how odd each is.
        rest: the calibration of the others; None where the odd ones do not calibrate.
        is_exact: whether `rest` is of a model without the odd ones; otherwise the model still holds them.
    """

    odd: Mask
    scores: npt.NDArray[np.float64]
    rest: Calibration | None = None
    is_exact: bool = False

    def names(self, names: Sequence[str], among: Mask | None = None) -> list[str]:
        """The names of the odd ones, highest score first; of those `among` some `(n,)`."""
        odd = self.odd if among is None else self.odd & among
        return [names[i] for i in np.argsort(-self.scores, kind="stable") if odd[i]]


def _not_cheap(_images: Mask) -> None:
    """Nothing can be scored again."""


def find_apart(calibration: Calibration, without: Scored = _not_cheap, together: Scored = _not_cheap) -> Apart:
    """The images of a calibration that stand apart.

    `without` gives what all images score while some `(n,)`, whole parts, are not in the model: these as new images,
    the others with their own part left out. `together` gives what some score while all of them are left out, in order.
    Both give None where that is not cheap. Where there are sessions, an image stands apart among those of its own.
    """
    scores, parts = calibration.scores, calibration.parts
    groups, first = comparable(calibration), np.zeros(len(scores), np.bool_)
    for own in groups:
        first |= own & (scores > outlier_limit(scores[own]))
    found = alone = Apart(first, scores, chosen(calibration, ~first) if first.any() else None)
    if calibration.sessions is not None or not groups:  # images of one session are left out together, and mask nothing
        return alone
    odd = first | _masked(calibration, together)
    for _ in range(ROUNDS):
        out = np.isin(parts, parts[odd])
        leaves_enough = len(np.unique(parts[~out])) >= max(LEAST_OTHERS, calibration.part_count / 2)
        again = without(out) if odd.any() and leaves_enough else None
        if again is None:
            return alone
        now = again.scores > outlier_limit(again.scores[~odd])
        if not (now & ~odd).any():
            return Apart(now, again.scores, chosen(calibration, ~now, again), is_exact=True)
        odd = odd | now
        found = Apart(odd, again.scores, chosen(calibration, ~odd, again))  # those found last are in the model still
    return found


def apart_by(detector: Detector, inputs: Inputs, calibration: Calibration, device: str, progress: Progress) -> Apart:
    """The images that stand apart in the calibration of the detector that was fitted to them."""
    parts = calibration.parts

    def without(out: Mask) -> LeftOut | None:
        rest = detector.without(inputs.of_each(out), inputs.chosen(~out))
        others = None if rest is None else left_out(rest, inputs.chosen(~out), parts[~out], progress)
        if rest is None or others is None:
            return None
        return others.joined(scores_of(rest, inputs.chosen(out), device), out)

    def together(group: Mask) -> LeftOut | None:
        scored = detector.left_out_together(inputs.of_each(group))
        return None if scored is None else LeftOut.of(inputs.chosen(group).judged(scored))

    return find_apart(calibration, without, together)


def comparable(calibration: Calibration) -> list[Mask]:
    """Which images `(n,)` are of each session that has enough parts to tell what is odd."""
    sessions, parts = calibration.sessions, calibration.parts
    masks = [np.ones(len(parts), np.bool_)] if sessions is None else sessions.of_each()
    return [own for own in masks if len(np.unique(parts[own])) >= LEAST_OTHERS]


def _masked(calibration: Calibration, together: Scored) -> Mask:
    """Images `(n,)` that stand apart only once the quarter with the highest scores is left out."""
    scores, parts = calibration.scores, calibration.parts
    top = np.zeros(len(scores), np.bool_)
    top[np.argsort(-scores, kind="stable")[: int(QUARTER * len(scores))]] = True
    top = np.isin(parts, parts[top])
    found = together(top) if top.any() and not top.all() else None
    if found is not None:
        leaps = np.where(found.scores > outlier_limit(scores), found.scores / np.maximum(scores[top], 1e-12), 0)
        top[top] = leaps > (BESIDE if leaps.max() > LEAP else np.inf)
        return top
    return np.zeros(len(scores), np.bool_)


def chosen(calibration: Calibration, mask: Mask, scored: LeftOut | None = None) -> Calibration:
    """The calibration of some of its images `(n,)`, with other scores where they are given."""
    rest = calibration.chosen(mask)
    return rest if scored is None else replace(rest, scores=scored.scores[mask], peaks=scored.peaks[mask])


def apart_limit(calibration: Calibration) -> float:
    """The score beyond which a new image stands apart from the good images of a calibration.

    Too few of them cannot tell what is usual; then it is the highest of theirs. Of several sessions the widest counts.
    """
    return max(map(_session_limit, calibration.each_session))


def _session_limit(one: Calibration) -> float:
    if one.part_count < LEAST_OTHERS:
        return float(one.scores.max())
    return outlier_limit(one.scores, images=None if one.counted is None else one.images_each)
