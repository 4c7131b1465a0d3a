"""What `model.json` holds of the good images that calibrate."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from blemish.models.record import MOST_ENTRIES, Count, PartNumber, Rate, Record, Text

if TYPE_CHECKING:
    from blemish.calibration import Calibration


def _checked_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return pattern


class SessionsInfo(Record):
    """The session of each image by its number, an index of `names`; the first `learned` ones the model has learned."""

    numbers: Annotated[list[Count], Field(max_length=MOST_ENTRIES)]
    names: Annotated[list[Text], Field(min_length=1, max_length=MOST_ENTRIES)]
    learned: Count

    @model_validator(mode="after")
    def _named(self) -> SessionsInfo:
        if len(set(self.names)) < len(self.names):
            raise ValueError("has two sessions of one name")
        if set(self.numbers) != set(range(len(self.names))):
            raise ValueError(f"has {len(self.names)} sessions; each has at least one image, and each image has one")
        if self.learned > len(self.names):
            raise ValueError(f"has learned {self.learned} sessions of {len(self.names)}")
        return self


class TotalsInfo(Record):
    """The images of a session of a compact calibration.

    A part weighs `unit`; `images_per_part` are the least and the largest number of images that show one.
    """

    images: Annotated[int, Field(ge=1, lt=2**53)]
    parts: Annotated[int, Field(ge=1, lt=2**53)]
    unit: Annotated[int, Field(ge=1, lt=2**53)]
    images_per_part: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]


class CountedInfo(Record):
    """How much each entry of a compact calibration counts, and what of: see `blemish.calibration.counted`."""

    weights: Annotated[list[Annotated[int, Field(ge=1, lt=2**53)]], Field(max_length=MOST_ENTRIES)]
    largest: Annotated[list[float], Field(max_length=MOST_ENTRIES)] | None
    parts: Annotated[int, Field(ge=1, lt=2**53)]
    totals: Annotated[list[TotalsInfo], Field(min_length=1, max_length=MOST_ENTRIES)]

    @model_validator(mode="after")
    def _sums(self) -> CountedInfo:
        if self.largest is not None and len(self.largest) != len(self.weights):
            raise ValueError(f"has {len(self.weights)} weights and {len(self.largest)} largest scores")
        for one in self.totals:
            least, most = one.images_per_part
            if not (least <= most and one.parts * least <= one.images <= one.parts * most):
                raise ValueError(f"has {one.images} images of {one.parts} parts with {least} to {most} images each")
        return self


class CalibrationInfo(Record):
    """Held-out scores of the good training images; entry i of each list is image i.

    `scores` are image scores, `peaks` the largest values of the anomaly maps, `parts` the number of the physical part
    that each image shows, and `kind` says how the scores were held out. A model that was imported without good images
    has none of these, and a `fixed_threshold` instead. `group_by` is the pattern that finds the part in an image's
    name, None where parts were found without one. `sessions` is None where all images are taken for one session. Of
    very many images, entries stand for several: then `counted` says for how many, and `parts` is empty. `interpolated`
    is whether thresholds lie between two scores where the rate asks for it; models of before have the larger score.
    """

    scores: Annotated[list[float], Field(max_length=MOST_ENTRIES)]
    peaks: Annotated[list[float], Field(max_length=MOST_ENTRIES)]
    parts: Annotated[list[PartNumber], Field(max_length=MOST_ENTRIES)]
    false_alarm_rate: Rate
    kind: Text
    fixed_threshold: float | None = None
    group_by: Annotated[Text, AfterValidator(_checked_pattern)] | None = None
    sessions: SessionsInfo | None = None
    counted: CountedInfo | None = None
    interpolated: bool = False

    @classmethod
    def of(cls, calibration: Calibration) -> CalibrationInfo:
        """The record of a calibration, in few entries where it is of very many images."""
        from blemish.calibration import compact

        return cls(**compact(calibration).to_json())

    @property
    def part_count(self) -> int:
        """How many parts the images show."""
        return len(set(self.parts)) if self.counted is None else self.counted.parts

    @property
    def least_version(self) -> Literal[1, 6, 8]:
        """The format version that can hold it.

        `group_by` and `sessions` came with the sixth, `counted` and `interpolated` with the eighth.
        """
        if self.counted is not None or self.interpolated:
            return 8
        return 1 if self.group_by is None and self.sessions is None else 6

    def loaded(self) -> Calibration:
        """What it promises: thresholds and p-values."""
        from blemish.calibration import Calibration

        return Calibration.from_json(self.model_dump())

    @model_validator(mode="after")
    def _not_both(self) -> CalibrationInfo:
        if self.scores and self.fixed_threshold is not None:
            raise ValueError("has scores of good images and a fixed threshold; only one of them can decide")
        return self

    @model_validator(mode="after")
    def _one_entry_per_image(self) -> CalibrationInfo:
        if self.counted is not None:
            return self._checked_counts(self.counted)
        if not len(self.scores) == len(self.peaks) == len(self.parts):
            raise ValueError(
                f"has {len(self.scores)} scores, {len(self.peaks)} peaks and {len(self.parts)} parts; "
                "each image has one of each"
            )
        if self.sessions is not None and len(self.sessions.numbers) != len(self.scores):
            raise ValueError(f"has {len(self.scores)} scores and sessions of {len(self.sessions.numbers)} images")
        return self

    def _checked_counts(self, counted: CountedInfo) -> CalibrationInfo:
        numbers = [0] * len(self.scores) if self.sessions is None else self.sessions.numbers
        entries = {len(self.scores), len(self.peaks), len(counted.weights), len(numbers)}
        if self.parts or len(entries) > 1 or not self.scores:
            raise ValueError("is counted; it needs as many scores as peaks, weights and sessions, and no parts")
        sums = dict.fromkeys(sorted(set(numbers)), 0)
        for number, weight in zip(numbers, counted.weights, strict=True):
            sums[number] += weight
        if [*sums.values()] != [one.unit * one.parts for one in counted.totals]:
            raise ValueError("is counted; its weights do not add up to the parts of each session")
        return self
