"""Messages to an MQTT broker, at quality of service 1; needs `blemish[mqtt]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blemish.store import Message


class MqttSink:
    """`url` is `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]` (TLS)."""

    def __init__(
        self,
        url: str,
        topic: str = "blemish/inspections",
        name: str = "mqtt",
        user: str | None = None,
        password: str | None = None,
        ca_file: Path | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        raise NotImplementedError

    def send(self, messages: Sequence[Message]) -> None:
        """Publish in order, and wait for the broker's acknowledgement of each."""
        raise NotImplementedError

    def close(self) -> None:
        """End the connection."""
        raise NotImplementedError
