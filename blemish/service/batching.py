"""A model's own thread: batches as large as the latency target allows, from a bounded queue."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from blemish.engines import Engine
from blemish.pipeline import Predictor, Result
from blemish.pipeline.predictor import Item, Limit
from blemish.pipeline.streaming import Pace
from blemish.service.errors import overloaded

_LARGEST_BATCH = 16


@dataclass(frozen=True)
class _Task:
    item: Item
    answer: Future[Result] = field(default_factory=Future)
    came: float = field(default_factory=time.monotonic)

    @property
    def age(self) -> float:
        """Milliseconds since it came."""
        return 1e3 * (time.monotonic() - self.came)


class Worker:
    """Judges prepared images with one model, one thread for each of its engines.

    A batch is what waits when an engine is free, as long as its first image is done within `max_latency` ms; where
    that is missed already, as many as can be, since that shortens the queue. Nothing is ever waited for. At most
    `depth` images wait. A batch has at most `most` images, by default `largest_batch`. `on_batch` is told the size of
    each batch and how many milliseconds its first image waited. `limit` decides from the next batch on; it may be
    replaced at any time.
    """

    def __init__(
        self,
        predictor: Predictor,
        max_latency: float,
        depth: int,
        on_batch: Callable[[int, float], None],
        most: int | None = None,
    ) -> None:
        self.limit = predictor.limit
        self._target, self._on_batch = max_latency, on_batch
        self._most = most or max(map(largest_batch, predictor.engines))
        self._waiting: queue.Queue[_Task | None] = queue.Queue(depth)
        self._pace = Pace()
        self._threads = [
            threading.Thread(
                target=self._serve,
                args=(Predictor(predictor.model, [engine], limits=predictor.limits),),
                name=f"blemish-{predictor.model_name}",
                daemon=True,
            )
            for engine in predictor.engines
        ]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """How many images wait."""
        return self._waiting.qsize()

    def submit(self, item: Item) -> Future[Result]:
        """The result, later; 503 where too many wait."""
        task = _Task(item)
        try:
            self._waiting.put_nowait(task)
        except queue.Full:
            raise overloaded(self._waiting.maxsize * self._pace.ms / 1e3) from None
        return task.answer

    def close(self) -> None:
        """Finish what waits, then end the threads. Nothing may be submitted any more."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, predictor: Predictor) -> None:
        while (task := self._waiting.get()) is not None:
            batch, ended = self._joined(task)
            self._on_batch(len(batch), task.age)
            _answer(predictor, self.limit, batch, self._pace)
            if ended:
                return

    def _joined(self, first: _Task) -> tuple[list[_Task], bool]:
        """The batch that begins with a task, and whether the end came after it."""
        batch = [first]
        while len(batch) < self._most and self._may_join(batch):
            try:
                task = self._waiting.get_nowait()
            except queue.Empty:
                break
            if task is None:
                return batch, True
            batch.append(task)
        return batch, False

    def _may_join(self, batch: list[_Task]) -> bool:
        age = batch[0].age
        return age >= self._target or self._pace.leaves_in_time(len(batch) + 1, age, self._target)


def largest_batch(engine: Engine) -> int:
    """How many images are worth computing at once: on a CPU one, since more no longer fit its caches (measured: 16
    take 20 to 40 % more time for each than one alone); elsewhere as many as may be.
    """
    return 1 if engine.device == "cpu" else _LARGEST_BATCH


def _answer(predictor: Predictor, limit: Limit, batch: list[_Task], pace: Pace) -> None:
    """Give every task its result; where a batch fails, each of its images is tried alone."""
    try:
        results = list(predictor.judge(iter([[task.item for task in batch]]), limit))
    except Exception as error:
        if len(batch) == 1:
            batch[0].answer.set_exception(error)
            return
        for task in batch:
            _answer(predictor, limit, [task], pace)
        return
    for task, result in zip(batch, results, strict=True):
        if "network" in result.timings:
            pace.add(result.timings["network"])
        task.answer.set_result(result)
