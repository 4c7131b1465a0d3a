"""All inspected good images of a period: what a model may learn from and calibrate with.

None of them may be chosen by its score. So the images of a period count only from where the images of normal ones are
kept as those of alarms are, an alarm among them has to be reviewed, and one that was a false alarm belongs to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal
from urllib.parse import urlencode

from blemish.models import short_hash
from blemish.service.jobs.stored import described_images, is_defect
from blemish.service.registry import Model
from blemish.store import Filter, Inspection, Store
from blemish.store.inspection import iso

Span = Literal["day", "week", "month", "all"]
SPANS: dict[Span, tuple[str, timedelta | None]] = {
    "day": ("the last 24 hours", timedelta(days=1)),
    "week": ("the last 7 days", timedelta(days=7)),
    "month": ("the last 30 days", timedelta(days=30)),
    "all": ("all inspections", None),
}
MOST = 5000  # inspections, the newest of the period


@dataclass(frozen=True)
class Period:
    """The good images of a period.

    Attributes:
        span: which period was asked for.
        begins: when its first inspection was that counts; None where none does.
        images: good images that are new to the version that answers, and with them those that it has learned without
            calibration; none where none is new.
        known: how many others it knows.
        unreviewed: alarms that nobody has reviewed; none may be left.
        is_cut: whether earlier inspections of the period do not count, since images of good ones are not kept.
        history: the query of the page History for the alarms to review.
        waits_alone: whether there are images learned without calibration and no new one that they could calibrate with.
    """

    span: Span
    begins: datetime | None
    images: list[dict[str, Any]]
    known: int
    unreviewed: int
    is_cut: bool
    history: str
    waits_alone: bool


def period_of(store: Store, model: Model, span: Span) -> Period:
    """What the inspections of a model in a period offer to the version that answers."""
    length = SPANS[span][1]
    since = None if length is None else datetime.now(timezone.utc) - length
    found = store.find(Filter(model=model.name, since=since), limit=MOST)
    whole = _whole(found)
    begins = min((one.time for one in whole), default=None)
    good = _good(whole)
    data = model.versions[model.active].predictor.model.info.data
    known, waiting = set(data.hashes or ()), set(data.learned_only or ())
    new = [one for one in good if short_hash(one["image"]) not in known - waiting]
    waits_alone = bool(new) and all(short_hash(one["image"]) in known for one in new)
    if waits_alone:  # without a new image there is no update for them to join
        new = []
    unreviewed = sum(one.is_anomalous and one.review is None for one in whole)
    query = {"model": model.name, "verdict": "anomaly", "review": "none"}
    if begins is not None:
        query["since"] = iso(begins)
    return Period(
        span, begins, new, len(good) - len(new), unreviewed, len(whole) < len(found), urlencode(query), waits_alone
    )


def _whole(newest_first: list[Inspection]) -> list[Inspection]:
    """The newest of them, up to where normal inspections lack their images, or are forgotten while alarms are not."""
    ends = [i for i, one in enumerate(newest_first) if not one.is_anomalous and one.image_hash is None]
    kept = newest_first[: ends[0]] if ends else newest_first
    normal = [i for i, one in enumerate(kept) if not one.is_anomalous]
    return kept[: normal[-1] + 1] if normal else []


def _good(inspections: list[Inspection]) -> list[dict[str, Any]]:
    """The images of good parts; one that was once called a defect is none."""
    defects = {one.image_hash for one in inspections if is_defect(one)}
    return described_images(
        one
        for one in inspections
        if one.image_hash not in defects and (is_defect(one) is False or not one.is_anomalous)
    )
