"""Which inspections a request asks for, in the same words for pages and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Query
from pydantic import BeforeValidator, Field

from blemish.errors import UsageError
from blemish.service.errors import ServiceError
from blemish.store import Filter, Review, Store

MOST_IDS = 500  # that one request reviews
LONGEST_NOTE = 1000

Verdict = Literal["normal", "anomaly"]
Span = Literal["hour", "today", "week"]
_Text = Annotated[str, Field(max_length=200)]
_Checksum = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Minutes = Annotated[int, Field(ge=-14 * 60, le=14 * 60)]
# what a form leaves empty is not asked for
_UNLESS = BeforeValidator(lambda value: None if value == "" else value)


@dataclass(frozen=True)
class Asked:
    """The choice as the store takes it, and the fields of its address, None where one is not given."""

    filter: Filter
    fields: dict[str, Any]

    @property
    def query(self) -> str:
        """For a link to the same choice; empty for everything."""
        return urlencode({name: value for name, value in self.fields.items() if value is not None})


def asked(
    *,
    verdict: Annotated[Verdict | None, _UNLESS, Query(description="only what was judged so")] = None,
    model: Annotated[_Text | None, _UNLESS, Query(description="a model's name")] = None,
    version: Annotated[_Checksum | None, _UNLESS, Query(description="its version, all 64 digits")] = None,
    source: Annotated[_Text | None, _UNLESS, Query(description="a part of the source; case does not matter")] = None,
    review: Annotated[Review | Literal["any", "none"] | None, _UNLESS, Query()] = None,
    span: Annotated[Span | None, _UNLESS, Query(description="the last hour, today, or the last 7 days")] = None,
    utc: Annotated[_Minutes | None, _UNLESS, Query(description="minutes ahead of UTC, for today")] = None,
    since: Annotated[datetime | None, _UNLESS, Query(description="ISO 8601; UTC where no zone is given")] = None,
    until: Annotated[datetime | None, _UNLESS, Query(description="up to this moment, which is not included")] = None,
) -> Asked:
    """A route's dependency. Raises `ServiceError` 422 for a time that no calendar has in UTC."""
    named: dict[str, Any] = {
        "verdict": verdict, "model": model, "version": version, "source": source, "review": review, "span": span,
        "utc": utc if span == "today" else None, "since": _moment(since), "until": _moment(until),
    }  # fmt: skip
    begin = [time for time in (named["since"], _begin(span, utc or 0)) if time is not None]
    filter = Filter(
        is_anomalous=None if verdict is None else verdict == "anomaly",
        model=model,
        version=version,
        source_contains=source,
        review=review,
        since=max(begin, default=None),
        until=named["until"],
    )
    return Asked(filter, {name: v.isoformat() if isinstance(v, datetime) else v for name, v in named.items()})


def _begin(span: Span | None, utc: int) -> datetime | None:
    if span is None:
        return None
    now = datetime.now(timezone.utc)
    if span == "today":
        there = now.astimezone(timezone(timedelta(minutes=utc)))
        return there.replace(hour=0, minute=0, second=0, microsecond=0)
    return now - (timedelta(hours=1) if span == "hour" else timedelta(days=7))


def _moment(time: datetime | None) -> datetime | None:
    """In UTC."""
    if time is None:
        return None
    try:
        return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except OverflowError:
        raise ServiceError(422, "invalid_request", "a time lies beyond the calendar") from None


def write_review(store: Store, ids: Sequence[int], review: Review | None, by: str, note: str | None) -> int:
    """`Store.review`; 409 for a review that a verdict rules out."""
    try:
        return store.review(ids, review, by, note or None)
    except UsageError as error:
        raise ServiceError(409, "impossible_review", str(error)) from error
