"""Verdicts of parts against the truth: a part is defective if one of its images is."""

from __future__ import annotations

from collections.abc import Sequence

from blemish.calibration import NamePattern
from blemish.datasets import Sample
from blemish.errors import UsageError
from blemish.evaluation.operating import Case
from blemish.evaluation.rates import rate_of
from blemish.metrics.rates import counted
from blemish.pipeline import Predictor, Result
from blemish.pipeline.parts import PartTally
from blemish.report import PartFigures


class Parts:
    """Takes the results of images, and knows which part each shows.

    `problem` says why parts are not known although the model has a pattern.
    """

    def __init__(self, predictor: Predictor, samples: Sequence[Sample], group_by: str | None) -> None:
        self._tally = PartTally(predictor.calibration)
        self._shown: dict[str, set[str | None]] = {}  # the types of defect of its images, None for good ones
        self.problem: str | None = None
        text = predictor.grouping.pattern if group_by is None else group_by
        self._pattern = NamePattern(text, "--group-by") if text else None
        if self._pattern is None:
            return
        unknown = [sample.name for sample in samples if not self._pattern.is_in_file(sample.name)]
        if unknown:
            few = f"finds no part in {len(unknown)} of {counted(len(samples), 'name')}, such as `{unknown[0]}`"
            if group_by is not None:
                raise UsageError(f"--group-by `{text}` {few}.")
            self.problem = (
                f"The model's pattern of parts `{text}` {few}, so there are no figures of parts. Give the pattern of "
                "these names with --group-by PATTERN."
            )
            self._pattern = None

    def add(self, sample: Sample, result: Result, name: str) -> str | None:
        """Take the result of the image called so; returns its part, None where it is not known."""
        part = None if self._pattern is None else self._pattern.find(name)
        if part is not None:
            self._tally.add(result, part)
            self._shown.setdefault(part, set()).add(None if sample.is_good else sample.kind)
        return part

    def cases(self) -> list[Case]:
        """The largest score of each part that has a verdict; none where parts are not known.

        Where an image failed, the others decide: a stricter threshold than the one in force may miss that part.
        """
        return [
            Case(part.score, tuple(sorted(kind for kind in self._shown[part.part] if kind is not None)))
            for part in self._tally.results()
            if part.is_anomalous is not None and part.score is not None
        ]

    def figures(self) -> PartFigures | None:
        """What came of the parts; None where none are known."""
        found = self._tally.results()
        if not found:
            return None
        judged = [part for part in found if part.is_anomalous is not None]
        good = [part for part in judged if self._shown[part.part] == {None}]
        defective = [part for part in judged if self._shown[part.part] != {None}]
        alarms = [part.part for part in good if part.is_anomalous]
        missed = [part.part for part in defective if not part.is_anomalous]
        return PartFigures(
            threshold=next((part.threshold for part in judged), None),
            false_alarms=rate_of(len(alarms), len(good)) if good else None,
            misses=rate_of(len(missed), len(defective)) if defective else None,
            alarmed=tuple(alarms),
            missed=tuple(missed),
            failed=tuple(part.part for part in found if part.is_anomalous is None),
            mixed=tuple(part.part for part in found if {None} < self._shown[part.part]),
            larger=tuple(part.part for part in found if part.images > part.images_per_part[1]),
            images_per_part=found[0].images_per_part,
        )
