"""One image's way through the threads, from its file to its number in the store.

Each thread hands over to the next. Going back to the event loop between them would wake it four times an image, and
each time cost more than what it has to do there.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Generic, TypeVar

from blemish.errors import StoreError
from blemish.service.errors import ServiceError

if TYPE_CHECKING:
    from blemish.images import ImageRef
    from blemish.pipeline import Result
    from blemish.service.metrics import Metrics
    from blemish.service.recording import Recorder
    from blemish.service.registry import Version
    from blemish.store import Inspection

_Done = TypeVar("_Done")


@dataclass(frozen=True)
class Judged(Generic[_Done]):
    """What is answered of an image, its record, and the number of that in the store."""

    answer: _Done
    inspection: Inspection | None
    number: int | None


@dataclass(frozen=True)
class Threads:
    """Where which part is done: what computes, and what waits for the disk."""

    computing: Executor
    keeping: Executor
    metrics: Metrics
    recorder: Recorder | None


@dataclass(frozen=True)
class Judging(Generic[_Done]):
    """`done` ends with the first error, or when the inspection is on the disk."""

    threads: Threads
    name: str
    version: Version
    answer: Callable[[Result], tuple[_Done, Inspection | None]]
    done: Future[Judged[_Done]] = field(default_factory=Future)

    def start(self, ref: ImageRef) -> Future[Judged[_Done]]:
        """Begin with reading the image."""
        self.done.set_running_or_notify_cancel()  # who gives up waiting does not unmake it
        self._next(self.threads.computing, self._prepare, ref)
        return self.done

    def _prepare(self, ref: ImageRef) -> None:
        result = self.version.worker.submit(self.version.predictor.prepare(ref))
        result.add_done_callback(lambda result: self._next(self.threads.keeping, self._answer, result))

    def _answer(self, judged: Future[Result]) -> None:
        result, metrics, recorder = judged.result(), self.threads.metrics, self.threads.recorder
        metrics.count_verdict(self.name, result)
        with metrics.stage("answer"):
            answer, inspection = self.answer(result)
        if recorder is None or inspection is None:
            self.done.set_result(Judged(answer, inspection, None))
            return
        begun = perf_counter()

        def recorded(numbers: Future[list[int]]) -> None:
            (number,) = numbers.result()
            metrics.stages.labels("record").observe(perf_counter() - begun)
            self.done.set_result(Judged(answer, inspection, number))

        recorder.store.submit([inspection]).add_done_callback(lambda numbers: self._guarded(recorded, numbers))

    def _next(self, threads: Executor, step: Callable[..., None], *args: object) -> None:
        self._guarded(threads.submit, self._guarded, step, *args)

    def _guarded(self, step: Callable[..., object], *args: object) -> None:
        try:
            step(*args)
        except StoreError as error:
            refusal = ServiceError(503, "store_failed", "the store does not take the inspection")
            refusal.__cause__ = error
            self.done.set_exception(refusal)
        except BaseException as error:
            self.done.set_exception(error)
