"""What is said of a finished training: to a person, line by line, and in `train_result.json`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from blemish.calibration import (
    Apart,
    Calibration,
    FoundParts,
    NamePattern,
    are_copies_alone,
    linked,
    one_session_line,
    outlier_lines,
    part_lines,
    session_lines,
)
from blemish.config import RunConfig
from blemish.datasets.files import some
from blemish.images import exif_times
from blemish.metrics.rates import counted, was
from blemish.models import MOST_HASHES
from blemish.models.run_folder import RESULT
from blemish.training_images import TrainingImages

log = logging.getLogger("blemish")

ODDEST, SHOWN = 20, 3  # good images with the highest scores: in the result file, and told


@dataclass(frozen=True)
class FitReport:
    """What a fit has made.

    Attributes:
        folder: the model folder.
        output: the run's folder around it.
        lines: what a person should know of the calibration and of a model before, a sentence or two a line.
        failed: one line for each image that could not be read and was left out.
        unread: names of the files to learn from of which no image could be read.
        seconds: wall time of each stage.
        outliers: names of the good images that stand apart from the others, highest score first.
    """

    folder: Path
    output: Path
    lines: list[str]
    failed: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    outliers: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class SeenImages:
    """Good images and the parts that they show; `name` is that of a held-out session, None for what is learned."""

    name: str | None
    images: TrainingImages
    parts: FoundParts

    @property
    def names(self) -> list[str]:
        """Of the images, those of a held-out session with its name before them."""
        return [name if self.name is None else f"{self.name}/{name}" for name in self.images.names]

    def lines(self) -> list[str]:
        """What a person should know of the parts."""
        before = "" if self.name is None else f"Session {self.name}: "
        return [f"{before}{line}" for line in part_lines(self.names, self.parts)]

    def known_parts(self, learned: TrainingImages, group_by: str | None) -> list[str]:
        """Parts of a held-out session that are called as learned ones are."""
        if self.name is None or group_by is None:
            return []
        pattern = NamePattern(group_by)
        known = {pattern.find(name) for name in learned.names}
        both = list(dict.fromkeys(part for name in self.images.names if (part := pattern.find(name)) in known and part))
        if not both:
            return []
        return [
            f"Session {self.name}: {len(both)} of its parts are called as learned ones are: {some(both)}. If they are "
            "the same parts, they are not new to the model and the threshold is too low: remove them from one of both."
        ]


def report_fit(
    config: RunConfig,
    seen: list[SeenImages],
    judged: tuple[Calibration, Apart],
    seconds: dict[str, float],
    save: Callable[[dict[str, Any]], list[str]],
    *,
    parts: int,
) -> FitReport:
    """Save the model with what is to be said of it."""
    calibration, apart = judged
    output, images = Path(config.Global.output), seen[0].images
    names = [name for each in seen for name in each.names]
    failed = [line for each in seen for line in each.images.failed]
    sessions = [*_left_of_holdouts(seen), *session_lines(calibration)]
    if not sessions and calibration.is_calibrated:
        sessions = [one_session_line(images.names, partial(exif_times, images.files))]
    is_learned = np.arange(len(names)) < len(images)
    outliers = apart.names(names, is_learned)
    lines = [*filter(None, [images.learned]), calibration.statement(), *sessions]
    oddest = _oddest(names, calibration)
    if oddest and not apart.odd.any():
        shown = ", ".join(f"{name} ({score:.1f})" for name, score in oddest[:SHOWN])
        lines.append(
            f"These images set the threshold ({calibration.threshold():.1f}): {shown}. "
            "Check that they show good parts. A defect among them would hide similar defects."
        )
    for each in seen:
        lines += [*each.lines(), *each.known_parts(images, config.Calibrate.group_by)]
    is_of_shots = calibration.has_several_images and not all(are_copies_alone(each.parts) for each in seen)
    if calibration.is_calibrated and is_of_shots and calibration.group_by is None:
        lines.append(
            "Verdicts of parts need a pattern that finds the part in the names of images: "
            "`blemish predict MODEL INPUT --group-by PATTERN`."
        )
    lines += outlier_lines(names, calibration, apart, RESULT)
    if len(images.hashes) > MOST_HASHES:
        lines.append(
            f"The model does not list its images, since they are more than {MOST_HASHES}: an update or an evaluation "
            "cannot tell which images it has learned."
        )
    unused = images.span and images.span.unused()
    if unused:
        lines.append(unused)
    if failed:
        lines.append(f"{counted(len(failed), 'image')} {was(len(failed))} left out: not readable; see train.log.")
    result = {
        "done_flag": True,
        "model_name": config.Global.model,
        "config": "config.yaml",
        "train_log": "train.log",
        "models": {"best": {"inference": "best_model/inference"}},
        "images": len(images),
        "parts": parts,
        "linked": [group for each in seen if not each.parts.told for group in linked(each.names, each.parts.parts)],
        "false_alarm_rate": calibration.stated_rate,
        "threshold": calibration.threshold(),
        "learned": images.learned,
        "statement": calibration.statement(),
        "sessions": sessions,
        "oddest": [{"name": name, "score": score} for name, score in oddest],
        "outliers": outliers,
        "outliers_held_out": apart.names(names, ~is_learned),
        "threshold_without_outliers": None if apart.rest is None else apart.rest.threshold(),
        "threshold_without_is_estimate": apart.rest is not None and not apart.is_exact,
        "left_out": images.left_out,
        "failed": failed,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
    }
    lines += save(result)
    for line in lines:
        log.info(line)
    return FitReport(output / "best_model" / "inference", output, lines, failed, seconds, outliers, images.unread)


def _left_of_holdouts(seen: list[SeenImages]) -> list[str]:
    """What lies in the folders of held-out sessions and was not taken for a good image."""
    found = {each.name: each.images.learned.partition("; left out: ")[2] for each in seen if each.name is not None}
    return [f"Session {name}: left out of its folder: {left}." for name, left in found.items() if left]


def _oddest(names: list[str], calibration: Calibration) -> list[tuple[str, float]]:
    """Names and scores of the good images with the highest ones; none where only some were held out, or none was."""
    if len(calibration.scores) != len(names) or not calibration.is_calibrated:
        return []
    return [(names[i], float(calibration.scores[i])) for i in np.argsort(-calibration.scores)[:ODDEST]]
