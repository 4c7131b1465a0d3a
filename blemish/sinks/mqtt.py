"""Messages to an MQTT broker, at quality of service 1; needs `blemish[mqtt]`."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from blemish.errors import UsageError, install_command
from blemish.store import Message

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.reasoncodes import ReasonCode

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_KEEP_ALIVE_S = 30


class MqttSink:
    """One message each, as JSON with its `key`; it has arrived when the broker acknowledges it.

    Args:
        url: `mqtt://HOST[:PORT]`, or `mqtts://HOST[:PORT]` for verified TLS.
        topic: what to publish to, without wildcards.
        name: of the sink in the outbox.
        user, password: where the broker asks for them.
        ca_file: certificates of the plant's own authority instead of the system's.
        timeout_s: for the connection, and for the acknowledgements of what was sent together.

    Raises `UsageError` for a wrong URL or topic and without `blemish[mqtt]`.
    """

    at_once = 50

    def __init__(
        self,
        url: str,
        *,
        topic: str = "blemish/inspections",
        name: str = "mqtt",
        user: str | None = None,
        password: str | None = None,
        ca_file: Path | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self.name = name
        self._host, self._port, self._tls = _place(url)
        if not topic or set(topic) & set("+#\0"):
            raise UsageError(f"an MQTT topic to publish to has no wildcards: {topic!r}")
        self._topic = topic
        self._login = (user, password)
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._client: Client | None = None
        _require_paho()

    def send(self, messages: Sequence[Message]) -> None:
        """Publish in order, and wait for the acknowledgements. Raises `OSError` where one is missing."""
        try:
            client = self._connected()
            waiting = [client.publish(self._topic, _body(message), qos=1) for message in messages]
            end = time.monotonic() + self._timeout_s
            for one in waiting:
                one.wait_for_publish(max(0.0, end - time.monotonic()))
                if not one.is_published():
                    raise OSError(f"the broker {self._host} does not acknowledge")
        except (OSError, RuntimeError, ValueError) as error:
            self.close()  # a new client knows nothing of messages that are to be sent again
            raise OSError(f"MQTT: {error}") from error

    def close(self) -> None:
        """End the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()
            channel = client.socket()
            if channel is not None:  # of a connection that the broker refused
                channel.close()

    def _connected(self) -> Client:
        """The client, connected and accepted by the broker."""
        if self._client is not None:
            return self._client
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2)
        if self._login[0] is not None:
            client.username_pw_set(*self._login)
        if self._tls:
            client.tls_set(None if self._ca_file is None else str(self._ca_file))
        answers: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()
        client.on_connect = lambda client, data, flags, reason, properties: answers.put(reason)  # noqa: ARG005
        client.connect_timeout = self._timeout_s
        client.connect(self._host, self._port, _KEEP_ALIVE_S)
        client.loop_start()
        self._client = client
        try:
            reason = answers.get(timeout=self._timeout_s)
        except queue.Empty:
            raise OSError(f"the broker {self._host} does not answer") from None
        if reason.is_failure:
            raise OSError(f"the broker {self._host} refuses: {reason}")
        return client


def _body(message: Message) -> str:
    return json.dumps({"key": message.key, **message.payload}, allow_nan=False)


def _place(url: str) -> tuple[str, int, bool]:
    """Host, port and whether TLS is used."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        parts = None
    if parts is None or not parts.hostname or parts.username or parts.path.strip("/") or parts.query:
        raise UsageError("an MQTT broker is mqtt://HOST[:PORT] or mqtts://HOST[:PORT]; user and password go apart")
    return parts.hostname, port, parts.scheme == "mqtts"


def _require_paho() -> None:
    from importlib.util import find_spec

    if find_spec("paho") is None:
        raise UsageError(f"MQTT needs paho-mqtt: {install_command('mqtt')}")
