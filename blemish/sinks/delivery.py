"""Store and forward: what waits in the outbox is sent in order, again and again until it has arrived."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from blemish.errors import BlemishError
from blemish.store import Message, Store

log = logging.getLogger("blemish")

_POLL_S = 0.5  # how soon a new message is noticed


class Sink(Protocol):
    """A place that messages are sent to; `at_once` is how many are handed over together."""

    name: str
    at_once: int

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver these in order; returns when all have arrived. Raises `OSError` where one may not have."""

    def close(self) -> None:
        """End the connection."""


class Courier:
    """A thread that carries one sink's messages. A context manager.

    What was not acknowledged is sent again after a pause, which doubles with every failure, so a message arrives at
    least once, possibly twice, and never before an earlier one has. Nothing is given up: a receiver that refuses a
    message holds up those behind it, and `failure` says why.
    """

    def __init__(self, store: Store, sink: Sink, *, first_pause_s: float = 1.0, longest_pause_s: float = 60.0) -> None:
        self.sink = sink
        self.failure: str | None = None
        self._store = store
        self._pauses_s = (first_pause_s, longest_pause_s)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"blemish-{sink.name}", daemon=True)

    def start(self) -> None:
        """Subscribe the sink and begin to carry."""
        self._store.outbox.subscribe(self.sink.name)
        self._thread.start()

    def stop(self) -> None:
        """End after the messages under way; what waits stays in the store."""
        self._ended.set()
        self._thread.join()
        self.sink.close()

    def __enter__(self) -> Courier:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _run(self) -> None:
        pause = self._pauses_s[0]
        while not self._ended.is_set():
            try:
                carried = self._carry()
            except (OSError, BlemishError) as error:
                self._note(str(error) or type(error).__name__)
                self._ended.wait(pause)
                pause = min(2 * pause, self._pauses_s[1])
                continue
            pause = self._pauses_s[0]
            if carried:
                self._note(None)
            else:
                self._ended.wait(_POLL_S)

    def _carry(self) -> int:
        """Send what waits longest; returns how many messages that were."""
        messages = self._store.outbox.oldest(self.sink.name, self.sink.at_once)
        if messages:
            self.sink.send(messages)
            self._store.outbox.delivered(messages)
        return len(messages)

    def _note(self, failure: str | None) -> None:
        """Say once that deliveries fail, and once that they succeed again."""
        if failure is not None and self.failure is None:
            log.warning("%s: nothing arrives, and is kept until it does: %s", self.sink.name, failure)
        elif failure is None and self.failure is not None:
            log.info("%s: messages arrive again", self.sink.name)
        self.failure = failure
