"""What every request passes before its route: who it says it is for, how often it comes, how large its body is."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blemish.service.core import Service
from blemish.service.errors import ServiceError, error_response

_MOST_CLIENTS = 10_000  # whose rates are remembered
_LOCAL = ("localhost", "127.0.0.1", "::1")
_LINGER = 10.0  # seconds
_PROBES = ("/health", "/v1/health/live", "/v1/health/ready", "/v2/health/live", "/v2/health/ready")
_SAFE = ("GET", "HEAD", "OPTIONS")
# what FastAPI may parse before a route has asked who sends it: JSON takes up to thirty times its length in memory
_SMALL = 2 << 20
BODY = "blemish.body"  # of a scope

log = logging.getLogger("blemish.service")


class Gate:
    """Refuses early and in the route's own shape; counts and logs what it lets through."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._rates = Rates(service.settings.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), [0]
        body = scope[BODY] = Body(receive, self._service, Headers(scope=scope))

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
            if body.is_coming and message["type"] == "http.response.body" and not message.get("more_body"):
                await send({**message, "more_body": True})
                await body.discard()
                message = {"type": "http.response.body"}
            await send(message)

        try:
            self._check(scope)
            body.check()
            await self._app(scope, body.receive, counted)
        except ServiceError as error:
            refusal = error_response(scope["path"], error.status_code, error.code, error.detail, error.headers)
            await refusal(scope, receive, counted)
        finally:
            body.release()
            self._tell(scope, status[0], time.perf_counter() - start)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if scope["path"] not in _PROBES:
            self._rates.count(_client(scope))
        host, origin = headers.get("host", ""), headers.get("origin")
        settings = self._service.settings
        # a page of another site that resolves its name to this machine would get past the browser's same-origin rule
        if settings.is_local and _name(host) not in (*_LOCAL, settings.host, *settings.hosts):
            raise ServiceError(421, "wrong_host", "this service listens on the local machine only, under its own name")
        if origin is not None and scope["method"] not in _SAFE and not self._is_own(origin, host):
            raise ServiceError(403, "cross_site", "requests from pages of other sites are refused")

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether a page of this service asks, under the name that the browser knows, or that a proxy has for it."""
        netloc = origin.partition("://")[2]
        return netloc == host or _name(netloc) in self._service.settings.hosts

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in (*_SAFE, "POST", "PUT", "PATCH", "DELETE") else "other"
        self._service.metrics.requests.labels(method, route, str(status)).inc()
        self._service.metrics.seconds.labels(route).observe(seconds)
        said = {"method": method, "route": route, "status": status, "ms": round(1e3 * seconds, 1)}
        log.info("request %s", json.dumps(said), extra={"request": said | {"client": _client(scope)}})


class Body:
    """A body on its way in: bounded in size, in time, and in what all bodies take together.

    It is a small one unless the route says `allow_large`, which knows by then who sends it.
    """

    def __init__(self, receive: Receive, service: Service, headers: Headers) -> None:
        self._receive, self._quota, self._settings = receive, service.bodies, service.settings
        self._taken, self._ended, self._stated = 0, False, headers.get("content-length", "")
        # who asks first whether to send a body sends none after a refusal
        self.is_coming = "expect" not in headers and (self._stated not in ("", "0") or "transfer-encoding" in headers)
        self._deadline = time.monotonic() + service.settings.body_timeout
        self._most = min(_SMALL, service.settings.max_body)

    def allow_large(self) -> None:
        """The route reads the body itself, as an image or a model: up to the service's own limit."""
        self._most = self._settings.max_body

    def check(self) -> None:
        """Refuse by what the headers say, before anything is read."""
        if self._stated.isdigit() and int(self._stated) > self._settings.max_body:
            raise self._too_large(self._settings.max_body)

    async def receive(self) -> Message:
        """The next message; 413, 408 or 503 where the body is too large, too slow or one too many."""
        if self._ended:
            return await self._receive()
        try:
            left = max(0.0, self._deadline - time.monotonic())
            message = await asyncio.wait_for(self._receive(), left)
        except asyncio.TimeoutError:
            self.is_coming = False  # it is not waited for any longer
            seconds = f"{self._settings.body_timeout:g} s"
            raise ServiceError(
                408, "too_slow", f"the body took longer than {seconds}", {"Connection": "close"}
            ) from None
        size = len(message.get("body", b""))
        if self._taken + size > self._most:
            raise self._too_large(self._most)
        self._quota.take(size)
        self._taken += size
        self._note(message)
        return message

    async def discard(self) -> None:
        """Read what is still to come and forget it, for a while: a client that is cut off in the middle of sending
        does not get to read the refusal.
        """
        deadline = time.monotonic() + _LINGER
        while self.is_coming and (left := deadline - time.monotonic()) > 0:
            with suppress(asyncio.TimeoutError):
                self._note(await asyncio.wait_for(self._receive(), left))

    def release(self) -> None:
        """The request is answered."""
        self._quota.give_back(self._taken)

    def _note(self, message: Message) -> None:
        if message["type"] != "http.request" or not message.get("more_body"):
            self.is_coming, self._ended = False, True

    @staticmethod
    def _too_large(most: int) -> ServiceError:
        return ServiceError(413, "too_large", f"the body is larger than the limit of {most} bytes")


class Rates:
    """A bucket for each client that fills with `rate` a second and holds two seconds' worth, at least one."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # -> what is in it, and since when

    def count(self, client: str) -> None:
        """Take one; 429 where the bucket is empty."""
        if self._rate is None:
            return
        now, full = time.monotonic(), max(1.0, 2 * self._rate)
        level, since = self._buckets.pop(client, (full, now))
        level = min(full, level + self._rate * (now - since))
        self._buckets[client] = (level - 1 if level >= 1 else level), now
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        if level < 1:
            wait = str(max(1, round((1 - level) / self._rate)))
            raise ServiceError(429, "too_often", "too many requests from this client", {"Retry-After": wait})


def _client(scope: Scope) -> str:
    return str((scope.get("client") or ("unknown",))[0])


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
