"""What an evaluation has found, as plain records: the JSON file, the table and the page are written from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

Points = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One test image and what the model said of it; with `error`, it got no verdict and has no score.

    `peak` is the largest value of the anomaly map, `regions` the number of places above the pixel threshold, `mask_iou`
    the overlap of these places with the defect's mask (intersection over union), None without a mask. `part` is the
    part that it shows, None where that is not known.
    """

    name: str
    kind: str
    is_good: bool
    score: float | None = None
    p_value: float | None = None
    is_anomalous: bool | None = None
    peak: float | None = None
    regions: int | None = None
    mask_iou: float | None = None
    part: str | None = None
    error: str | None = None

    @property
    def is_correct(self) -> bool | None:
        """Whether the verdict is right; None for an image that has none."""
        return None if self.is_anomalous is None else self.is_anomalous != self.is_good


@dataclass(frozen=True)
class Rate:
    """`count` of `total`, with the exact two-sided 95 % interval and the exact one-sided 95 % bounds of the rate."""

    count: int
    total: int
    interval: tuple[float, float]
    lower: float
    upper: float

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.count / self.total


@dataclass(frozen=True)
class Kind:
    """The images of one folder: the good ones, or those with one type of defect.

    `called` is the rate of those called anomalous, `auroc` tells the type apart from the good images, `mask_iou` is the
    mean over the images with a mask.
    """

    name: str
    is_good: bool
    scores: tuple[float, ...]
    called: Rate
    auroc: float | None = None
    mask_iou: float | None = None


@dataclass(frozen=True)
class Threshold:
    """What decided: `rate` is the false-alarm rate it was set for, None where a person gave the score (`is_given`), an
    imported model came with it, or one part was too few to set it.

    `origin` says in a sentence where it comes from; `calibration` are the held-out scores of the good training images,
    `calibration_images` is how many images each stands for, None for one, and `sessions` has a line for each session of
    these, if they are of several.
    """

    score: float
    pixel: float
    rate: float | None
    origin: str
    images: int
    parts: int
    calibration: tuple[float, ...] = ()
    is_given: bool = False
    sessions: tuple[str, ...] = ()
    calibration_images: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What is found with one threshold, and at the price of how many false alarms.

    `rate` is the false-alarm rate that the threshold keeps by the good training images, None where nobody can state one
    (given by hand, or not calibrated). `asked` are the rates that get this threshold: `rate` itself, and smaller ones
    that so few good images do not support. `found` is None without defective images or parts, `false_alarms` without
    good ones. `kinds` has what is found of each type of defect; a part that shows two types counts in both.
    """

    asked: tuple[float, ...]
    rate: float | None
    threshold: float
    found: Rate | None
    false_alarms: Rate | None
    kinds: Mapping[str, Rate] = field(default_factory=dict)
    in_force: bool = False

    @property
    def unsupported(self) -> tuple[float, ...]:
        """The rates that were asked for and are not kept."""
        return tuple(asked for asked in self.asked if self.rate is not None and asked < self.rate)


@dataclass(frozen=True)
class RateChange:
    """A larger rate with which many more defects are found than at the model's `own`; `command` sets it for good."""

    own: OperatingPoint
    better: OperatingPoint
    command: str


@dataclass(frozen=True, kw_only=True)
class FoundAtRates:
    """What is found at each false-alarm rate, ascending; of parts where these are known, else of images (`noun`).

    A threshold for which no rate can be stated comes first. `blind` are the types of defect of which next to nothing is
    found at the point in force. `support` says why a rate that was asked for is not kept, `change` which one pays.
    """

    noun: Literal["image", "part"] = "image"
    points: tuple[OperatingPoint, ...] = ()
    blind: tuple[str, ...] = ()
    support: str | None = None
    change: RateChange | None = None

    @property
    def in_force(self) -> OperatingPoint | None:
        """The point whose verdicts the evaluation gives; None where there are no points at all."""
        return next((point for point in self.points if point.in_force), None)


@dataclass(frozen=True)
class Alternative:
    """What the threshold of another false-alarm rate, set from the same good training images, would have done here."""

    rate: float
    score: float
    false_alarms: int
    found: int
    in_force: bool


@dataclass(frozen=True, kw_only=True)
class PartFigures:
    """Verdicts of parts, whose largest score is held against `threshold`, None where no part has a verdict.

    By name: the good parts that were `alarmed`, the defective ones that were `missed`, those that `failed` to get a
    verdict, those of good and defective images (`mixed`), and those of more images than the calibration's parts had
    (`larger`), which is `images_per_part`, least and most.
    """

    threshold: float | None
    false_alarms: Rate | None
    misses: Rate | None
    alarmed: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()
    larger: tuple[str, ...] = ()
    images_per_part: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Remark:
    """Something the reader has to know: `alarm` makes the numbers misleading, `note` limits what they say."""

    level: Literal["alarm", "note"]
    text: str


@dataclass(frozen=True)
class Picture:
    """Two small JPEG files of one image: as it is, and with what the model marked. `width` x `height` pixels each."""

    judged: Judged
    image: bytes
    overlay: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Shelf:
    """The pictures of one section of the gallery, first the one to look at first; `total` counts those without, too."""

    pictures: tuple[Picture, ...] = ()
    total: int = 0


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """All that one evaluation has found.

    `metrics` has every key, None where it cannot be known; `not_computed` says why. `false_alarms` and `misses` are
    None without good or defective images. `seen_in_training` names the images that the model was trained on too,
    `problems` has a line for each mask that cannot be used. `roc` is (false-alarm rate, detection rate), `pro` is
    (share of good pixels marked, mean share of a defect covered). `parts` is None where parts are not known.
    `found` is the headline: what is found at each false-alarm rate.
    `model` and `data` are what identifies them, by a label each.
    """

    metrics: Mapping[str, float | tuple[float, float] | None]
    not_computed: Mapping[str, str]
    images: tuple[Judged, ...]
    kinds: tuple[Kind, ...]
    false_alarms: Rate | None
    misses: Rate | None
    threshold: Threshold
    remarks: tuple[Remark, ...]
    unsure: tuple[str, ...]
    model: Mapping[str, str]
    data: Mapping[str, str]
    roc: Points | None = None
    pro: Points | None = None
    alternatives: tuple[Alternative, ...] = ()
    gallery: Mapping[str, Shelf] = field(default_factory=dict)
    seen_in_training: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    parts: PartFigures | None = None
    found: FoundAtRates = field(default_factory=FoundAtRates)
    output: Path = Path()

    @property
    def failed(self) -> tuple[Judged, ...]:
        """The images that got no verdict."""
        return tuple(image for image in self.images if image.error is not None)

    @property
    def all_seen(self) -> bool:
        """Whether the model was trained on every single one of the images."""
        names = {image.name.partition("[")[0] for image in self.images if image.error is None}
        return names <= set(self.seen_in_training)

    @property
    def never_fires(self) -> bool:
        """Whether no image at all was called anomalous although some should be."""
        return self.misses is not None and self.misses.count == self.misses.total and not self._false_alarm_count

    @property
    def always_fires(self) -> bool:
        """Whether every image was called anomalous although some should not be."""
        return self._false_alarm_count > 0 and all(image.is_anomalous is not False for image in self.images)

    @property
    def _false_alarm_count(self) -> int:
        return self.false_alarms.count if self.false_alarms else 0
