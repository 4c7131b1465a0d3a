"""Inspections on their way into the database, with the messages that tell of them, in one transaction."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from blemish.errors import StoreError, UsageError
from blemish.store.inspection import Inspection
from blemish.store.rows import clean, to_row

if TYPE_CHECKING:
    import sqlalchemy as sa

    from blemish.store.database import Database

_PAUSES_S = (0.1, 0.5, 2.0, 4.0)  # a database server that restarts is back by then
_TEXTS = ("source", "part", "part_key", "model", "version", "reviewed_by", "note", "request_id")
_MOST = 500  # values in one statement


def storable(inspection: Inspection) -> Inspection:
    """The inspection with texts that every database keeps. Raises `UsageError` for times and numbers that none does."""
    if inspection.time.tzinfo is None:
        raise UsageError("the time of an inspection must know its time zone")
    names = ("score", "threshold", "p_value", "pixel_threshold", "part_threshold")
    numbers = [getattr(inspection, name) for name in names]
    if not all(number is None or math.isfinite(number) for number in numbers):
        raise UsageError("score, threshold and p-value of an inspection must be finite")
    try:
        json.dumps([dict(region) for region in inspection.regions], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the regions of an inspection must be JSON: {error}") from None
    texts: dict[str, Any] = {name: clean(getattr(inspection, name)) for name in _TEXTS}
    return replace(inspection, **texts)


def write_patiently(database: Database, inspections: Sequence[Inspection]) -> list[int]:
    """`write`, again where a database server went away; a commit of which nobody knows is not made twice."""
    for pause in _PAUSES_S:
        try:
            return write(database, inspections)
        except StoreError as error:
            if not _passes(database, error):
                raise
            time.sleep(pause)
    return write(database, inspections)


def write(database: Database, inspections: Sequence[Inspection]) -> list[int]:
    """The ids of the inspections, in one transaction: new ones, and those of request ids that are there."""
    from blemish.store.tables import INSPECTIONS

    wanted: dict[str, Inspection] = {}
    for one in inspections:
        wanted.setdefault(one.request_id, one)
    with database.writing() as connection:
        known = _ids(connection, wanted)
        rows = [to_row(one) for name, one in wanted.items() if name not in known]
        if rows:
            connection.execute(database.insert_new(INSPECTIONS), rows)
            new = _ids(connection, [row["request_id"] for row in rows])
            _announce(database, connection, [wanted[name] for name in sorted(new, key=new.__getitem__)], new)
            known |= new
    return [known[one.request_id] for one in inspections]


def _ids(connection: sa.Connection, names: Iterable[str]) -> dict[str, int]:
    """The ids of the request ids that there are."""
    import sqlalchemy as sa

    from blemish.store.tables import INSPECTIONS

    names, columns = list(names), INSPECTIONS.c
    found: dict[str, int] = {}
    for start in range(0, len(names), _MOST):
        part = names[start : start + _MOST]
        query = sa.select(columns.request_id, columns.id).where(columns.request_id.in_(part))
        found.update(connection.execute(query).all())
    return found


def _announce(
    database: Database, connection: sa.Connection, inspections: Sequence[Inspection], ids: dict[str, int]
) -> None:
    """A message for each subscribed sink and each new inspection."""
    import sqlalchemy as sa

    from blemish.store.tables import OUTBOX, SUBSCRIPTIONS

    sinks = connection.execute(sa.select(SUBSCRIPTIONS.c.sink)).scalars().all()
    now = datetime.now(timezone.utc)
    messages: list[dict[str, Any]] = []
    for one in inspections:
        payload = {"event": "inspection", **one.to_dict(), "id": ids[one.request_id]}
        messages += [{"sink": sink, "key": one.request_id, "payload": payload, "created": now} for sink in sinks]
    if messages:
        connection.execute(database.insert_new(OUTBOX), messages)


def _passes(database: Database, error: StoreError) -> bool:
    """Whether the error is a database server's absence."""
    import sqlalchemy as sa

    cause = error.__cause__
    return not database.is_sqlite and isinstance(cause, (sa.exc.OperationalError, sa.exc.InterfaceError))
