"""A cheap HTTP client, so that what is measured is the server: prepared bytes out, status and body in.

`closed_loop` keeps so many connections busy. `open_loop` sends at fixed moments, whatever the answers do, and counts a
latency from the moment when the request was due: a server that stalls cannot hide it by being asked less.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

PATIENCE_S = 60.0  # for one answer
Address = tuple[str, int]


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 where the connection ended without an answer."""

    status: int
    body: bytes


NONE = Answer(0, b"")


@dataclass
class Load:
    """What a loop has seen: seconds on the clock, the generator's own CPU seconds, and of each request what it took."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)  # of requests that were answered
    late_ms: list[float] = field(default_factory=list)  # how much later than due a request was sent
    answers: list[Answer] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.count(200) / self.wall_s

    def count(self, status: int) -> int:
        return sum(answer.status == status for answer in self.answers)

    @property
    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in self.answers)


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole request as it goes over the line."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[Answer] | None = None
        self._received = bytearray()
        self._end, self._status = 0, 0
        self.transport: asyncio.Transport | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.is_open = transport, True

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            return  # what a server says to the rest of a malformed request
        self._received += data
        if not self._end:
            head_end = self._received.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = bytes(self._received[:head_end]).lower()
            self._status = int(head[9:12])
            self._end = head_end + 4 + _content_length(head)
        if len(self._received) >= self._end:
            head_end = self._received.find(b"\r\n\r\n") + 4
            answer = Answer(self._status, bytes(self._received[head_end : self._end]))
            self._received.clear()
            self._end = 0
            self._settle(answer)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.is_open = False
        self._settle(NONE)

    async def ask(self, data: bytes) -> Answer:
        """The answer to a request; `NONE` where the server ends the connection instead."""
        if self.transport is None or not self.is_open:
            return NONE
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return await self._answer

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _settle(self, answer: Answer) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)


def _content_length(head: bytes) -> int:
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


async def connect(address: Address) -> Connection:
    """An open connection; `OSError` where nobody listens."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, *address)
    return connection


async def ask_once(address: Address, data: bytes, patience_s: float = PATIENCE_S) -> Answer:
    """One request on a connection of its own."""
    try:
        connection = await connect(address)
    except OSError:
        return NONE
    try:
        return await asyncio.wait_for(connection.ask(data), patience_s)
    except asyncio.TimeoutError:
        return NONE
    finally:
        connection.close()


def closed_loop(address: Address, requests: Sequence[bytes], connections: int) -> Load:
    """Each request once, so many at a time, each connection sending when it has its answer."""
    return _measured(lambda load: _closed(load, address, requests, connections))


def open_loop(address: Address, requests: Sequence[bytes], rate: float) -> Load:
    """Each request once, so many a second at even distances; connections are opened as they are needed."""
    return _measured(lambda load: _open(load, address, requests, rate))


def _measured(loop: Callable[[Load], Coroutine[Any, Any, None]]) -> Load:
    load = Load()
    cpu = time.process_time()
    asyncio.run(loop(load))
    load.cpu_s = time.process_time() - cpu
    return load


async def _closed(load: Load, address: Address, requests: Sequence[bytes], connections: int) -> None:
    waiting = iter(requests)
    opened = [await connect(address) for _ in range(connections)]

    async def work(connection: Connection) -> None:
        for data in waiting:
            began = time.perf_counter()
            _note(load, await connection.ask(data), began)

    start = time.perf_counter()
    await asyncio.gather(*map(work, opened))
    load.wall_s = time.perf_counter() - start
    for connection in opened:
        connection.close()


async def _open(load: Load, address: Address, requests: Sequence[bytes], rate: float) -> None:
    idle: list[Connection] = [await connect(address) for _ in range(8)]
    start = time.perf_counter() + 0.1

    async def send(data: bytes, due: float) -> None:
        connection = idle.pop() if idle else await connect(address)
        load.late_ms.append(1e3 * (time.perf_counter() - due))
        _note(load, await connection.ask(data), due)
        idle.append(connection)

    under_way: list[asyncio.Task[None]] = []
    for number, data in enumerate(requests):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        under_way.append(asyncio.create_task(send(data, due)))
    await asyncio.gather(*under_way)
    load.wall_s = time.perf_counter() - start
    for connection in idle:
        connection.close()


def _note(load: Load, answer: Answer, since: float) -> None:
    load.answers.append(answer)
    if answer.status:
        load.latencies_ms.append(1e3 * (time.perf_counter() - since))


async def spread(address: Address, requests: Sequence[bytes], most: int, patience_s: float) -> list[Answer]:
    """The answers to requests on connections of their own, so many at a time, in the order in which they came."""
    answers: list[Answer] = []
    waiting = iter(requests)

    async def work() -> None:
        for data in waiting:
            answers.append(await ask_once(address, data, patience_s))

    await asyncio.gather(*(work() for _ in range(most)))
    return answers
