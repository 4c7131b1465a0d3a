"""What a service is started with: one record, checked before anything is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from blemish.config import HpiConfig
from blemish.errors import UsageError
from blemish.images import Limits
from blemish.store import Retention

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_OWN_FOLDERS = ("inference", "best_model")  # of a run's output folder; they name nothing


@dataclass(frozen=True)
class ModelSource:
    """A model to serve: its name in the routes, and its folder."""

    name: str
    folder: Path

    @classmethod
    def of(cls, text: str) -> ModelSource:
        """`NAME=FOLDER`, or a folder, which is then called as it is."""
        name, equals, folder = text.partition("=")
        if equals and re.fullmatch(NAME, name):
            return cls(name, Path(folder))
        place = Path(text).resolve()
        while place.name in _OWN_FOLDERS:
            place = place.parent
        return cls(re.sub(r"[^A-Za-z0-9._-]+", "-", place.name).strip("-._")[:64] or "model", Path(text))


@dataclass(frozen=True)
class SinkSettings:
    """Where the plant hears of inspections and drift; nowhere by default.

    Attributes:
        webhooks: URLs; `webhook_secret` is what their receivers know our messages by.
        mqtt: URL of a broker; the rest as in `MqttSink`.
        opcua: endpoint of an OPC UA server.
    """

    webhooks: tuple[str, ...] = ()
    webhook_secret: str = field(default="", repr=False)
    mqtt: str | None = None
    mqtt_topic: str = "blemish/inspections"
    mqtt_user: str | None = None
    mqtt_password: str | None = field(default=None, repr=False)
    mqtt_ca_file: Path | None = None
    opcua: str | None = None


@dataclass(frozen=True)
class Settings:
    """Everything that can be set of a service; sizes are in bytes, times in seconds where nothing else is said.

    Attributes:
        models: the first answers PaddleX's route.
        output: the folder for what is kept: uploaded models, tokens, the store.
        store: URL of the database; None for SQLite in the output folder.
        workers: threads that decode images.
        max_latency_ms: batches grow while the first image of a batch is answered within it.
        max_batch: images computed at once at most; None is 1 on a CPU and 16 elsewhere.
        max_body: of one request; `body_memory` of all requests together.
        max_pixels: of one image; `max_images` in one request.
        max_waiting: images of all requests together that are accepted and not answered.
        image_memory: what decoded images and their maps may take together.
        max_connections: beyond it, the connection that has waited longest for a request is closed.
        header_timeout: for the first line and the headers; `body_timeout` for the whole body.
        stop_timeout: what is accepted has that long to be finished on SIGTERM.
        rate: requests a second from one address, None for no such limit; bursts of twice as many pass.
        allow_urls: read images from http(s) URLs of public addresses.
        visualize: whether PaddleX's route draws where the request says nothing.
        keep_images: of which inspections the store keeps the image and the map.
        retention: what the store forgets, looked at every hour; None keeps everything.
        hosts: names that a browser may know this service by, besides its address.
        sinks: where the plant hears of inspections and drift.
        data_roots: folders below which the page Train finds data sets.
    """

    models: tuple[ModelSource, ...]
    output: Path = Path("output/serve")
    host: str = "127.0.0.1"
    port: int = 8080
    store: str | None = None
    device: str = "auto"
    engine: str | HpiConfig | None = None
    workers: int = 2
    max_latency_ms: float = 200.0
    max_batch: int | None = None
    max_body: int = 64 << 20
    body_memory: int = 512 << 20
    max_pixels: int = 64_000_000
    max_images: int = 64
    max_waiting: int = 256
    image_memory: int = 1 << 30
    max_connections: int = 2000
    header_timeout: float = 10.0
    body_timeout: float = 60.0
    stop_timeout: float = 15.0
    rate: float | None = None
    allow_urls: bool = False
    visualize: bool = True
    keep_images: Literal["none", "anomalous", "all"] = "anomalous"
    retention: Retention | None = None
    json_logs: bool = False
    hosts: tuple[str, ...] = field(default=())
    sinks: SinkSettings = SinkSettings()
    data_roots: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        for name in names:
            if not re.fullmatch(NAME, name):
                raise UsageError(f"the model name `{name}` is not made of up to 64 letters, digits, dots, - and _")
            if names.count(name) > 1:
                raise UsageError(f"two models are called {name}; name them: NAME={name} OTHER=FOLDER")
        for root in self.data_roots:
            if not root.is_dir():
                raise UsageError(f"--data {root}: {'is a file, not a folder' if root.exists() else 'no such folder'}")
        if not 0 <= self.port <= 65535:
            raise UsageError(f"the port is {self.port}; it must be between 0 and 65535")
        if min(self.workers, self.max_body, self.max_pixels, self.max_images) < 1:
            raise UsageError("workers, largest body, pixels and images of a request must be 1 or more")
        positive = (self.max_latency_ms, self.header_timeout, self.body_timeout, 1 if self.rate is None else self.rate)
        if not all(value > 0 for value in positive):
            raise UsageError("latency, time-outs and rate must be more than 0")
        if self.max_waiting < self.max_images:
            raise UsageError(f"{self.max_waiting} waiting images are fewer than the {self.max_images} of a request")

    @property
    def limits(self) -> Limits:
        """What one image may cost."""
        return Limits(
            max_pixels=self.max_pixels,
            max_bytes=self.max_body,
            url_max_bytes=self.max_body,
            url_timeout_s=10.0,
            allow_urls=self.allow_urls,
            allow_private_urls=False,
            allow_streams=False,
        )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False
