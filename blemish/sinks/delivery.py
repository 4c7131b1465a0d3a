"""Store and forward: what waits in the outbox is sent in order, again and again until it has arrived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from blemish.store import Message, Store


class Sink(Protocol):
    """A place that messages are sent to."""

    name: str

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver these in order; returns when all have arrived. Raises `OSError` for what may pass with time."""

    def close(self) -> None:
        """End the connection."""


class Courier:
    """A thread that carries one sink's messages; a context manager."""

    def __init__(self, store: Store, sink: Sink, first_pause_s: float = 1.0, longest_pause_s: float = 60.0) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Subscribe the sink and begin to carry."""
        raise NotImplementedError

    def stop(self) -> None:
        """End after the message under way; what waits stays in the store."""
        raise NotImplementedError
