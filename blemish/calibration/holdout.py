"""Held-out sessions: good images of other days that are not learned, only scored, so that the threshold covers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from blemish.calibration.apart import Apart, find_apart
from blemish.calibration.conformal import Calibration
from blemish.calibration.sessions import TRAINING, Sessions, name_apart
from blemish.calibration.views import ONE_PART
from blemish.datasets import GoodImages, find_good_images
from blemish.datasets.files import some
from blemish.datasets.layouts.loading import folders_called
from blemish.errors import DatasetError, UsageError
from blemish.metrics.rates import counted
from blemish.training_images import TrainingImages


@dataclass(frozen=True)
class Holdout:
    """The good images of a session that is not learned, under the session's name."""

    name: str
    good: GoodImages


def find_holdouts(folders: Sequence[str], good: Sequence[str] = ()) -> list[Holdout]:
    """The good images of each folder, found as those to learn from are; a session is named after its folder.

    `good` names folders that are good whatever they are called; a folder need not have them all.

    Raises `UsageError` for a folder that is given twice and `DatasetError` for one without good images.
    """
    places = [Path(folder).expanduser() for folder in folders]
    for place in places:
        if [other.resolve() for other in places].count(place.resolve()) > 1:
            raise UsageError(f"--holdout, Calibrate.holdout: {place} is given twice")
        outer = next((other for other in places if other.resolve() in place.resolve().parents), None)
        if outer is not None:
            raise UsageError(f"--holdout, Calibrate.holdout: {place} lies in {outer}, so its images would count twice")
    names = _names([place.resolve() for place in places])
    return [
        Holdout(name, find_good_images(place, folders_called(place, good) if place.is_dir() else ()))
        for name, place in zip(names, places, strict=True)
    ]


def named_apart(others: Mapping[str, TrainingImages], learned: Sequence[str]) -> dict[str, TrainingImages]:
    """The images of held-out sessions by names that no session has which is `learned`; these may be told no further."""
    taken, named = list(learned or (TRAINING,)), dict[str, TrainingImages]()
    for name, images in others.items():
        own = name_apart(f"held-out {name}", [*taken, *others]) if name in taken else name
        named[own] = images
    return named


def refuse_learned(held: TrainingImages, images: TrainingImages) -> None:
    """Raise `DatasetError` if images of a held-out session are among those that are learned, whatever their names."""
    learned = set(images.hashes.values())
    both = [name for name, digest in held.hashes.items() if digest in learned]
    if both:
        raise DatasetError(
            f"{held.root}: {len(both)} of {counted(len(held.hashes), 'image')} {'is' if len(both) == 1 else 'are'} "
            f"learned too: {some(both)}; a held-out session has to be new to the model, so remove them from one of both"
        )


def with_holdouts(own: Calibration, others: Sequence[tuple[str, Calibration]], name: str = TRAINING) -> Calibration:
    """The calibration of a model with held-out sessions beside it.

    Args:
        own: that of the images that were learned, whose session is called `name` if they are of one. Where these show
            one part, which cannot be left out, only the held-out sessions calibrate.
        others: the names of the held-out sessions and their calibrations; their parts are others than the learned ones.
    """
    if not others:
        return own
    sessions = own.sessions or Sessions(np.zeros(len(own.scores), np.int64), (name,), 1)
    names, numbers, all_of = list(sessions.names), [sessions.numbers], [own]
    learned = sessions.learned
    if own.kind == ONE_PART:
        names, numbers, all_of, learned = [], [], [], 0
    for session, found in others:
        numbers.append(np.full(len(found.scores), len(names), np.int64))
        names.append(name_apart(session, names))
        all_of.append(found)
    return replace(
        own,
        scores=np.concatenate([each.scores for each in all_of]),
        peaks=np.concatenate([each.peaks for each in all_of]),
        parts=_numbered_apart(all_of),
        kind=f"{own.kind}, held-out sessions" if learned else "held-out sessions",
        sessions=Sessions(np.concatenate(numbers), tuple(names), learned),
    )


def apart_with_holdouts(
    learned: Apart, own: Calibration, others: Sequence[tuple[str, Calibration]], name: str = TRAINING
) -> Apart:
    """The images that stand apart of a model with held-out sessions: the learned ones, and each session's own.

    `learned` are those of the learned images, in whose order the sessions' images follow; the rest is as in
    `with_holdouts`. Without its own images, a held-out session is exact: the model does not hold them.
    """
    if not others:
        return learned
    found = [find_apart(calibration) for _, calibration in others]
    odd = np.concatenate([learned.odd, *(each.odd for each in found)])
    scores = np.concatenate([learned.scores, *(each.scores for each in found)])
    if learned.rest is None and not any(each.odd.any() for each in found):
        return Apart(odd, scores)
    kept = [(session, each.rest or whole) for (session, whole), each in zip(others, found, strict=True)]
    is_exact = learned.is_exact or not learned.odd.any()
    return Apart(odd, scores, with_holdouts(learned.rest or own, kept, name), is_exact)


def _numbered_apart(calibrations: Sequence[Calibration]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Part numbers of all of them, none of which two have."""
    first, numbers = 0, []
    for each in calibrations:
        numbers.append(np.unique(each.parts, return_inverse=True)[1] + first)
        first += each.part_count
    return np.concatenate(numbers).astype(np.int64)


def _names(places: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    for depth in range(1, max((len(place.parts) for place in places), default=0) + 1):
        names = ["/".join(place.parts[-depth:]) for place in places]
        if len(set(names)) == len(names):
            return names
    return []
