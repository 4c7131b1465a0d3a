"""What another false-alarm rate would have said of the inspections that there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from blemish.calibration import Calibration
from blemish.pipeline.predictor import Limit
from blemish.store import Inspection

STEPS = 200  # of the slider
MOST_RATE = 0.2


@dataclass(frozen=True)
class WhatIf:
    """A limit against recorded inspections.

    Attributes:
        total: inspections that are looked at; `was` and `would` of them anomalous, as recorded and under the limit.
        changed: those whose verdict would be another, the nearest to the threshold first.
        false_alarms: reviewed ones that there are, and how many of them would pass.
        confirmed: reviewed defects that were found, and how many of them would be lost.
        missed: reviewed defects that were missed, and how many of them would be caught.
    """

    limit: Limit
    total: int
    was: int
    would: int
    changed: list[Inspection]
    false_alarms: tuple[int, int]
    confirmed: tuple[int, int]
    missed: tuple[int, int]


def what_if(limit: Limit, last: Sequence[Inspection], reviewed: Sequence[Inspection]) -> WhatIf:
    """The last inspections and the reviewed ones, all of one version, under a limit."""
    changed = [one for one in last if (one.score > limit.score) != one.is_anomalous]
    alarms = [one.score for one in reviewed if one.review == "false_alarm"]
    found = [one.score for one in reviewed if one.review == "confirmed" and one.is_anomalous]
    missed = [one.score for one in reviewed if one.review == "missed_defect"]
    return WhatIf(
        limit=limit,
        total=len(last),
        was=sum(one.is_anomalous for one in last),
        would=sum(one.score > limit.score for one in last),
        changed=sorted(changed, key=lambda one: abs(one.score - limit.score)),
        false_alarms=(len(alarms), sum(score <= limit.score for score in alarms)),
        confirmed=(len(found), sum(score <= limit.score for score in found)),
        missed=(len(missed), sum(score > limit.score for score in missed)),
    )


def can_choose(calibration: Calibration) -> bool:
    """Whether the good images support any choice of a rate below `MOST_RATE`."""
    return calibration.is_calibrated and calibration.best_rate < MOST_RATE


def rate_at(calibration: Calibration, step: int) -> float:
    """The rate of a slider's step, 0 to `STEPS`: in equal factors from the least that is supported, in two digits."""
    least = calibration.best_rate
    if step == 0:
        return least
    rate = least * (MOST_RATE / least) ** (step / STEPS)
    return min(MOST_RATE, max(least, float(f"{rate:.1e}")))


def step_of(calibration: Calibration, rate: float) -> int:
    """The slider's step nearest to a rate."""
    least = calibration.best_rate
    share = math.log(max(rate, least) / least) / math.log(MOST_RATE / least)
    return min(STEPS, round(STEPS * share))
