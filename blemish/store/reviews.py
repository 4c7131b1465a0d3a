"""What operators say of verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import get_args

from blemish.errors import UsageError
from blemish.store.database import Database
from blemish.store.inspection import Review
from blemish.store.rows import clean

# the verdict that a review contradicts; `confirmed` fits either
_OF_ANOMALIES = {"false_alarm": True, "missed_defect": False}


def write_review(database: Database, ids: Sequence[int], review: Review | None, by: str, note: str | None) -> int:
    """`Store.review`: all of the ids that there are, or with an error none."""
    import sqlalchemy as sa

    from blemish.store.tables import INSPECTIONS

    if review is not None and review not in get_args(Review):
        raise UsageError(f"a review is one of {', '.join(get_args(Review))}, not {review!r}")
    now, columns = datetime.now(timezone.utc), INSPECTIONS.c
    values = {"review": review, "reviewed_by": clean(by), "reviewed_at": now, "note": clean(note)}
    if review is None:
        values = dict.fromkeys(values)
    named = columns.id.in_(list(ids))
    with database.writing() as connection:
        if review in _OF_ANOMALIES:
            other = columns.is_anomalous != _OF_ANOMALIES[review]
            query = sa.select(columns.id).where(named, other).order_by(columns.id).limit(1)
            _refuse(review, connection.execute(query).scalar())
        return int(connection.execute(INSPECTIONS.update().where(named).values(**values)).rowcount)


def _refuse(review: str, id: int | None) -> None:
    if id is None:
        return
    if _OF_ANOMALIES[review]:
        raise UsageError(f"inspection {id} was judged normal; only an anomaly can be a false alarm")
    raise UsageError(f"inspection {id} was judged anomalous; only what was judged normal can be a missed defect")
