"""A bounded queue between what delivers frames and what scores them, filled by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from blemish.images import ImageRef
from blemish.pipeline.predictor import Item

_LOOK = 0.5  # seconds between two looks while waiting, so that an interrupt is heard on every system


@dataclass(frozen=True)
class QueuedFrame:
    """One moment of a source: its number from 0, and when it came, on the clock of the day and on one that never jumps.

    `ready` says whether `item` would answer at once; `item` is the prepared image.
    """

    index: int
    ref: ImageRef
    ready: Callable[[], bool]
    item: Callable[[], Item]
    drop: Callable[[], object]
    time_stamp: float = field(default_factory=time.time)
    came: float = field(default_factory=time.monotonic)

    @property
    def age(self) -> float:
        """Milliseconds since it came."""
        return 1e3 * (time.monotonic() - self.came)


class FrameQueue:
    """At most `depth()` frames wait. A full queue holds the source up, or with `latest` drops the oldest frame.

    `dropped` counts what was. What tells of a failure is never dropped for a newer frame.
    """

    def __init__(
        self,
        refs: Iterator[ImageRef],
        frame_of: Callable[[int, ImageRef], QueuedFrame],
        depth: Callable[[], int],
        latest: bool,
    ) -> None:
        self.dropped = 0
        self._refs, self._frame_of, self._depth, self._latest = refs, frame_of, depth, latest
        self._waiting: deque[QueuedFrame] = deque()
        self._changed = threading.Condition()
        self._closed = self._ended = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._fill, name="blemish-frames", daemon=True)
        self._thread.start()

    def take(
        self, may_join: Callable[[list[QueuedFrame], QueuedFrame], bool], most_age: float | None = None
    ) -> list[QueuedFrame]:
        """The next frames, at least one, as many as `may_join` lets join; none at the end of the source.

        Frames older than `most_age` ms are dropped with `latest` as long as a newer one waits. Raises what the source
        raised, after the last frame before it.
        """
        with self._changed:
            while not (self._waiting or self._ended or self._closed):
                self._changed.wait(_LOOK)
            if most_age is not None and self._latest:
                self._drop_older(most_age)
            batch: list[QueuedFrame] = []
            while self._waiting and (not batch or may_join(batch, self._waiting[0])):
                batch.append(self._waiting.popleft())
            self._changed.notify_all()
            if not batch and self._failure is not None:
                raise self._failure
        return batch

    def close(self) -> None:
        """End the source and forget what waits; waits for the thread for as long as a camera takes to answer."""
        with self._changed:
            self._closed = True
            while self._waiting:
                self._waiting.popleft().drop()
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(10)

    def _fill(self) -> None:
        try:
            for index, ref in enumerate(self._refs):
                if not self._put(index, ref):
                    break
        except BaseException as error:
            self._failure = error  # for the one who takes
        finally:
            with suppress(Exception):
                getattr(self._refs, "close", lambda: None)()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, index: int, ref: ImageRef) -> bool:
        """Add a frame; False once the queue is closed."""
        with self._changed:
            if self._latest:
                self._make_room()
            while len(self._waiting) >= self._depth() and not self._closed:
                self._changed.wait(_LOOK)
            if not self._closed:
                self._waiting.append(self._frame_of(index, ref))
            self._changed.notify_all()
            return not self._closed

    def _make_room(self) -> None:
        """Drop the oldest frames that may be, until one more fits; failures alone hold the source up."""
        frames = [frame for frame in self._waiting if not frame.ref.failed]
        for frame in frames[: max(0, len(self._waiting) + 1 - self._depth())]:
            self._drop(frame)

    def _drop_older(self, most_age: float) -> None:
        while len(self._waiting) > 1 and not self._waiting[0].ref.failed and self._waiting[0].age > most_age:
            self._drop(self._waiting[0])

    def _drop(self, frame: QueuedFrame) -> None:
        self._waiting.remove(frame)
        frame.drop()
        self.dropped += 1
