"""All metrics of an evaluation, each with its interval, or with the reason why it cannot be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from blemish.calibration import Calibration
from blemish.errors import UsageError
from blemish.evaluation.rates import rate_of
from blemish.evaluation.tally import Tally
from blemish.metrics import auroc, average_precision, bootstrap_interval, f1_at, f1_max, roc_curve
from blemish.report import METRICS, PART_METRICS, Alternative, Judged, Kind, PartFigures, Rate
from blemish.report.record import Points

PRO_LIMIT, STRICT_PRO_LIMIT = 0.3, 0.05
_RATES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
# PaddleX's key of each measure of agreement between pixels and masks
_PADDLEX_NAMES = {"miou": "mIoU", "accuracy": "Acc", "kappa": "Kappa", "dice": "Dice"}
Value = float | tuple[float, float] | None


@dataclass
class Figures:
    """Metrics by key, `<key>_ci95` their intervals, the reasons of those that are None, and doubts about others."""

    values: dict[str, Value] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def compute(self, key: str, compute: Callable[[], Value], missing: str | None = None) -> None:
        """Keep a value, or None and the reason: `missing`, or what the metric itself objects."""
        self.values[key] = None
        try:
            if missing is None:
                self.values[key] = compute()
        except UsageError as error:
            missing = str(error)
        if missing is not None and not key.endswith("_ci95"):
            self.reasons[key] = missing


def figures(tally: Tally, parts: PartFigures | None, threshold: float, pixel_threshold: float) -> Figures:
    """Every metric of the report; those of parts where these are known."""
    judged = [image for image in tally.images if image.score is not None]
    found = Figures()
    _image_figures(found, judged, threshold)
    _pixel_figures(found, tally, pixel_threshold)
    if parts is not None:
        _rate_figures(found, "part_", parts.false_alarms, parts.misses, "parts")
    order = {metric.key: place for place, metric in enumerate((*METRICS, *PART_METRICS))}
    found.values = dict(sorted(found.values.items(), key=lambda item: order[item[0].removesuffix("_ci95")]))
    return found


def _image_figures(found: Figures, judged: Sequence[Judged], threshold: float) -> None:
    labels = np.array([not image.is_good for image in judged], np.bool_)  # (n,)
    scores = np.array([image.score for image in judged], np.float64)  # (n,)
    missing = _missing(judged)
    found.compute("image_auroc", partial(auroc, labels, scores), missing)
    found.compute("image_auroc_ci95", partial(bootstrap_interval, labels, scores, "auroc"), missing)
    found.compute("image_ap", partial(average_precision, labels, scores), missing)
    found.compute("image_ap_ci95", partial(bootstrap_interval, labels, scores, "average_precision"), missing)
    found.compute("f1", partial(f1_at, labels, scores, threshold), missing)
    found.compute("f1_max", lambda: f1_max(labels, scores)[0], missing)
    _rate_figures(found, "", rate(judged, True), rate(judged, False), "images")


def _rate_figures(found: Figures, prefix: str, false_alarms: Rate | None, misses: Rate | None, noun: str) -> None:
    for key, wrong, word in (("false_alarm_rate", false_alarms, "good"), ("miss_rate", misses, "defective")):
        absent = f"there are no {word} {noun}" if wrong is None else None
        found.compute(f"{prefix}{key}", partial(getattr, wrong, "value"), absent)
        found.compute(f"{prefix}{key}_ci95", partial(getattr, wrong, "interval"), absent)


def _pixel_figures(found: Figures, tally: Tally, threshold: float) -> None:
    missing = _missing([image for image in tally.images if image.score is not None])
    if missing is None and not tally.masked:
        missing = "no defective image has a mask that can be used"
    pixels = tally.pixels
    missing = missing or pixels.undefined
    found.compute("pixel_auroc", pixels.pixel_auroc, missing)
    found.compute("pixel_ap", pixels.pixel_ap, missing)
    found.compute("au_pro", partial(pixels.au_pro, PRO_LIMIT), missing)
    found.compute("au_pro_05", partial(pixels.au_pro, STRICT_PRO_LIMIT), missing)
    pimo = pixels.au_pimo()
    found.compute("au_pimo", lambda: pimo.mean, missing or (pimo.note if pimo.mean is None else None))
    if pimo.mean is not None and pimo.note and missing is None:
        found.doubts.append(f"{pimo.note}.")
    confusion = pixels.confusion_at(threshold)
    for key in ("miou", "accuracy", "kappa", "dice"):
        found.compute(_PADDLEX_NAMES[key], partial(getattr, confusion, key), missing)


def _missing(judged: Sequence[Judged]) -> str | None:
    """Why nothing can be said that needs both good and defective images."""
    for word, is_good in (("defective", False), ("good", True)):
        if not any(image.is_good == is_good for image in judged):
            return f"there are no {word} images"
    return None


def rate(judged: Sequence[Judged], is_good: bool) -> Rate | None:
    """False alarms of the good images, or misses of the defective ones; None where there are none."""
    verdicts = [image.is_correct for image in judged if image.is_good == is_good and image.is_correct is not None]
    return rate_of(verdicts.count(False), len(verdicts)) if verdicts else None


def kinds(judged: Sequence[Judged]) -> tuple[Kind, ...]:
    """The good images first, then every type of defect."""
    names = sorted({(not image.is_good, image.kind) for image in judged})
    good = [image.score for image in judged if image.is_good and image.score is not None]
    return tuple(_kind(name, [image for image in judged if image.kind == name], good) for _, name in names)


def _kind(name: str, images: Sequence[Judged], good: Sequence[float]) -> Kind:
    scores = [image.score for image in images if image.score is not None]
    overlaps = [image.mask_iou for image in images if image.mask_iou is not None]
    is_good = images[0].is_good
    labels = np.array([False] * len(good) + [True] * len(scores))
    return Kind(
        name,
        is_good,
        tuple(scores),
        rate_of(sum(bool(image.is_anomalous) for image in images), len(images)),
        None if is_good or not good else auroc(labels, [*good, *scores]),
        float(np.mean(overlaps)) if overlaps else None,
    )


def roc(judged: Sequence[Judged]) -> Points | None:
    """False-alarm rate and detection rate over all thresholds."""
    if _missing(judged) is not None:
        return None
    false_alarms, detected, _ = roc_curve(
        np.array([not image.is_good for image in judged]), [image.score or 0.0 for image in judged]
    )
    return false_alarms, detected


def pro(tally: Tally, values: Mapping[str, Value]) -> Points | None:
    """Share of good pixels marked and mean share of a defect covered, over all thresholds up to the limit."""
    return None if values["au_pro"] is None else tally.pixels.pro_curve()


def alternatives(judged: Sequence[Judged], calibration: Calibration, rate_in_force: float | None) -> list[Alternative]:
    """The false-alarm rates that the calibration supports, and the one in force, each with its verdicts."""
    if not calibration.is_calibrated:
        return []
    rates = {rate for rate in _RATES if rate >= calibration.best_rate} | ({rate_in_force} - {None})
    found = []
    for rate in sorted(filter(None, rates)):
        score = calibration.threshold(rate)
        flagged = [image for image in judged if image.score is not None and image.score > score]
        false_alarms = sum(image.is_good for image in flagged)
        found.append(Alternative(rate, score, false_alarms, len(flagged) - false_alarms, rate == rate_in_force))
    return found
