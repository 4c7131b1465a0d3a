"""The sinks of a service: from its settings to couriers at work, and how they fare."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from blemish.errors import StoreError, UsageError
from blemish.models.files import sha256
from blemish.service.schemas import refusals
from blemish.service.settings import SinkSettings
from blemish.sinks import Courier, MqttSink, OpcUaServer, Sink, WebhookSink

if TYPE_CHECKING:
    from blemish.store import Inspection, Store

_OPCUA = "opcua"

router = APIRouter(prefix="/v1/sinks", tags=["sinks"])

log = logging.getLogger("blemish.service")


class SinkModel(BaseModel):
    """How a sink fares."""

    name: str
    waiting: int | None = Field(description="messages that have not arrived; null where the store does not answer")
    failure: str | None = Field(description="why nothing arrives at the moment")


class SinkList(BaseModel):
    """All of them."""

    sinks: list[SinkModel]


class Sinks:
    """Couriers for the webhooks and the broker, and the OPC UA server.

    Raises `UsageError` for what cannot work: a wrong URL, a missing secret, package or store.
    """

    def __init__(self, settings: SinkSettings, store: Store | None) -> None:
        self._store = store
        self._couriers: list[Courier] = []
        self._opcua = None if settings.opcua is None else OpcUaServer(settings.opcua)
        self._opcua_failure: str | None = None
        senders = list(_senders(settings))
        if store is not None:
            self._couriers = [Courier(store, sender) for sender in senders]
        elif senders or self._opcua is not None:
            raise UsageError("sinks tell of what the store keeps, and there is no store")

    def open(self) -> None:
        """Listen where clients come to us. Raises `UsageError` for an endpoint that cannot be used."""
        if self._opcua is not None:
            self._opcua.start()

    def start(self) -> None:
        """Begin to carry messages, and let go of sinks that are no longer named."""
        if self._store is not None:
            self._end_unnamed(self._store)
        for courier in self._couriers:
            courier.start()

    def show(self, inspection: Inspection) -> None:
        """Show an inspection that is in the store; returns at once."""
        if self._opcua is not None:
            self._opcua.update(inspection).add_done_callback(self._note)

    def levels(self) -> Iterator[tuple[str, int | None, bool]]:
        """Name, messages that wait and whether it fails, of each."""
        for sink in self.states():
            yield sink.name, sink.waiting, sink.failure is not None

    def states(self) -> list[SinkModel]:
        """How each fares."""
        found = [
            SinkModel(name=one.sink.name, waiting=self._waiting(one.sink.name), failure=one.failure)
            for one in self._couriers
        ]
        if self._opcua is not None:
            found.append(SinkModel(name=_OPCUA, waiting=0, failure=self._opcua_failure))
        return found

    def stop(self) -> None:
        """End after the messages under way, all at the same time."""
        if self._couriers:
            with ThreadPoolExecutor(len(self._couriers)) as pool:
                list(pool.map(Courier.stop, self._couriers))
        if self._opcua is not None:
            self._opcua.stop()

    def _waiting(self, name: str) -> int | None:
        assert self._store is not None
        try:
            return self._store.outbox.waiting(name)
        except StoreError:
            return None

    def _note(self, shown: Future[None]) -> None:
        error = None if shown.cancelled() else shown.exception()
        if error is not None and self._opcua_failure is None:
            log.warning("OPC UA does not show an inspection: %s", error)
        self._opcua_failure = None if error is None else str(error) or type(error).__name__

    def _end_unnamed(self, store: Store) -> None:
        """Subscriptions of sinks that were taken off the command line would fill the store for ever.

        A database server may have other services with sinks of their own, so there they are told of only.
        """
        for name in sorted(set(store.outbox.subscribed()) - {courier.sink.name for courier in self._couriers}):
            waiting = store.outbox.waiting(name)
            if store.is_shared:
                log.warning("%s has %d messages waiting, and is no sink of this service", name, waiting)
            else:
                store.outbox.unsubscribe(name, keep=True)
                log.warning("%s is no longer a sink; %d messages wait until it is again", name, waiting)


def _senders(settings: SinkSettings) -> Iterator[Sink]:
    """What the settings name, checked."""
    if settings.webhooks and not settings.webhook_secret:
        raise UsageError("a webhook needs a secret that its receiver knows too: set BLEMISH_WEBHOOK_SECRET")
    for url in dict.fromkeys(settings.webhooks):
        # whoever starts the service names the receiver, which stands in the plant
        yield WebhookSink(url, settings.webhook_secret, name=_webhook_name(url), allow_private=True)
    if settings.mqtt is not None:
        if settings.mqtt_ca_file is not None and not settings.mqtt_ca_file.is_file():
            raise UsageError(f"the certificates {settings.mqtt_ca_file} of the MQTT broker are no file")
        yield MqttSink(
            settings.mqtt,
            topic=settings.mqtt_topic,
            user=settings.mqtt_user,
            password=settings.mqtt_password,
            ca_file=settings.mqtt_ca_file,
        )


def _webhook_name(url: str) -> str:
    """The host, and a part of the URL's hash: the same after a restart, and nothing of what the URL may keep secret."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    return f"webhook-{host}-{sha256(url.encode())[:8]}"


@router.get("", responses=refusals(), summary="The sinks")
async def list_sinks(request: Request) -> SinkList:
    """What waits for each, and why it fails if it does."""
    sinks: Sinks = request.app.state.service.sinks
    return SinkList(sinks=await asyncio.to_thread(sinks.states))
