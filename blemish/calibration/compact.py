"""A calibration of very many images in few entries: the largest as they are, the others in levels.

Thresholds and p-values depend on scores, on peaks and on the largest scores of parts each for themselves, by the weight
of what is at least as large. So of each such column, sorted from the largest down, only the value at some positions is
kept, a position being the weight before it. All positions of the upper tail are kept, which is exact there. Below,
there is one for every rate of three digits: the threshold at such a rate is exact too. Between two positions,
everything counts as the value at the first, the largest of them. So no p-value is smaller than the true one, none is
larger by more than 1.1 % of it, and no threshold is lower. Weights are whole, so all of this is without rounding.

Thresholds are interpolated from and to entries of at most one part's weight. That is so in the tail, and hardly below,
where they are the larger of the two scores then: they keep a rate that is smaller by at most one part among all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from blemish.calibration.conformal import Calibration
from blemish.calibration.counted import Counted, Totals, joined
from blemish.calibration.ranking import finest_unit, is_exact, whole_unit
from blemish.calibration.sessions import Sessions
from blemish.metrics.rates import TOLERANCE

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST = 100_000  # images that have an entry each, and entries of all sessions of more images
DIGITS = (3, 2, 1)  # of the rates whose thresholds are kept, the most that leave half of the room to the tail


def compact(calibration: Calibration, most: int = MOST) -> Calibration:
    """The same calibration in at most so many entries, or two for each session; itself where it has no more."""
    if len(calibration.scores) <= most:
        return calibration
    if calibration.counted is None:
        sessions = [_Columns.of_images(one) for one in calibration.each_session]
    else:
        sessions = [_Columns.of_entries(one) for one in calibration.each_session]
    return _assembled(calibration, sessions, most)


def with_images(calibration: Calibration, added: Calibration, most: int = MOST) -> Calibration:
    """A compact calibration with images of other parts more, which join the largest session that was learned."""
    columns, new = [_Columns.of_entries(one) for one in calibration.each_session], _Columns.of_images(added)
    sessions, into = calibration.sessions, 0
    if sessions is not None and not sessions.learned:
        columns.insert(0, new)
        sessions = sessions.with_learned(0)
    else:
        if sessions is not None:
            into = int(np.argmax([one.totals.images for one in columns[: sessions.learned]]))
        columns[into] = columns[into].with_others(new)
    return _assembled(replace(calibration, sessions=sessions), columns, most, added.part_count)


@dataclass(frozen=True, eq=False)
class _Columns:
    """The values of a session from the largest down, and the weight before each: scores, peaks, largest of parts."""

    values: list[Floats]
    starts: list[Ints]
    totals: Totals

    @classmethod
    def of(cls, values: list[Floats], weights: list[Ints], totals: Totals) -> _Columns:
        """From values in any order and their weights."""
        orders = [np.argsort(-column) for column in values]
        each = list(zip(values, weights, orders, strict=True))
        starts = [np.cumsum(weight[order]) - weight[order] for _, weight, order in each]
        return cls([column[order] for column, _, order in each], starts, totals)

    @classmethod
    def of_images(cls, calibration: Calibration) -> _Columns:
        """Of a calibration with an entry for each image, of one session."""
        _, part, images = np.unique(calibration.parts, return_inverse=True, return_counts=True)
        unit = whole_unit(images)
        weights = _whole(images, part, unit)
        largest = np.full(len(images), -np.inf)
        np.maximum.at(largest, part, calibration.scores)
        totals = Totals(len(part), len(images), unit, (int(images.min()), int(images.max())))
        values = [calibration.scores, calibration.peaks, largest]
        return cls.of(values, [weights, weights, np.full(len(images), unit)], totals)

    @classmethod
    def of_entries(cls, calibration: Calibration) -> _Columns:
        """Of a compact calibration of one session."""
        assert calibration.counted is not None
        weights, largest = calibration.counted.weights, calibration.counted.largest
        values = [calibration.scores, calibration.peaks, calibration.scores if largest is None else largest]
        return cls.of(values, [weights] * 3, calibration.counted.totals[0])

    def with_others(self, others: _Columns) -> _Columns:
        """Both together, in a unit that is whole for both, or as fine as numbers can be."""
        ours, theirs = self.totals, others.totals
        parts = ours.parts + theirs.parts
        unit = _common(ours.unit, theirs.unit, parts)
        counts = ours.images_per_part, theirs.images_per_part
        totals = Totals(
            ours.images + theirs.images,
            parts,
            unit,
            (min(least for least, _ in counts), max(most for _, most in counts)),
        )
        both = (self, others)
        scaled = [[_rescaled(starts, each.totals, unit) for starts in each.starts] for each in both]
        values = [np.concatenate(pair) for pair in zip(self.values, others.values, strict=True)]
        return _Columns.of(values, [np.concatenate(pair) for pair in zip(*scaled, strict=True)], totals)

    def at(self, positions: Ints) -> list[Floats]:
        """The values that cover each position."""
        columns = zip(self.values, self.starts, strict=True)
        return [values[np.searchsorted(starts, positions, "right") - 1] for values, starts in columns]

    def positions(self, room: int, tolerance: float) -> Ints:
        """The positions to keep, at most `room` and at least one: those of the rates, and of the tail what is left."""
        whole = self.totals.unit * self.totals.parts
        # sorted each: none further down is among the first of all together
        starts = _distinct(np.concatenate([column[: room + 1] for column in self.starts]))
        if len(starts) <= room:
            return starts
        of_rates = next((found for found in self._of_each(tolerance) if len(found) <= room // 2), starts[:0])
        tail = starts[: max(1, room - len(of_rates))]
        kept = _distinct(np.concatenate([tail, of_rates]))
        return kept[kept < whole]

    def _of_each(self, tolerance: float) -> Iterator[Ints]:
        return (self._of_rates(digits, tolerance) for digits in DIGITS)

    def _of_rates(self, digits: int, tolerance: float) -> Ints:
        """The position of the threshold at every rate of so many digits that the parts support.

        It is the last one whose p-value is at most the rate and the tolerance, as they are rounded.
        """
        unit, parts = self.totals.unit, self.totals.parts
        decades = range(-math.ceil(math.log10(parts + 1)) - digits, 1 - digits)
        rates = np.concatenate([np.arange(10 ** (digits - 1), 10**digits) / 10.0**-exponent for exponent in decades])
        rates = rates + tolerance
        positions = np.floor((rates * (parts + 1) - 1) * unit).astype(np.int64) + 2
        for _ in range(4):
            positions -= (unit + positions) / (unit * (parts + 1)) > rates
        return _distinct(positions[positions >= 0])


def _assembled(calibration: Calibration, columns: list[_Columns], most: int, more_parts: int = 0) -> Calibration:
    """The calibration of these sessions, with so many parts more than before."""
    room = max(2, most // len(columns))
    scores, peaks, counted, numbers = [], [], [], []
    has_several = any(each.totals.images > each.totals.parts for each in columns)
    for number, each in enumerate(columns):
        positions = each.positions(room, 0.0 if calibration.interpolated else TOLERANCE)
        weights = np.diff(positions, append=each.totals.unit * each.totals.parts)
        found = each.at(positions)
        scores.append(found[0])
        peaks.append(found[1])
        counted.append(Counted(weights, found[2] if has_several else None, each.totals.parts, (each.totals,)))
        numbers.append(np.full(len(positions), number))
    sessions = calibration.sessions
    return replace(
        calibration,
        scores=np.concatenate(scores),
        peaks=np.concatenate(peaks),
        parts=np.empty(0, np.int64),
        sessions=sessions and Sessions(np.concatenate(numbers), sessions.names, sessions.learned),
        counted=joined(counted, calibration.part_count + more_parts),
    )


def _distinct(numbers: Ints) -> Ints:
    """The numbers, each once and ascending."""
    ordered = np.sort(numbers)
    return np.asarray(ordered[np.append(True, ordered[1:] != ordered[:-1])])


def _whole(images: Ints, part: Ints, unit: int) -> Ints:
    """What each image weighs `(n,)`; what does not divide is dealt out, so that a part weighs `unit`."""
    order = np.argsort(part, kind="stable")
    rank = np.empty(len(part), np.int64)  # of each image within its part
    rank[order] = np.arange(len(part)) - np.repeat(np.cumsum(images) - images, images)
    least, rest = np.divmod(unit, images)
    return np.asarray(least[part] + (rank < rest[part]))


def _common(one: int, other: int, parts: int) -> int:
    """A unit for the weights of both."""
    unit = math.lcm(one, other)
    return unit if is_exact(unit, parts) else finest_unit(parts)


def _rescaled(starts: Ints, totals: Totals, unit: int) -> Ints:
    """Weights in another unit, from the positions `(n,)` in their own: rounded up, so that nothing counts less."""
    ends = np.append(starts[1:], totals.unit * totals.parts)
    scaled = [-(-(position * unit) // totals.unit) for position in (0, *ends.tolist())]
    return np.asarray(np.diff(np.array(scaled)), np.int64)
