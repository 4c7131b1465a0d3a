"""Bounds on what all requests together hold: bytes of bodies, memory of images, images that wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from blemish.service.errors import overloaded


class Quota:
    """So much may be taken at a time; more is refused with 503. Used in the event loop only."""

    def __init__(self, total: int, message: str) -> None:
        self.total, self.taken, self._message = total, 0, message

    def take(self, amount: int) -> None:
        """Take, or raise `ServiceError`."""
        if self.taken + amount > self.total:
            raise overloaded(1, self._message)
        self.taken += amount

    def give_back(self, amount: int) -> None:
        """What was taken."""
        self.taken -= amount

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Taken while the block runs."""
        self.take(amount)
        try:
            yield
        finally:
            self.give_back(amount)


class Memory:
    """So many bytes may be held at a time; who wants more waits, first come, first served.

    What is larger than the total waits until it is alone. Used in the event loop only.
    """

    def __init__(self, total: int) -> None:
        self.total, self.held = total, 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Held while the block runs; comes when there is room."""
        size = min(size, self.total)
        await self._take(size)
        try:
            yield
        finally:
            self.held -= size
            self._admit()

    async def _take(self, size: int) -> None:
        if not self._waiting and self.held + size <= self.total:
            self.held += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, size))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # admitted in the moment of the cancellation
                self.held -= size
            self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting:
            turn, size = self._waiting[0]
            if not turn.done() and self.held + size > self.total:
                return
            self._waiting.popleft()
            if not turn.done():
                self.held += size
                turn.set_result(None)
