"""One writer for many threads: what comes while a commit is under way shares the next one, and its one flush."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from blemish.errors import StoreError

_T = TypeVar("_T")
_MOST = 1000  # things in one commit


class GroupCommit(Generic[_T]):
    """Batches from any thread, written by one. `write` stores all or nothing and returns an id for each thing."""

    def __init__(self, write: Callable[[Sequence[_T]], list[int]]) -> None:
        self._write = write
        self._waiting: queue.SimpleQueue[tuple[Sequence[_T], Future[list[int]]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="blemish-store", daemon=True)
        self._thread.start()

    def submit(self, batch: Sequence[_T]) -> Future[list[int]]:
        """The ids of a batch, once it is written. Raises `StoreError` after `close`."""
        future: Future[list[int]] = Future()
        future.set_running_or_notify_cancel()  # who gives up waiting does not unmake what is being written
        with self._lock:
            if self._closed:
                raise StoreError("the store is closed")
            self._waiting.put((batch, future))
        return future

    def close(self) -> None:
        """End after what was submitted is written."""
        with self._lock:
            self._closed = True
            self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            group, ended = [first], False
            while sum(len(batch) for batch, _ in group) < _MOST and not self._waiting.empty():
                following = self._waiting.get()
                if following is None:
                    ended = True
                    break
                group.append(following)
            self._settle(group)
            if ended:
                return

    def _settle(self, group: list[tuple[Sequence[_T], Future[list[int]]]]) -> None:
        """Write the batches together; where that fails, each alone, so that none suffers for another."""
        try:
            ids = self._write([thing for batch, _ in group for thing in batch])
        except Exception as error:
            if len(group) == 1:
                group[0][1].set_exception(error)
            else:
                for one in group:
                    self._settle([one])
            return
        for batch, future in group:
            future.set_result(ids[: len(batch)])
            ids = ids[len(batch) :]
