"""What the routes share: from the bytes of images to answers, within the bounds of the whole service."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from fastapi import Request

from blemish.images import ImageRef, expand_bytes, return_freed_memory
from blemish.images.fetch import fetch
from blemish.images.headers import image_size
from blemish.images.kinds import image_format
from blemish.models import try_network
from blemish.pipeline import Result, open_model
from blemish.service.batching import Worker
from blemish.service.budgets import Memory, Quota
from blemish.service.datasets import Sources
from blemish.service.drifting import DriftWatch
from blemish.service.errors import ServiceError
from blemish.service.judging import Judged, Judging, Threads
from blemish.service.metrics import Metrics
from blemish.service.parts import Named, OpenPart, OpenParts
from blemish.service.recording import Recorder
from blemish.service.registry import Registry, Version
from blemish.service.settings import Settings
from blemish.service.shelf import Shelf
from blemish.service.sinks import Sinks

if TYPE_CHECKING:
    from blemish.store import Inspection, Store

# The decoded image, its map as the network's cells and in full, the mask, and a picture of it.
BYTES_PER_PIXEL = 16
_FETCHERS = 8
_COPIES = 4  # of a model on a CPU at most; two on two cores answer a quarter more than one on both
_SMALL = 256 << 10  # bytes whose header is read in a moment, whatever they are
_KEEPERS = 8  # threads that answer: most of the time they wait until a thumbnail is on the disk
_EXPORTS = 2

_Given = ParamSpec("_Given")
_Done = TypeVar("_Done")

log = logging.getLogger("blemish.service")


@dataclass(frozen=True)
class Picture:
    """One image that came with a request: where it came from, its file where it was one, and the memory it may take.

    `part` is the one that it shows, if that is known, and `digest` tells it from the part's other images.
    """

    ref: ImageRef
    cost: int
    source: str | None = None
    data: bytes | None = field(default=None, repr=False)
    part: OpenPart | None = None
    digest: str = ""


class Service:
    """Models, threads and bounds of one app; `app.state.service`."""

    def __init__(self, settings: Settings, store: Store | None = None) -> None:
        self.settings, self.store = settings, store
        self._recorder = None if store is None else Recorder(store, settings.keep_images)
        self.metrics = Metrics()
        self.registry = Registry(self._open)
        self.bodies = Quota(settings.body_memory, "too many large requests at a time")
        self.waiting = Quota(settings.max_waiting, "too many images wait; come back later")
        self.metrics.queue.set_function(lambda: self.waiting.taken)
        self.exports = Quota(_EXPORTS, "too many exports at a time")
        self.parts = OpenParts()
        self.memory = Memory(settings.image_memory)
        self.stopping = threading.Event()  # whoever answers without end, ends then
        self._pool = ThreadPoolExecutor(settings.workers, "blemish-serve")
        self._keepers = ThreadPoolExecutor(_KEEPERS, "blemish-keep")
        self._threads = Threads(self._pool, self._keepers, self.metrics, self._recorder)
        # fetching waits for other machines and changes of models take long: neither may hold up the decoding
        self._fetchers = ThreadPoolExecutor(_FETCHERS, "blemish-fetch")
        self._changes = ThreadPoolExecutor(1, "blemish-models")
        self.shelf = Shelf(settings.output)
        self.sources = Sources(settings.output, settings.data_roots)
        self.sinks = Sinks(settings.sinks, store)
        self.shelf.load(self.registry, settings.models)
        self.drift = DriftWatch(self.registry, store)
        self.metrics.states.sinks = self.sinks.levels
        self.metrics.states.drift = self.drift.levels

    async def in_pool(self, work: Callable[_Given, _Done], *args: _Given.args, **kwargs: _Given.kwargs) -> _Done:
        """Run what computes, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))

    async def change(self, work: Callable[_Given, _Done], *args: _Given.args, **kwargs: _Given.kwargs) -> _Done:
        """Run what loads, moves or ends models; one change at a time."""
        return await asyncio.wrap_future(self._changes.submit(_tidily, partial(work, *args, **kwargs)))

    def change_and_wait(self, work: Callable[_Given, _Done], *args: _Given.args, **kwargs: _Given.kwargs) -> _Done:
        """`change`, for a thread of its own."""
        return self._changes.submit(_tidily, partial(work, *args, **kwargs)).result()

    async def fetch(self, url: str) -> bytes:
        """The image behind a URL of a public address; `ImageError` for any other, and where URLs are off."""
        return await asyncio.get_running_loop().run_in_executor(self._fetchers, fetch, url, self.settings.limits)

    async def listed(self, files: Sequence[tuple[str, bytes]], source: str | None) -> list[Picture]:
        """The images of several files; a small one of one image is looked at on the spot, others in the pool."""

        def pictures() -> list[Picture]:
            return [picture for name, data in files for picture in self.pictures(data, name, source)]

        small = sum(len(data) for _, data in files) <= _SMALL
        if small and all(image_format(data) in ("JPEG", "PNG") for _, data in files):
            return pictures()
        return await self.in_pool(pictures)

    def pictures(self, data: bytes, name: str, source: str | None) -> list[Picture]:
        """The images in the bytes of a file: one, or its pages; `source` is its name where nothing else is known."""
        cost = self._cost(data)
        refs = islice(expand_bytes(data, name, self.settings.limits), self.settings.max_images + 1)
        return [Picture(ref, cost, source or name, data) for ref in refs]

    async def with_parts(
        self, model: str, version: Version, pictures: list[Picture], named: Named | None
    ) -> list[Picture]:
        """The pictures with their parts (`OpenParts.of`); a model's pattern is matched off the event loop."""
        if named is None and version.predictor.grouping.pattern is not None:
            return await asyncio.to_thread(self.parts.of, model, version, pictures, named)
        return self.parts.of(model, version, pictures, named)

    @contextmanager
    def admitted(self, images: int) -> Iterator[None]:
        """Room for so many images while the block runs; 503 where too many wait."""
        with self.waiting.hold(images):
            yield

    async def judge(
        self, name: str, version: Version, picture: Picture, answer: Callable[[Result], _Done]
    ) -> Judged[_Done]:
        """What `answer` makes, in a thread, of one image's result; its memory is given back afterwards.

        The result of an image that gets no verdict has an `error`; any other is recorded before this returns.
        """
        async with self.memory.hold(picture.cost):
            way = Judging(self._threads, name, version, partial(self._answered, name, version, picture, answer))
            judged = await asyncio.wrap_future(way.start(picture.ref))
        if judged.inspection is not None:
            self.sinks.show(judged.inspection)
        return judged

    async def judge_all(
        self, name: str, version: Version, pictures: Sequence[Picture], answer: Callable[[Result], _Done]
    ) -> list[Judged[_Done]]:
        """The answers of several images, in order."""
        return list(await asyncio.gather(*(self.judge(name, version, picture, answer) for picture in pictures)))

    def _answered(
        self, name: str, version: Version, picture: Picture, answer: Callable[[Result], _Done], result: Result
    ) -> tuple[_Done, Inspection | None]:
        part = picture.part
        if part is not None:
            result = replace(result, part=part.name)
            part = part if part.add(result, picture.digest) else None
        answered = answer(result)
        if result.error is not None:
            return answered, None
        statistics = self.drift.take_in(name, version.id, result)
        if self._recorder is None:
            return answered, None
        return answered, self._recorder.inspection(name, version, result, statistics, picture, part=part)

    def _cost(self, data: bytes) -> int:
        """Memory that judging an image of these bytes takes at most, from its header."""
        kind = image_format(data)
        try:
            width, height = (0, 0) if kind in (None, "PDF") else image_size(data, str(kind))
        except ValueError:
            return len(data)  # it will be refused
        most = self.settings.max_pixels if kind == "PDF" else width * height
        return len(data) + BYTES_PER_PIXEL * min(most, self.settings.max_pixels)

    def close(self) -> None:
        """Finish what was begun, then end every thread."""
        self.registry.close()
        for pool in (self._pool, self._keepers, self._fetchers, self._changes):
            pool.shutdown()
        self.sinks.stop()
        self.drift.close()
        if self.store is not None:
            self.store.close()

    def _open(self, folder: Path) -> Version:
        settings = self.settings
        predictor = open_model(folder, settings.device, engine=settings.engine, copies=_COPIES)
        for one in predictor.engines:  # so that the first request does not wait for libraries and an engine's memory
            try_network(one, predictor.model.info)
        worker = Worker(
            predictor, settings.max_latency_ms, settings.max_waiting, self.metrics.note_batch, settings.max_batch
        )
        return Version(predictor, worker, predictor.model.folder)


def _tidily(change: Callable[[], _Done]) -> _Done:
    """Change the models, and give back the memory of engines that are closed."""
    try:
        return change()
    finally:
        return_freed_memory()


def service_of(request: Request) -> Service:
    """The service behind a request."""
    service: Service = request.app.state.service
    return service


def store_of(request: Request) -> Store:
    """The store of the service; 503 without one."""
    store = service_of(request).store
    if store is None:
        raise ServiceError(503, "no_store", "this service keeps no store")
    return store
