"""What the routes share: from the bytes of images to answers, within the bounds of the whole service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from fastapi import Request

from blemish.images import ImageRef, expand_bytes
from blemish.images.fetch import fetch
from blemish.images.headers import image_format, image_size
from blemish.pipeline import Result, open_model
from blemish.service.batching import Worker
from blemish.service.budgets import Memory, Quota
from blemish.service.metrics import Metrics
from blemish.service.registry import Registry, Version
from blemish.service.settings import Settings
from blemish.service.shelf import Shelf

if TYPE_CHECKING:
    from blemish.service.recording import InspectionStore

# The decoded image, its map as the network's cells and in full, the mask, and a picture of it.
BYTES_PER_PIXEL = 16
_FETCHERS = 8

_Given = ParamSpec("_Given")
_Done = TypeVar("_Done")

log = logging.getLogger("blemish.service")


class Service:
    """Models, threads and bounds of one app; `app.state.service`."""

    def __init__(self, settings: Settings, store: InspectionStore | None = None) -> None:
        self.settings, self.store = settings, store
        self.metrics = Metrics()
        self.registry = Registry(self._open)
        self.bodies = Quota(settings.body_memory, "too many large requests at a time")
        self.waiting = Quota(settings.max_waiting, "too many images wait; come back later")
        self.metrics.queue.set_function(lambda: self.waiting.taken)
        self.memory = Memory(settings.image_memory)
        self._pool = ThreadPoolExecutor(settings.workers, "blemish-serve")
        # fetching waits for other machines and changes of models take long: neither may hold up the decoding
        self._fetchers = ThreadPoolExecutor(_FETCHERS, "blemish-fetch")
        self._changes = ThreadPoolExecutor(1, "blemish-models")
        self.shelf = Shelf(settings.output)
        self.shelf.load(self.registry, settings.models)

    async def in_pool(self, work: Callable[_Given, _Done], *args: _Given.args, **kwargs: _Given.kwargs) -> _Done:
        """Run what computes, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))

    async def change(self, work: Callable[_Given, _Done], *args: _Given.args, **kwargs: _Given.kwargs) -> _Done:
        """Run what loads, moves or ends models; one change at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._changes, partial(work, *args, **kwargs))

    async def fetch(self, url: str) -> bytes:
        """The image behind a URL of a public address; `ImageError` for any other, and where URLs are off."""
        return await asyncio.get_running_loop().run_in_executor(self._fetchers, fetch, url, self.settings.limits)

    def refs(self, data: bytes, name: str) -> Iterator[ImageRef]:
        """The images in the bytes of a file."""
        return expand_bytes(data, name, self.settings.limits)

    def cost(self, data: bytes) -> int:
        """Memory that judging an image of these bytes takes at most, from its header."""
        kind = image_format(data)
        try:
            width, height = (0, 0) if kind in (None, "PDF") else image_size(data, str(kind))
        except ValueError:
            return len(data)  # it will be refused
        most = self.settings.max_pixels if kind == "PDF" else width * height
        return len(data) + BYTES_PER_PIXEL * min(most, self.settings.max_pixels)

    @contextmanager
    def admitted(self, images: int) -> Iterator[None]:
        """Room for so many images while the block runs; 503 where too many wait."""
        with self.waiting.hold(images):
            yield

    async def judge(
        self, name: str, version: Version, ref: ImageRef, cost: int, answer: Callable[[Result], _Done]
    ) -> _Done:
        """What `answer` makes, in the pool, of one image's result; its memory is given back afterwards.

        The result of an image that cannot be read has an `error`. What is recorded is so before this returns.
        """
        async with self.memory.hold(cost):
            item = await self.in_pool(version.predictor.prepare, ref)
            result = await asyncio.wrap_future(version.worker.submit(item))
            start = perf_counter()
            answered = await self.in_pool(answer, result)
            self.metrics.stages.labels("answer").observe(perf_counter() - start)
            self.metrics.count_verdict(name, result)
            return answered

    async def judge_all(
        self, name: str, version: Version, refs: Sequence[tuple[ImageRef, int]], answer: Callable[[Result], _Done]
    ) -> list[_Done]:
        """The answers of several images with their costs, in order."""
        return list(await asyncio.gather(*(self.judge(name, version, ref, cost, answer) for ref, cost in refs)))

    def close(self) -> None:
        """Finish what was begun, then end every thread."""
        self.registry.close()
        for pool in (self._pool, self._fetchers, self._changes):
            pool.shutdown()
        if self.store is not None:
            self.store.close()

    def _open(self, folder: Path) -> Version:
        settings = self.settings
        predictor = open_model(folder, settings.device, engine=settings.engine)
        worker = Worker(predictor, settings.max_latency_ms, settings.max_waiting, self.metrics.note_batch)
        return Version(predictor, worker, predictor.model.folder)


def service_of(request: Request) -> Service:
    """The service behind a request."""
    service: Service = request.app.state.service
    return service
