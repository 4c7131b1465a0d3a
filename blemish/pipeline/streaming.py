"""A model at work on cameras, videos and folders, as long as they last: bounded queues, an age for each result."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from blemish.errors import UsageError, did_you_mean
from blemish.images import ImageRef, expand
from blemish.images.video import is_live, video_frames
from blemish.pipeline.frame_queue import FrameQueue, QueuedFrame
from blemish.pipeline.predictor import Item, Limit, Predictor
from blemish.pipeline.result import Result
from blemish.pipeline.saving import ResultNamer

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Policy = Literal["latest", "every"]
_POLICIES = ("latest", "every")
_LARGEST_BATCH = 16  # under a latency target, where no batch size is given
_WORKERS = 2
_MEMORY = 0.8  # share of the older measurements in the network's time for one image


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class StreamResult(Result):
    """A result that knows its moment.

    `frame_index` counts the frames of the source from 0, dropped ones too. `time_stamp` is when the frame came, in
    seconds since 1970. `age` is how old it was when the result was there, in milliseconds.
    """

    KEYS: ClassVar[tuple[str, ...]] = (*Result.KEYS, "frame_index", "time_stamp", "age")

    frame_index: int
    time_stamp: float
    age: float

    def to_dict(self, mask: bool = True) -> dict[str, Any]:
        """The flat record with `frame_index`, `time_stamp` and `age` at its end."""
        moment = {"frame_index": self.frame_index, "time_stamp": self.time_stamp, "age": round(self.age, 3)}
        return {**super().to_dict(mask), **moment}


class Pace:
    """What the network takes for one image, `ms` in milliseconds; 0 until that is known."""

    def __init__(self) -> None:
        self.ms = 0.0

    def add(self, ms: float) -> None:
        self.ms = _MEMORY * self.ms + (1 - _MEMORY) * ms if self.ms else ms

    def leaves_in_time(self, number: int, age: float, target: float) -> bool:
        """Whether a batch of that number of images, the first `age` ms old, is done within `target` ms."""
        return 0 < self.ms <= (target - age) / number


class Stream:
    """Results of a source in the order of its frames, until it ends or the stream is closed.

    An iterator and a context manager; `dropped` counts the frames that were never scored. It holds at most a few frames
    at any time, however long it runs. Made by `Predictor.stream`.
    """

    def __init__(
        self,
        predictor: Predictor,
        source: object,
        limit: Limit,
        *,
        policy: Policy | None = None,
        max_latency: float | None = None,
        batch_size: int | None = None,
    ) -> None:
        if policy is not None and policy not in _POLICIES:
            raise UsageError(f"unknown policy `{policy}`.{did_you_mean(policy, _POLICIES)} It is latest or every")
        if max_latency is not None and not max_latency > 0:
            raise UsageError(f"max_latency is {max_latency} ms; it must be more than 0")
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"a batch holds one image or more, not {batch_size}")
        usual = predictor.batch_size if max_latency is None else max(predictor.batch_size, _LARGEST_BATCH)
        self._most, self._target = batch_size or usual, max_latency
        self._live = is_live(source)
        self._latest = (policy or ("latest" if self._live else "every")) == "latest"
        self._predictor = predictor
        self._pace = Pace()
        self._taken: deque[QueuedFrame] = deque()
        stopped = threading.Event()
        pool = None if self._latest else _readers()
        self._queue = FrameQueue(
            _refs(source, predictor, stopped),
            partial(_frame, predictor=predictor, pool=pool),
            partial(_depth, self._pace, self._most, self._target, self._latest),
            latest=self._latest,
        )
        self._results = predictor.judge(iter(self._batch, []), limit)
        self._end = weakref.finalize(self, _end, stopped, self._queue, pool)

    @property
    def dropped(self) -> int:
        """How many frames were passed over because newer ones had come."""
        return self._queue.dropped

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> StreamResult:
        if not self._end.alive:
            raise StopIteration
        try:
            result = next(self._results)
        except BaseException:  # the end, too
            self.close()
            raise
        frame = self._taken.popleft()
        network = result.timings.get("network")
        if network is not None:
            self._pace.add(network)
        known = {field.name: getattr(result, field.name) for field in fields(Result)}
        if self._live:
            known["namer"] = ResultNamer()  # frames have numbers, and this call may last for months
        return StreamResult(**known, frame_index=frame.index, time_stamp=frame.time_stamp, age=frame.age)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the source, drop what waits and end the threads; the iteration is over. May be called again."""
        self._end()

    def _batch(self) -> list[Item]:
        """The next prepared images; none at the end."""
        most_age = None if self._target is None else self._target - self._pace.ms
        frames = self._queue.take(self._may_join, most_age)
        self._taken.extend(frames)
        return [frame.item() for frame in frames]

    def _may_join(self, batch: list[QueuedFrame], frame: QueuedFrame) -> bool:
        """Whether one more frame leaves the first in time; it is not waited for."""
        if len(batch) >= self._most or not frame.ready():
            return False
        if self._target is None:
            return True
        return self._pace.leaves_in_time(len(batch) + 1, batch[0].age, self._target)


def _depth(pace: Pace, most: int, target: float | None, latest: bool) -> int:
    """How many frames may wait: enough for a batch, and no more than half of the time to a latency target."""
    usual = most if latest else most + 2 * _WORKERS
    return usual if target is None else max(1, min(usual, int(target / 2 / pace.ms) if pace.ms else 1))


def _readers() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(_WORKERS, thread_name_prefix="blemish-read")


def _refs(source: object, predictor: Predictor, stopped: threading.Event) -> Iterator[ImageRef]:
    if is_live(source):
        return video_frames(str(source), predictor.limits, stopped)
    return expand(source, predictor.limits)


def _frame(index: int, ref: ImageRef, predictor: Predictor, pool: ThreadPoolExecutor | None) -> QueuedFrame:
    """A frame that is prepared ahead by the pool; without one, when it is taken, since it may be dropped before."""
    if pool is None:
        return QueuedFrame(index, ref, lambda: True, partial(predictor.prepare, ref), lambda: None)
    future = pool.submit(predictor.prepare, ref)
    return QueuedFrame(index, ref, future.done, future.result, future.cancel)


def _end(stopped: threading.Event, queue: FrameQueue, pool: ThreadPoolExecutor | None) -> None:
    stopped.set()
    queue.close()
    if pool is not None:
        pool.shutdown(wait=False, cancel_futures=True)
