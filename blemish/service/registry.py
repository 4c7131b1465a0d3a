"""The models that are served: names, versions, which version answers, and changes that lose no request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

from blemish.errors import UsageError
from blemish.pipeline import Predictor
from blemish.pipeline.predictor import Limit, limit_at
from blemish.service.batching import Worker
from blemish.service.errors import ServiceError

_SHORT = 12  # digits that name a version


@dataclass(eq=False)
class Version:
    """One model folder at work. `id` begins its model's version, so that equal models are one version.

    `rate` is the false-alarm rate that was set for it here, None while its own is in force.
    """

    predictor: Predictor
    worker: Worker
    folder: Path
    rate: float | None = None
    loaded: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    users: int = 0
    retired: threading.Event = field(default_factory=threading.Event)
    idle: threading.Event = field(default_factory=threading.Event)

    @cached_property
    def digest(self) -> str:
        """The model's version, 64 hexadecimal digits, as the store keeps it."""
        return self.predictor.model.info.version

    @property
    def id(self) -> str:
        """What the version is called in routes."""
        return self.digest[:_SHORT]

    @property
    def made(self) -> str:
        """When the model was fitted, or updated last; ISO 8601."""
        info = self.predictor.model.info
        return info.history[-1].when if info.history else info.created

    @property
    def limit(self) -> Limit:
        """What decides at the moment."""
        return self.worker.limit

    @property
    def supported_rate(self) -> float | None:
        """The false-alarm rate that the limit in force can promise: the one that was asked for, or the least that the
        good images support. None where nothing was calibrated.
        """
        asked = self.limit.rate
        return None if asked is None else max(asked, self.predictor.calibration.best_rate)

    def set_rate(self, rate: float | None) -> None:
        """Decide at a false-alarm rate, None for the model's own; what is judged from now on is judged by it."""
        own = self.predictor.limit
        self.worker.limit = own if rate is None else limit_at(self.predictor.calibration, rate)
        self.rate = rate


@dataclass(eq=False)
class Model:
    """A name, its loaded versions by id, the one that answers, and the one that answered before it, if any.

    `given` is the name that the command line has for it, empty for one that was uploaded or trained here.
    """

    name: str
    versions: dict[str, Version] = field(default_factory=dict)
    active: str = ""
    previous: str = ""
    given: str = ""

    def switch(self, version: str) -> None:
        """Another version answers from now on."""
        if version != self.active:
            self.active, self.previous = version, self.active

    def copy(self) -> Model:
        """As it is at the moment."""
        return replace(self, versions=dict(self.versions))


class Registry:
    """Models by name. Every call may come from any thread.

    Whoever judges holds a lease on a version. A version that is taken away gets no new lease, finishes what it was
    leased for, and only then ends its thread; a switch is one assignment. So no request is lost.
    """

    def __init__(self, open_version: Callable[[Path], Version]) -> None:
        self._open = open_version
        self._models: dict[str, Model] = {}
        self._lock = threading.RLock()

    def names(self) -> list[str]:
        """Of all models, in the order in which they came."""
        with self._lock:
            return list(self._models)

    def models(self) -> list[Model]:
        """A copy of what there is."""
        with self._lock:
            return [model.copy() for model in self._models.values()]

    def model(self, name: str) -> Model:
        """A copy of one; 404 where there is none."""
        with self._lock:
            return self._found(name).copy()

    def active(self, name: str) -> str | None:
        """Which version of a name answers; None where there is no such model."""
        with self._lock:
            return self._models[name].active if name in self._models else None

    @contextmanager
    def lease(self, name: str | None = None, version: str | None = None) -> Iterator[tuple[str, Version]]:
        """The name and the version that is to judge: the active one of the first model where nothing is said."""
        with self._lock:
            model = self._found(name)
            leased = model.versions.get(version or model.active)
            if leased is None:
                raise ServiceError(404, "no_such_version", f"the model {model.name} has no version {version}")
            leased.users += 1
        try:
            yield model.name, leased
        finally:
            with self._lock:
                leased.users -= 1
                self._note_idle(leased)

    def add(self, name: str, folder: Path, activate: bool = True, given: str = "") -> Version:
        """Load a model folder as a version of that name; `ModelError` where it is refused.

        A version that is there already is not loaded again. The first version of a name is always active. `given` is
        what the command line calls it.
        """
        version = self._open(folder)
        with self._lock:
            model = self._models.setdefault(name, Model(name, given=given))
            spare, version = (version, model.versions[version.id]) if version.id in model.versions else (None, version)
            model.versions[version.id] = version
            if activate or not model.active:
                model.switch(version.id)
        if spare is not None:
            spare.worker.close()
        return version

    def activate(self, name: str, version: str) -> None:
        """From now on, that version answers."""
        with self._lock:
            model = self._found(name)
            if version not in model.versions:
                raise ServiceError(404, "no_such_version", f"the model {name} has no version {version}")
            model.switch(version)

    def set_rate(self, name: str, rate: float | None, version: str | None = None) -> None:
        """The false-alarm rate at which the version that answers decides from now on; None for the model's own.

        409 for a model that is not calibrated, and where another version than the one that is meant answers.
        """
        with self._lock:
            model = self._found(name)
            if version not in (None, model.active):
                raise ServiceError(409, "version_inactive", f"version {version} does not answer any longer; look again")
            try:
                model.versions[model.active].set_rate(rate)
            except UsageError as error:
                raise ServiceError(409, "not_calibrated", str(error)) from error

    def rename(self, name: str, new: str) -> None:
        """The same model under another name; what is judged at the moment goes on."""
        with self._lock:
            model = self._found(name)
            if new in self._models:
                raise ServiceError(409, "name_taken", f"there is a model called {new} already")
            model.name = new
            self._models = {one.name: one for one in self._models.values()}

    def remove(self, name: str, version: str | None = None) -> list[Version]:
        """Take a model, or one version that is not active, out of service; comes back when it has finished its work."""
        with self._lock:
            model = self._found(name)
            if version is None:
                del self._models[name]
                gone = list(model.versions.values())
            elif version == model.active:
                raise ServiceError(409, "version_active", f"version {version} answers; make another one active first")
            elif version not in model.versions:
                raise ServiceError(404, "no_such_version", f"the model {name} has no version {version}")
            else:
                gone = [model.versions.pop(version)]
                if model.previous == version:
                    model.previous = ""
            for one in gone:
                one.retired.set()
                self._note_idle(one)
        for one in gone:
            one.idle.wait()
            one.worker.close()
        return gone

    def close(self) -> None:
        """Finish and end everything."""
        for name in self.names():
            self.remove(name)

    def _found(self, name: str | None) -> Model:
        if name is None and self._models:
            return next(iter(self._models.values()))
        if name not in self._models:
            raise ServiceError(
                404, "no_such_model", f"there is no model called {name}" if name else "no model is loaded"
            )
        return self._models[name]

    @staticmethod
    def _note_idle(version: Version) -> None:
        if version.retired.is_set() and not version.users:
            version.idle.set()
