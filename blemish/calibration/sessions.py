"""Sessions: images that were taken together, under the same light, by the same camera, of the same material.

Good images of one session say nothing of another. So images are scored with their whole session left out, or by a
model that has not learned their session at all, and the threshold covers the worst session: for each alone it is the
split conformal one, so each keeps the stated false-alarm rate, and so does a mixture of them in any proportion (the
group-conditional guarantee of Vovk 2012, "Conditional validity of inductive conformal predictors").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError

# Between two images of one session there is a break at most; between two days there is a night.
GAP = timedelta(hours=4)
TRAINING = "training"  # the session of images that were learned and are told apart no further

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sessions:
    """Which session each good image of a calibration is of.

    Attributes:
        numbers: int64 `(n,)`, the number of each image's session, an index of `names`.
        names: of the sessions, all different; first those that the model has learned.
        learned: how many sessions the model has learned; the others were only scored.
    """

    numbers: Ints
    names: tuple[str, ...]
    learned: int

    @classmethod
    def of_learned(cls, groups: Groups) -> Sessions:
        """Sessions that were all learned."""
        return cls(groups.numbers, groups.names, len(groups.names))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Sessions:
        """The inverse of `to_json`."""
        return cls(np.asarray(data["numbers"], np.int64), tuple(data["names"]), int(data["learned"]))

    def to_json(self) -> dict[str, Any]:
        """As it stands in `model.json`."""
        return {"numbers": self.numbers.tolist(), "names": list(self.names), "learned": self.learned}

    def chosen(self, mask: npt.NDArray[np.bool_]) -> Sessions:
        """Those of some images `(n,)`; a session may then have no image."""
        return Sessions(self.numbers[mask], self.names, self.learned)

    def with_learned(self, count: int) -> Sessions:
        """With so many images more that the model learns: they join the largest session that it has learned."""
        sizes = np.bincount(self.numbers, minlength=len(self.names))[: self.learned]
        if not self.learned:
            numbers = np.append(self.numbers + 1, np.zeros(count, np.int64))
            return Sessions(numbers, (name_apart(TRAINING, self.names), *self.names), 1)
        return Sessions(np.append(self.numbers, np.full(count, sizes.argmax())), self.names, self.learned)

    def of_each(self) -> list[npt.NDArray[np.bool_]]:
        """Which images `(n,)` are of each session that has any, by number."""
        return [self.numbers == number for number in np.unique(self.numbers)]


@dataclass(frozen=True, eq=False)
class Groups:
    """Images in groups: the number of each image's group `(n,)`, and the groups' names."""

    numbers: Ints
    names: tuple[str, ...]


def name_apart(name: str, others: Sequence[str]) -> str:
    """The name, or one with a number where others have it."""
    names = (name, *(f"{name} {number}" for number in range(2, len(others) + 3)))
    return next(free for free in names if free not in others)


def groups_by_time(times: Sequence[datetime]) -> Groups:
    """Images by the time when each was taken: a gap of more than `GAP` begins another group, named by its first time.

    The groups are in the order of time, whatever that of the images is.
    """
    if not times:
        return Groups(np.empty(0, np.int64), ())
    order = sorted(range(len(times)), key=lambda index: times[index])
    numbers, starts = np.empty(len(times), np.int64), [times[order[0]]]
    before = starts[0]
    for index in order:
        if times[index] - before > GAP:
            starts.append(times[index])
        before = times[index]
        numbers[index] = len(starts) - 1
    return Groups(numbers, tuple(f"{start:%Y-%m-%d %H:%M}" for start in starts))


def units_left_out(sessions: Ints, parts: Ints) -> Ints:
    """What has to be left out together `(n,)`: sessions, and with one all others that show a part of it.

    Raises `UsageError` where that joins all of several sessions: nothing would be left to compare with.
    """
    units = np.unique(sessions, return_inverse=True)[1]
    for part in np.unique(parts):
        joined = np.unique(units[parts == part])
        units[np.isin(units, joined)] = joined[0]
    units = np.unique(units, return_inverse=True)[1]
    if units.max() == 0 and len(np.unique(sessions)) > 1:
        raise UsageError(
            "Calibrate.sessions: the sessions show the same parts, so none of them can be left out with its parts. If "
            "they are other parts, say so by Calibrate.group_by with the session in its group; if not, no session can "
            "tell of new parts: leave out Calibrate.sessions"
        )
    return units.astype(np.int64)
