"""The socket: connections that say nothing are closed, and a stop finishes what was accepted."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from blemish.errors import UsageError
from blemish.service.app import create_app
from blemish.service.settings import Settings
from blemish.store import open_store

_SPARE_FILES = 128  # besides the sockets: models, the store, thumbnails


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; `ready` is told the address once requests are answered.

    Raises `UsageError` for an address that cannot be listened on, `ModelError` for a model that is refused.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listening = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}; choose another --port"
        ) from error
    with listening:
        app = create_app(settings, open_store(settings.store, settings.output))
        config = uvicorn.Config(
            app,
            http=_protocol(settings, _most_connections(settings.max_connections)),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=round(settings.stop_timeout),
        )
        gc.freeze()  # what is loaded by now stays, and need not be walked over again and again
        host, port = listening.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        _Server(config, lambda: ready(address), app.state.service.stopping).run([listening])


class _Server(uvicorn.Server):
    """Ends with exit code 0 on a signal, and says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], stopping: threading.Event) -> None:
        super().__init__(config)
        self._ready, self._stopping = ready, stopping

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, _signal: int, _frame: FrameType | None) -> None:
        self.force_exit = self.should_exit  # the second one
        self.should_exit = True
        self._stopping.set()


def _protocol(settings: Settings, most: int) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol, with time limits where it has none."""

    class Protocol(H11Protocol):
        _patience: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            # asyncio does so only for sockets that say they are TCP; without it, an answer waits 40 ms for the client's
            # acknowledgement of its head
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self.connections) > most:
                _drop_oldest_idle(self.connections)
            self._expect(settings.header_timeout)

        def connection_lost(self, exc: Exception | None) -> None:
            self._calm()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            idle = self._is_idle()
            super().data_received(data)
            if not self._is_idle():
                self._calm()
            elif idle and self._patience is None:  # the beginning of a next request's head
                self._expect(settings.header_timeout)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._expect(settings.body_timeout, self.transport.abort)

        def resume_writing(self) -> None:
            self._calm()
            super().resume_writing()

        def _is_idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _expect(self, seconds: float, end: Callable[[], None] | None = None) -> None:
            self._calm()
            self._patience = self.loop.call_later(seconds, end or self.transport.close)

        def _calm(self) -> None:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None

    return Protocol


def _drop_oldest_idle(connections: set[Any]) -> None:
    """Close the connection that has waited longest without a request."""
    idle = [
        one
        for one in connections
        if isinstance(one, H11Protocol) and (one.cycle is None or one.cycle.response_complete)
    ]
    timers = [
        (timer.when(), one) for one in idle if (timer := getattr(one, "_patience", None) or one.timeout_keep_alive_task)
    ]
    if timers:
        min(timers, key=lambda pair: pair[0])[1].transport.abort()


def _most_connections(wanted: int) -> int:
    """As many as the system lets a process have files, after asking for all it gives."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return wanted if soft == resource.RLIM_INFINITY else max(16, min(wanted, soft - _SPARE_FILES))
