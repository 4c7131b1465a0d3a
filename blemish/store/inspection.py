"""The records of the store: what was seen, and which of it is asked for."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, TypeAlias, get_args

Review: TypeAlias = Literal["false_alarm", "missed_defect", "confirmed"]
REVIEWS: tuple[Review, ...] = get_args(Review)


def new_request_id() -> str:
    """An id that no other request has."""
    return uuid.uuid4().hex


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """One image's verdict as it was answered, and what became of it.

    Attributes:
        time: when the image was judged; must know its time zone, and is kept in UTC.
        source: where the image came from: a file's name, a camera, a client; None where that is unknown.
        part: the part that the image shows, None where that is not known. `part_key` is common to the images of one
            part, and of no other of the same name; `part_images` show it, and `part_threshold` is what their largest
            score is held against.
        page_index: which page of the image's file, where that has several; else None.
        model: name of the model; `version` is its version, 64 hexadecimal digits.
        threshold: what the score was held against; `pixel_threshold` is the map's, None where it was not recorded.
        p_value: share of good images that look at least this odd; None for a model without calibration.
        regions: as `Region.to_dict` gives them, largest first.
        width, height: of the original image, in pixels.
        image_hash, thumbnail_hash, map_hash: names in `Blobs`, None where nothing was kept.
        brightness, focus, shift_x, shift_y: `blemish.drift.image_statistics` of the image; None where not measured.
        review: what an operator said of the verdict, by whom and when; None until then.
        request_id: one for each image of a request; what is recorded twice under it is kept once.
        id: number in the store, ascending in the order of recording; 0 before it is recorded.
    """

    time: datetime
    model: str
    version: str
    score: float
    threshold: float
    is_anomalous: bool
    source: str | None = None
    page_index: int | None = None
    part: str | None = None
    part_key: str | None = None
    part_images: int | None = None
    part_threshold: float | None = None
    p_value: float | None = None
    pixel_threshold: float | None = None
    regions: tuple[Mapping[str, Any], ...] = ()
    width: int = 0
    height: int = 0
    image_hash: str | None = None
    thumbnail_hash: str | None = None
    map_hash: str | None = None
    brightness: float | None = None
    focus: float | None = None
    shift_x: float | None = None
    shift_y: float | None = None
    review: Review | None = None
    reviewed_by: str | None = None
    reviewed_at: datetime | None = None
    note: str | None = None
    request_id: str = field(default_factory=new_request_id)
    id: int = 0

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able record; times are ISO 8601 in UTC."""
        record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        record["regions"] = [dict(region) for region in self.regions]
        record["time"] = iso(self.time)
        record["reviewed_at"] = None if self.reviewed_at is None else iso(self.reviewed_at)
        return record


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which inspections: every field that is not None narrows the choice.

    `source_contains` is a part of the source; case does not matter. `since` is included, `until` is not. `review` is a
    review, `any` for all that were reviewed, or `none`.
    """

    is_anomalous: bool | None = None
    model: str | None = None
    version: str | None = None
    source: str | None = None
    source_contains: str | None = None
    part_key: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    review: Review | Literal["any", "none"] | None = None


@dataclass(frozen=True, kw_only=True)
class Retention:
    """What the store forgets; a limit that is None forgets nothing.

    Attributes:
        max_age: inspections older than this go.
        max_age_normal: the same for those that were judged normal, where that is to be shorter.
        max_count: of the rest, the newest so many stay.
        keep_unreviewed_defects: an anomaly that nobody reviewed stays whatever the limits say.
    """

    max_age: timedelta | None = None
    max_age_normal: timedelta | None = None
    max_count: int | None = None
    keep_unreviewed_defects: bool = True


def iso(time: datetime) -> str:
    """ISO 8601 in UTC, with microseconds."""
    return time.astimezone(timezone.utc).isoformat(timespec="microseconds")
