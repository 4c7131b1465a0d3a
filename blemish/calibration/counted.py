"""What a compact calibration has in the place of an entry for each image: how much its entries count.

The largest entries are kept as they are, the others stand for many: see `compact.py`, which makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Totals:
    """The images of a session.

    Attributes:
        images: how many there are.
        parts: how many parts they show.
        unit: what a part weighs. Of a part with m images, one weighs `unit / m`.
        images_per_part: the least and the largest number of images that show one part.
    """

    images: int
    parts: int
    unit: int
    images_per_part: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Counted:
    """How much each of m entries counts.

    Attributes:
        weights: int64 `(m,)`, above 0; those of a session add up to `unit * parts`.
        largest: float64 `(m,)`, the largest scores of parts, by the same weights; None where no part has several
            images, so that they are the image scores.
        parts: how many parts the images of all sessions show together.
        totals: of each session, in the order of their numbers.
    """

    weights: Ints
    largest: Floats | None
    parts: int
    totals: tuple[Totals, ...]

    @property
    def images(self) -> int:
        """How many images there are."""
        return sum(one.images for one in self.totals)

    @property
    def images_per_part(self) -> tuple[int, int]:
        """The least and the largest number of images that show one part in a session."""
        counts = [count for one in self.totals for count in one.images_per_part]
        return min(counts), max(counts)

    def images_each(self, sessions: Ints) -> Floats:
        """How many images each entry stands for `(m,)`, by the session of each `(m,)`.

        Weights tell of parts, so it is their share of the session's images: exact where every part has one image.
        """
        each = np.array([one.images / (one.unit * one.parts) for one in self.totals])
        return np.asarray(self.weights * each[np.unique(sessions, return_inverse=True)[1]])

    def chosen(self, mask: npt.NDArray[np.bool_], sessions: Ints) -> Counted:
        """That of some whole sessions, by a mask of entries `(m,)` and the session of each `(m,)`.

        Raises `UsageError` for a part of a session: an entry does not tell its images.
        """
        numbers, starts = np.unique(sessions, return_index=True)
        taken = mask[starts]  # (S,)
        if (mask != np.isin(sessions, numbers[taken])).any():
            raise UsageError("a compact calibration has no single images, so none of them can be taken out")
        totals = tuple(one for one, is_taken in zip(self.totals, taken, strict=True) if is_taken)
        largest = None if self.largest is None else self.largest[mask]
        return replace(
            self, weights=self.weights[mask], largest=largest, parts=sum(one.parts for one in totals), totals=totals
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in `model.json`."""
        return {
            "weights": self.weights.tolist(),
            "largest": None if self.largest is None else self.largest.tolist(),
            "parts": self.parts,
            "totals": [
                {"images": one.images, "parts": one.parts, "unit": one.unit, "images_per_part": [*one.images_per_part]}
                for one in self.totals
            ],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Counted:
        """The inverse of `to_json`."""
        largest, totals = data["largest"], data["totals"]
        return cls(
            np.asarray(data["weights"], np.int64),
            None if largest is None else np.asarray(largest, np.float64),
            int(data["parts"]),
            tuple(_totals(one) for one in totals),
        )


def joined(all_of: Sequence[Counted], parts: int) -> Counted:
    """Those of several sessions as one, whose images show so many parts together."""
    has_several = any(one.largest is not None for one in all_of)
    return Counted(
        np.concatenate([one.weights for one in all_of]),
        np.concatenate([one.largest for one in all_of if one.largest is not None]) if has_several else None,
        parts,
        tuple(total for one in all_of for total in one.totals),
    )


def _totals(data: dict[str, Any]) -> Totals:
    least, most = data["images_per_part"]
    return Totals(int(data["images"]), int(data["parts"]), int(data["unit"]), (int(least), int(most)))
