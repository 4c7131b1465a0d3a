"""The tables of the store, as queries see them; `migrations` makes them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

METADATA = sa.MetaData()


class Moment(TypeDecorator[datetime]):
    """A moment in UTC, with microseconds; SQLite keeps no time zone, PostgreSQL gives that of the session."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """To UTC."""
        return None if value is None else value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """To UTC, with the zone that SQLite dropped."""
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def _table(name: str, columns: dict[str, Any]) -> sa.Table:
    return sa.Table(name, METADATA, *(sa.Column(column, kind) for column, kind in columns.items()))


INSPECTIONS = _table(
    "inspections",
    {
        "id": sa.BigInteger,
        "request_id": sa.Text,
        "time": Moment,
        "source": sa.Text,
        "page_index": sa.Integer,
        "part": sa.Text,
        "part_key": sa.String,
        "part_images": sa.Integer,
        "part_threshold": sa.Double,
        "model": sa.Text,
        "version": sa.Text,
        "score": sa.Double,
        "p_value": sa.Double,
        "threshold": sa.Double,
        "pixel_threshold": sa.Double,
        "is_anomalous": sa.Boolean,
        "regions": sa.JSON,
        "width": sa.Integer,
        "height": sa.Integer,
        "image_hash": sa.String,
        "thumbnail_hash": sa.String,
        "map_hash": sa.String,
        "brightness": sa.Double,
        "focus": sa.Double,
        "shift_x": sa.Double,
        "shift_y": sa.Double,
        "review": sa.String,
        "reviewed_by": sa.Text,
        "reviewed_at": Moment,
        "note": sa.Text,
    },
)
SUBSCRIPTIONS = _table("subscriptions", {"sink": sa.Text})
OUTBOX = _table("outbox", {"id": sa.BigInteger, "sink": sa.Text, "key": sa.Text, "payload": sa.JSON, "created": Moment})
TOKENS = _table(
    "tokens",
    {"id": sa.Integer, "name": sa.Text, "role": sa.Text, "hash": sa.String, "created": Moment, "revoked": Moment},
)
SETTINGS = _table("settings", {"key": sa.Text, "value": sa.JSON})
JOBS = _table(
    "jobs",
    {
        "id": sa.Integer,
        "kind": sa.Text,
        "parameters": sa.JSON,
        "state": sa.String,
        "progress": sa.Double,
        "message": sa.Text,
        "result": sa.JSON,
        "created": Moment,
        "changed": Moment,
    },
)
