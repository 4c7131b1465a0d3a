"""Watches the images that each model judges, tells the sinks when they drift, and remembers over a restart."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from blemish.drift import ImageStatistics, image_statistics, small_grey
from blemish.errors import StoreError, UsageError
from blemish.service.stream import State, Stream

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from blemish.pipeline import Result
    from blemish.service.registry import Registry
    from blemish.store import Store

_EVERY = 50  # observations after which the state is kept: what a crash may forget
_KEY = "drift/"

log = logging.getLogger("blemish.service")


class DriftWatch:
    """One stream for each model: the images that its active version judges. Every call may come from any thread.

    Another version that becomes active begins anew. Without a store, all this lasts as long as the process.
    """

    def __init__(self, registry: Registry, store: Store | None) -> None:
        self._registry, self._store = registry, store
        self._streams: dict[str, Stream] = {}
        self._lock = threading.Lock()  # held for microseconds, since whoever judges waits for it
        self._changed = threading.Condition(self._lock)
        self._due: set[str] = set()
        self._closed = False
        self._keeping = threading.Lock()  # one change of what is kept at a time; taken before the other
        self._thread = threading.Thread(target=self._run, name="blemish-drift", daemon=True)
        if store is not None:
            self._restore(store)
            self._thread.start()

    def take_in(self, model: str, version: str, result: Result) -> ImageStatistics:
        """The statistics of a judged image, after its stream has seen it; of another version, nothing but those."""
        assert result.image is not None and result.score is not None
        with self._lock:
            stream = self._stream(model, version)
            reference = None if stream is None else stream.reference
        statistics = image_statistics(result.image, reference)
        first = small_grey(result.image) if stream is not None and reference is None else None
        self._observe(model, version, result.score, statistics, first)
        return statistics

    def state(self, model: str) -> State | None:
        """Of the stream of a model; None where there is no such model."""
        version = self._registry.active(model)
        if version is None:
            return None
        with self._lock:
            stream = self._stream(model, version)
            return (stream or Stream(version)).state()

    def levels(self) -> Iterator[tuple[str, float, bool]]:
        """Of all models: name, evidence and whether an alarm stands."""
        for model in self._registry.names():
            state = self.state(model)
            if state is not None:
                yield model, state.evidence, state.alarm is not None

    def reset(self, model: str, accept: bool) -> None:
        """Begin anew after an alarm, as `DriftAlarm.reset`. Raises `StoreError` where that is not kept."""

        def change() -> None:
            stream = self._streams.get(model)
            if stream is not None:
                stream.reset(accept)

        self._change(change, model)

    def rename(self, model: str, new: str) -> None:
        """The stream goes with its model."""

        def change() -> None:
            stream = self._streams.pop(model, None)
            if stream is not None:
                self._streams[new] = stream

        self._change(change, new, gone=model)

    def forget(self, model: str) -> None:
        """The model was unloaded."""
        self._change(lambda: self._streams.pop(model, None), gone=model)

    def close(self) -> None:
        """Keep what was seen, and end."""
        with self._changed:
            self._closed = True
            self._due |= {name for name, stream in self._streams.items() if stream.unsaved}
            self._changed.notify()
        if self._store is not None:
            self._thread.join()

    def _stream(self, model: str, version: str) -> Stream | None:
        """That of a version, begun if need be; None where another version answers. The lock is held."""
        stream = self._streams.get(model)
        if self._registry.active(model) != version:
            return None
        if stream is None or stream.version != version:
            stream = self._streams[model] = Stream(version)
            self._note_due(model)  # so that a version that was active long ago is not gone on with
        return stream

    def _note_due(self, model: str) -> None:
        self._due.add(model)
        self._changed.notify()

    def _observe(
        self,
        model: str,
        version: str,
        score: float,
        statistics: ImageStatistics,
        first: npt.NDArray[np.uint8] | None,
    ) -> None:
        with self._changed:
            stream = self._stream(model, version)
            if stream is None:
                return
            if stream.reference is None:
                stream.reference = first
            raised = stream.observe(score, statistics, datetime.now(timezone.utc))
            alarm = stream.alarm() if raised else None
            if stream.unsaved >= _EVERY or (stream.has_alarm and not stream.announced):
                self._note_due(model)
        if alarm is not None:
            log.warning("%s: drift since %s: %s", model, alarm["began"], alarm["explanation"])

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._closed)
                if not self._due:
                    return
                model = self._due.pop()
            try:
                with self._keeping:
                    self._keep(model)
            except StoreError as error:  # the next images try again
                log.warning("the state of the drift alarm of %s is not kept: %s", model, error)

    def _change(self, change: Callable[[], object], kept: str | None = None, gone: str | None = None) -> None:
        with self._keeping:
            with self._lock:
                change()
            if gone is not None and self._store is not None:
                self._store.settings.delete(_KEY + gone)
            if kept is not None:
                self._keep(kept)

    def _keep(self, model: str) -> None:
        """Tell the sinks of an alarm that they have not heard of, then write the state down: a crash between tells it
        again. The lock is not held meanwhile."""
        store = self._store
        with self._lock:
            stream = self._streams.get(model)
            if stream is None or store is None:
                return
            state, alarm, unsaved = stream.to_json(), stream.alarm(), stream.unsaved
        if alarm is not None and not state["announced"]:
            message = {"event": "drift", "model": model, "version": stream.version, **alarm}
            for sink in store.outbox.subscribed():
                store.outbox.put(sink, stream.key(model), message)
            state["announced"] = True
        store.settings.set(_KEY + model, state)
        with self._lock:
            stream.announced = state["announced"]
            stream.unsaved -= unsaved

    def _restore(self, store: Store) -> None:
        """What is known of the versions that answer."""
        for key, state in store.settings.with_prefix(_KEY).items():
            model = key[len(_KEY) :]
            try:
                stream = Stream.from_json(state)
            except UsageError as error:
                log.warning("the drift alarm of %s begins anew: %s", model, error)
                continue
            if stream.version == self._registry.active(model):
                self._streams[model] = stream
