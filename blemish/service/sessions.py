"""A browser's session: a signed cookie that stands for a token, and a second secret against forged requests.

The cookie holds the token's number and when it ends, signed with a key that the store keeps; so a session outlives a
restart, and ends with its token. A request that changes something has to repeat what only our own pages know: a
keyed hash of the cookie, in the header `X-CSRF-Token`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from blemish.store import Store

COOKIE = "blemish_session"
HEADER = "X-CSRF-Token"
LIFETIME = 12 * 3600  # seconds; a shift
_KEY = "session/key"


@dataclass(frozen=True)
class Session:
    """What a valid cookie says: the token that it stands for, and what changes have to bring along."""

    token: int
    csrf: str


class Sessions:
    """Makes and reads the cookies."""

    def __init__(self, store: Store) -> None:
        key = store.settings.get(_KEY)
        if key is None:
            store.settings.set(_KEY, secrets.token_hex(32))
            key = store.settings.get(_KEY)
        self._key = bytes.fromhex(key)

    def begin(self, response: Response, request: Request, token: int) -> None:
        """Set the cookie of a new session; over TLS, our own or a proxy's, it comes back over TLS only."""
        said = f"{token}.{int(time.time()) + LIFETIME}"
        is_tls = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        response.set_cookie(
            COOKIE, f"{said}.{self._sign('session', said)}", LIFETIME, httponly=True, samesite="lax", secure=is_tls
        )

    @staticmethod
    def end(response: Response) -> None:
        """Let the browser forget it."""
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")

    def read(self, request: Request) -> Session | None:
        """The session of a request; None without a cookie, and for one that is forged or over."""
        cookie = request.cookies.get(COOKIE, "")
        said, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", said).encode()):
            return None
        token, _, end = said.partition(".")
        return Session(int(token), self._sign("csrf", cookie)) if time.time() < int(end) else None

    def _sign(self, use: str, text: str) -> str:
        return hmac.new(self._key, f"{use}:{text}".encode(), hashlib.sha256).hexdigest()
