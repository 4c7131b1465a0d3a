"""Messages that wait for a sink: written in the transaction of what they tell of, gone when delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from blemish.store.database import Database


@dataclass(frozen=True)
class Message:
    """One message of one sink; `key` is the same however often it is sent, `payload` is JSON-able."""

    id: int
    sink: str
    key: str
    payload: Any
    created: datetime


class Outbox:
    """The messages of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def subscribe(self, sink: str) -> None:
        """From now on, each inspection that is recorded leaves a message for the sink; repeating it does nothing."""
        from blemish.store.tables import SUBSCRIPTIONS

        with self._database.writing() as connection:
            connection.execute(self._database.insert_new(SUBSCRIPTIONS), {"sink": sink})

    def unsubscribe(self, sink: str, keep: bool = False) -> None:
        """No further messages; those that wait are dropped, or with `keep` wait for the sink to subscribe again."""
        from blemish.store.tables import OUTBOX, SUBSCRIPTIONS

        with self._database.writing() as connection:
            connection.execute(SUBSCRIPTIONS.delete().where(SUBSCRIPTIONS.c.sink == sink))
            if not keep:
                connection.execute(OUTBOX.delete().where(OUTBOX.c.sink == sink))

    def subscribed(self) -> list[str]:
        """The sinks that get messages, by name."""
        import sqlalchemy as sa

        from blemish.store.tables import SUBSCRIPTIONS

        with self._database.reading() as connection:
            return list(connection.execute(sa.select(SUBSCRIPTIONS.c.sink).order_by(SUBSCRIPTIONS.c.sink)).scalars())

    def put(self, sink: str, key: str, payload: Any) -> None:
        """A message that tells of something else, such as a drift alarm; one with a key that waits is kept once."""
        from blemish.store.tables import OUTBOX

        row = {"sink": sink, "key": key, "payload": payload, "created": datetime.now(timezone.utc)}
        with self._database.writing() as connection:
            connection.execute(self._database.insert_new(OUTBOX), row)

    def oldest(self, sink: str, limit: int = 50) -> list[Message]:
        """What waits longest, in the order in which it was recorded."""
        import sqlalchemy as sa

        from blemish.store.tables import OUTBOX

        columns = OUTBOX.c
        query = sa.select(columns.id, columns.sink, columns.key, columns.payload, columns.created)
        query = query.where(columns.sink == sink).order_by(columns.id).limit(limit)
        with self._database.reading() as connection:
            return [Message(*row) for row in connection.execute(query)]

    def delivered(self, messages: Sequence[Message]) -> None:
        """These have arrived, and are dropped."""
        from blemish.store.tables import OUTBOX

        with self._database.writing() as connection:
            connection.execute(OUTBOX.delete().where(OUTBOX.c.id.in_([message.id for message in messages])))

    def waiting(self, sink: str) -> int:
        """How many messages wait."""
        import sqlalchemy as sa

        from blemish.store.tables import OUTBOX

        query = sa.select(sa.func.count()).select_from(OUTBOX).where(OUTBOX.c.sink == sink)
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())
