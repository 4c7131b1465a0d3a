"""A verdict of each part, from the results of its images.

The largest score of a part is held against a threshold that was set from the largest scores of good parts
(`Calibration.part_threshold`), so the false-alarm rate is one of parts, however many images show each.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, TypeAlias

from blemish.calibration import Calibration, NamePattern
from blemish.errors import UsageError
from blemish.images import ImageRef
from blemish.metrics.rates import counted
from blemish.pipeline.record import Record, finite, one_line
from blemish.pipeline.result import Result
from blemish.pipeline.saving import named_file, safe_stem, write_text

_Text: TypeAlias = str  # inside the class, `str` is the property


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PartResult(Record):
    """One part's verdict; a read-only mapping whose keys are attributes too.

    `images` of it were given, `images_per_part` are the least and the most of a part in the calibration. `score` is the
    largest of its images', `p_value` the share of good parts whose largest score is at least that. `supported_rate` is
    the rate that the threshold keeps, larger than `false_alarm_rate` where the good parts are too few for that.
    A part whose `error` is not None has no verdict: an image of it failed, and no other one shows that it is anomalous.
    """

    KEYS: ClassVar[tuple[_Text, ...]] = (
        "part",
        "images",
        "images_per_part",
        "score",
        "p_value",
        "threshold",
        "is_anomalous",
        "label",
        "false_alarm_rate",
        "supported_rate",
        "error",
    )

    part: str
    images: int
    images_per_part: tuple[int, int] = (1, 1)
    score: float | None = None
    p_value: float | None = None
    threshold: float | None = None
    false_alarm_rate: float | None = None
    supported_rate: float | None = None
    error: str | None = None

    @property
    def is_anomalous(self) -> bool | None:
        """Whether the largest score exceeds the threshold; None where that is not known."""
        if self.error is not None or self.score is None or self.threshold is None:
            return None
        return bool(self.score > self.threshold)

    @property
    def label(self) -> _Text | None:
        """`Normal` or `Anomaly`; None where that is not known."""
        return None if self.is_anomalous is None else "Anomaly" if self.is_anomalous else "Normal"

    @property
    def is_as_calibrated(self) -> bool:
        """Whether it has as many images as the parts of the calibration; more of them raise more false alarms."""
        least, most = self.images_per_part
        return least <= self.images <= most

    def to_dict(self, mask: bool = True) -> dict[_Text, Any]:  # noqa: ARG002 - a part has no mask
        """The flat JSON-able record; a number that is not finite becomes None."""
        return {
            "part": self.part,
            "images": self.images,
            "images_per_part": list(self.images_per_part),
            "score": finite(self.score),
            "p_value": finite(self.p_value),
            "threshold": finite(self.threshold),
            "is_anomalous": self.is_anomalous,
            "label": self.label,
            "false_alarm_rate": finite(self.false_alarm_rate),
            "supported_rate": finite(self.supported_rate),
            "error": self.error,
        }

    @property
    def str(self) -> _Text:
        """The verdict as one line: `part P17  Normal - largest score:  0.614 of 4 images`."""
        if self.label is None or self.score is None:
            verdict = f"Error - {self.error}"
        else:
            verdict = f"{self.label} - largest score:  {self.score:.3f} of {counted(self.images, 'image')}"
        if not self.is_as_calibrated:
            least, most = self.images_per_part
            span = "one image" if most == 1 else f"{most} images" if least == most else f"{least} to {most} images"
            verdict += f" (calibrated with {span} of a part)"
        return one_line(f"part {self.part}  {verdict}")

    def save_to_json(
        self, save_path: _Text | os.PathLike[_Text], indent: int | None = 4, ensure_ascii: bool = False
    ) -> Path:
        """Write the flat record; returns the file.

        `save_path` is that file when it ends in `.json`, otherwise a folder, which gets `<part>_part.json`. Where it is
        a picture's file, the record gets its stem and `_part.json`. Raises `UsageError` when it cannot be written.
        """
        place = Path(save_path)
        path = named_file(place, ".json")
        if path is None:
            wished = safe_stem(PurePosixPath(f"{self.part}_part.x"), None)
            path = self._own_file(place / wished)
        elif path != place:
            path = path.with_name(f"{path.stem}_part.json")
        write_text(path, self.json_text(indent, ensure_ascii) + "\n")
        return path

    def _own_file(self, wished: Path) -> Path:
        """The first file of this stem, or of it with a number, that is not of another part."""
        number = 1
        while True:
            path = wished.with_name(f"{wished.name}{'' if number == 1 else f'_{number}'}.json")
            try:
                told = json.loads(path.read_text("utf-8"))
            except FileNotFoundError:
                return path
            except (OSError, ValueError):
                told = None
            if isinstance(told, dict) and told.get("part") == self.part:
                return path
            number += 1

    def save_all(self, save_path: _Text | os.PathLike[_Text]) -> None:
        """Write the record, which is all there is of a part."""
        self.save_to_json(save_path)


@dataclass
class _Seen:
    """What has come of one part: how many images, the first failure, and the result with the largest score.

    Of that result only the numbers are kept: the images of many parts would fill the memory.
    """

    images: int = 0
    failed: int = 0
    error: str = ""
    largest: Result | None = None


class PartTally:
    """Takes results one by one, in any order, and says of each part what they show together."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._seen: dict[str, _Seen] = {}

    def add(self, result: Result, part: str | None = None) -> None:
        """Take one result; `part` instead of the result's own.

        Raises `UsageError` for a result of no part, and where two of one part were held against different thresholds.
        """
        part = result.part if part is None else part
        if part is None:
            raise UsageError(f"{result.input_path or result.name}: nothing says which part it shows; give group_by")
        seen = self._seen.setdefault(part, _Seen())
        seen.images += 1
        if result.score is None or not math.isfinite(result.score):
            seen.failed += 1
            seen.error = seen.error or str(result.error or "its score is not a finite number")
            return
        largest = seen.largest
        if largest is not None and (largest.threshold, largest.false_alarm_rate) != (
            result.threshold,
            result.false_alarm_rate,
        ):
            raise UsageError(f"the images of part {part} were judged by different thresholds; judge them together")
        if largest is None or largest.score is None or result.score > largest.score:
            seen.largest = replace(result, grid_map=None, full_map=None, image=None)

    def results(self) -> list[PartResult]:
        """One for each part, in the order in which their first images came."""
        return [self._result(part, seen) for part, seen in self._seen.items()]

    def _result(self, part: str, seen: _Seen) -> PartResult:
        known: dict[str, Any] = {"part": part, "images": seen.images}
        known["images_per_part"] = self._calibration.images_per_part
        failure = f"{seen.failed} of {counted(seen.images, 'image')} failed: {seen.error}"
        largest = seen.largest
        if largest is None or largest.score is None or largest.threshold is None:
            return PartResult(error=failure, **known)
        rate, threshold = largest.false_alarm_rate, largest.threshold
        if rate is not None:  # else it was given, or came with the model, and stands for images and parts alike
            threshold = self._calibration.part_threshold(rate)
        return PartResult(
            score=largest.score,
            p_value=None if largest.p_value is None else self._calibration.part_p_value(largest.score),
            threshold=threshold,
            false_alarm_rate=rate,
            supported_rate=None if rate is None else self._calibration.supported_rate(rate),
            error=failure if seen.failed and largest.score <= threshold else None,
            **known,
        )


class Grouping:
    """Finds the part in an image's name: its path as it is given or relative to the folder given, and `[page]`."""

    def __init__(self, pattern: NamePattern | None, *, is_strict: bool = False) -> None:
        self._pattern, self._is_strict = pattern, is_strict

    @classmethod
    def of_model(cls, calibration: Calibration) -> Grouping:
        """That of the training, where some part had several images."""
        has_parts = calibration.group_by is not None and calibration.has_several_images
        return cls(NamePattern(calibration.group_by or "") if has_parts else None)

    @classmethod
    def given(cls, pattern: str) -> Grouping:
        """By a pattern; an empty one groups nothing. Raises `UsageError` for what is no regular expression."""
        return cls(NamePattern(pattern, "group_by") if pattern else None, is_strict=True)

    @property
    def pattern(self) -> str | None:
        """The pattern, None where nothing is grouped."""
        return None if self._pattern is None else self._pattern.text

    def part_of(self, image: ImageRef | Result) -> str | None:
        """The part that an image shows, or None; `UsageError` where a given pattern finds none."""
        if self._pattern is None:
            return None
        page = "" if image.page_index is None else f"[{image.page_index}]"
        name = f"{image.name.as_posix()}{page}"
        return self._pattern.found_in(name) if self._is_strict else self._pattern.find(name)

    def refs(self, refs: Iterable[ImageRef]) -> Iterable[ImageRef]:
        """The images, looked at before any is read."""
        for ref in refs:
            self.part_of(ref)
            yield ref
