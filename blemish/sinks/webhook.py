"""Messages by HTTP POST, as signed JSON."""

from __future__ import annotations

from collections.abc import Sequence

from blemish.store import Message


class WebhookSink:
    """One POST for each message; any 2xx answer means that it has arrived."""

    def __init__(
        self, url: str, secret: str, name: str = "webhook", allow_private: bool = False, timeout_s: float = 10.0
    ) -> None:
        raise NotImplementedError

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver in order."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is kept open."""
