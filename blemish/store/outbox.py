"""Messages that wait for a sink: written in the transaction of what they tell of, gone when delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


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

    def subscribe(self, sink: str) -> None:
        """From now on, each inspection that is recorded leaves a message for the sink; repeating it does nothing."""
        raise NotImplementedError

    def unsubscribe(self, sink: str) -> None:
        """No further messages; those that wait are dropped."""
        raise NotImplementedError

    def put(self, sink: str, key: str, payload: Any) -> None:
        """A message that tells of something else, such as a drift alarm; one with a key that waits is kept once."""
        raise NotImplementedError

    def oldest(self, sink: str, limit: int = 50) -> list[Message]:
        """What waits longest, in the order in which it was recorded."""
        raise NotImplementedError

    def delivered(self, messages: Sequence[Message]) -> None:
        """These have arrived, and are dropped."""
        raise NotImplementedError

    def waiting(self, sink: str) -> int:
        """How many messages wait."""
        raise NotImplementedError
