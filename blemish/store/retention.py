"""What the store forgets, and the files that nothing refers to any more."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from blemish.errors import UsageError
from blemish.store.inspection import Retention

if TYPE_CHECKING:
    import sqlalchemy as sa

    from blemish.store.blobs import Blobs
    from blemish.store.database import Database

_AT_ONCE = 1000  # rows in one transaction, so that recording does not wait for long


def forget(database: Database, policy: Retention, now: datetime) -> int:
    """Delete the inspections that the policy gives up; returns how many. Raises `UsageError` for a negative limit."""
    _check(policy)
    forgotten = 0
    for condition in _given_up(database, policy, now):
        while deleted := _delete_some(database, condition):
            forgotten += deleted
    return forgotten


def collect(database: Database, blobs: Blobs) -> int:
    """Remove the files that no inspection refers to; returns how many."""
    from blemish.store.tables import INSPECTIONS

    # 64 bits of each hash: two that agree in them are both kept
    referenced = np.unique(np.fromiter(_hashes(database, INSPECTIONS), np.uint64))

    def is_referenced(name: str) -> bool:
        value = np.uint64(int(name[:16], 16))
        at = int(np.searchsorted(referenced, value))
        return at < len(referenced) and bool(referenced[at] == value)

    return blobs.collect(is_referenced)


def _hashes(database: Database, table: sa.Table) -> list[int]:
    import sqlalchemy as sa

    query = sa.select(*(table.c[name] for name in ("image_hash", "thumbnail_hash", "map_hash")))
    with database.reading() as connection:
        rows = connection.execution_options(yield_per=10_000).execute(query)
        return [int(name[:16], 16) for row in rows for name in row if name is not None]


def _given_up(database: Database, policy: Retention, now: datetime) -> list[sa.ColumnElement[bool]]:
    """A condition for each limit."""
    import sqlalchemy as sa

    from blemish.store.tables import INSPECTIONS

    columns = INSPECTIONS.c
    found: list[sa.ColumnElement[bool]] = []
    spared = columns.is_anomalous & columns.review.is_(None) if policy.keep_unreviewed_defects else sa.false()
    if policy.max_age is not None:
        found.append((columns.time < now - policy.max_age) & ~spared)
    if policy.max_age_normal is not None:
        found.append((columns.time < now - policy.max_age_normal) & ~columns.is_anomalous)
    if policy.max_count is not None:
        query = sa.select(columns.id).order_by(columns.id.desc()).offset(policy.max_count).limit(1)
        with database.reading() as connection:
            newest_too_many = connection.execute(query).scalar()
        if newest_too_many is not None:
            found.append((columns.id <= newest_too_many) & ~spared)
    return found


def _delete_some(database: Database, condition: sa.ColumnElement[bool]) -> int:
    import sqlalchemy as sa

    from blemish.store.tables import INSPECTIONS

    some = sa.select(INSPECTIONS.c.id).where(condition).order_by(INSPECTIONS.c.id).limit(_AT_ONCE)
    with database.writing() as connection:
        return int(connection.execute(INSPECTIONS.delete().where(INSPECTIONS.c.id.in_(some))).rowcount)


def _check(policy: Retention) -> None:
    limits = (policy.max_age, policy.max_age_normal)
    if any(limit is not None and limit.total_seconds() < 0 for limit in limits) or (policy.max_count or 0) < 0:
        raise UsageError("a retention limit is not negative")
