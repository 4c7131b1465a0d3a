"""Messages by HTTP POST, as signed JSON."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from blemish.errors import UsageError
from blemish.images.connection import NotPublicError, connection
from blemish.store import Message

_PORTS = {"http": 80, "https": 443}
_MOST = 1 << 16  # bytes read of an answer


class WebhookSink:
    """One POST for each message; any 2xx answer means that it has arrived. Redirects are not followed.

    The header `Blemish-Signature` is `t=<Unix seconds>,v1=<hex>`: HMAC-SHA256, under the shared secret, of the seconds,
    a dot and the body. `Idempotency-Key` is the same whenever a message is sent again.

    Args:
        url: http or https; its host must lead to public addresses unless `allow_private`.
        secret: known to both sides.
        name: of the sink in the outbox.
        timeout_s: for one message, from the connection to the end of the answer.
    """

    at_once = 1

    def __init__(
        self, url: str, secret: str, *, name: str = "webhook", allow_private: bool = False, timeout_s: float = 10.0
    ) -> None:
        self.name = name
        self._parts = _checked(url)
        self._secret = secret.encode()
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        if not secret:
            raise UsageError("a webhook needs a secret, with which the receiver can tell our messages from others")

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver in order. Raises `OSError` where one is not taken."""
        for message in messages:
            status = self._post(message)
            if not 200 <= status < 300:
                raise OSError(f"the webhook answered {status}")

    def close(self) -> None:
        """Nothing is kept open."""

    def _post(self, message: Message) -> int:
        """The status of the answer."""
        from http.client import HTTPConnection, HTTPException

        parts, body = self._parts, json.dumps(message.payload, allow_nan=False).encode()
        host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            with connection(
                host, port, tls=parts.scheme == "https", limit_s=self._timeout_s, allow_private=self._allow_private
            ) as channel:
                http = HTTPConnection(host, port)
                http.sock = channel
                http.request("POST", path, body, self._headers(message, body))
                with http.getresponse() as response:
                    response.read(_MOST)
                    return response.status
        except (HTTPException, NotPublicError) as error:
            raise OSError(f"the webhook: {error or type(error).__name__}") from error

    def _headers(self, message: Message, body: bytes) -> dict[str, str]:
        moment = str(int(time.time()))
        signature = hmac.new(self._secret, moment.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/json",
            "User-Agent": "blemish",
            "Idempotency-Key": message.key,
            "Blemish-Signature": f"t={moment},v1={signature}",
            "Connection": "close",
        }


def _checked(url: str) -> SplitResult:
    """The parts of an http(s) URL without user and password, which would stand in logs."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError("a webhook's URL is https://HOST/PATH or http://HOST/PATH, in ASCII and without a password")
    return parts
