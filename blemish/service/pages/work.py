"""Comparing and updating as the pages show them: what is asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blemish.evaluation.operating import RATES, held_rate
from blemish.evaluation.rates import rate_of
from blemish.metrics.rates import TOLERANCE
from blemish.report import Rate
from blemish.report.words import number
from blemish.service.pages import charts
from blemish.store import Job, Store

KINDS_HERE = ("compare", "update")
_CHANGED_SHOWN = 24


@dataclass(frozen=True)
class Agreement:
    """Reviewed images of one kind under two versions: how many there are, how many each version calls anomalous, and
    how many it has `learned`, so that it knows them.
    """

    total: int
    anomalous: tuple[int, int]
    learned: tuple[int, int]


@dataclass(frozen=True)
class AtRate:
    """What a version finds of the reviewed defects at a false-alarm rate, and how many reviewed good images alarm.

    `held` is the rate that it keeps: the one asked for, or the smallest that its good images support.
    """

    held: float
    found: Rate | None
    alarms: Rate | None


@dataclass(frozen=True)
class Comparison:
    """What a comparison found; `table` counts the images by first and second verdict, normal before anomalous.

    `at_rates` has what each version finds at each rate, None for one that is not calibrated. It is empty where nothing
    is reviewed, and for a comparison of before there were such figures.
    """

    total: int
    left_out: int
    table: tuple[tuple[int, int], tuple[int, int]]
    at_rates: dict[float, list[AtRate | None]]
    good: Agreement
    defects: Agreement
    scatter: charts.Scatter
    changed: list[dict[str, Any]]
    changed_total: int


def latest_work(store: Store, name: str) -> dict[str, Job]:
    """The newest job of each kind for a model."""
    return {kind: job for kind in KINDS_HERE for job in store.jobs.list(limit=1, kinds=[kind], model=name)}


def is_of(job: Job, name: str) -> bool:
    """Whether a job is work on a model."""
    return isinstance(job.parameters, Mapping) and job.parameters.get("model") == name


def comparison_of(result: Mapping[str, Any]) -> Comparison:
    """The result of a job that compares, or of one that updates (`versions` before and after)."""
    images = result["images"]
    changed = [one for one in images if one["anomalous"][0] != one["anomalous"][1]]
    first, second = (version["threshold"] for version in result["versions"])
    points = [(*one["scores"], _kind(one), _title(one)) for one in images]
    return Comparison(
        total=len(images),
        left_out=result["left_out"],
        table=_table(images),
        at_rates=_at_rates(images, result["versions"]),
        good=agreement([one for one in images if one["is_defect"] is False]),
        defects=agreement([one for one in images if one["is_defect"]]),
        scatter=charts.scatter(points, (first, second)),
        changed=sorted(changed, key=lambda one: one["review"] is None)[:_CHANGED_SHOWN],
        changed_total=len(changed),
    )


def agreement(images: list[dict[str, Any]]) -> Agreement:
    """Images that a review calls good, or defective, under two versions."""

    def of_each(key: str) -> tuple[int, int]:
        first, second = (sum(one[key][i] for one in images) for i in (0, 1))
        return first, second

    return Agreement(len(images), of_each("anomalous"), of_each("learned"))


def _at_rates(images: list[dict[str, Any]], versions: list[dict[str, Any]]) -> dict[float, list[AtRate | None]]:
    reviewed = [one for one in images if one["is_defect"] is not None]
    if not reviewed or any("least_rate" not in version for version in versions):
        return {}
    rows: dict[float, list[AtRate | None]] = {}
    for rate in RATES:
        row = [_at_rate(reviewed, i, rate, version["least_rate"]) for i, version in enumerate(versions)]
        if row not in rows.values():  # rates that no version supports are told once
            rows[rate] = row
    return rows if any(one is not None for row in rows.values() for one in row) else {}


def _at_rate(reviewed: list[dict[str, Any]], i: int, rate: float, least: float | None) -> AtRate | None:
    if least is None:
        return None
    held = held_rate(rate, least)

    def share(is_defect: bool) -> Rate | None:
        flagged = [one["p_values"][i] <= held + TOLERANCE for one in reviewed if one["is_defect"] == is_defect]
        return rate_of(sum(flagged), len(flagged)) if flagged else None

    return AtRate(held, share(True), share(False))


def _table(images: list[dict[str, Any]]) -> tuple[tuple[int, int], tuple[int, int]]:
    def count(first: bool, second: bool) -> int:
        return sum(one["anomalous"] == [first, second] for one in images)

    return (count(False, False), count(False, True)), (count(True, False), count(True, True))


def _kind(image: dict[str, Any]) -> str:
    return {None: "unreviewed", False: "good", True: "defect"}[image["is_defect"]]


def _title(image: dict[str, Any]) -> str:
    first, second = map(number, image["scores"])
    return f"inspection {image['id']}, {_kind(image)}: {first} and {second}"
