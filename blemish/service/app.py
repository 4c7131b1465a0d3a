"""The app: routes, their errors and the gate before them, around one `Service`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from blemish import __version__
from blemish.errors import StoreError, UsageError
from blemish.service import drift, errors, health, inspections, kserve, metrics, models, paddlex, pages, sinks
from blemish.service.core import Service
from blemish.service.gate import Gate
from blemish.service.jobs import Workshop
from blemish.service.settings import Settings
from blemish.service.tokens import Guard, require
from blemish.store import Store

_HOUR = 3600.0  # seconds

log = logging.getLogger("blemish.service")


def create_app(settings: Settings, store: Store | None = None) -> FastAPI:
    """The service as an ASGI app, its models loaded; `store` is closed with it.

    Raises `ModelError` for a model that is refused, and `UsageError` for an address or a name that others can reach
    while there is no token, and where a file of the pages is missing.
    """
    pages.check_vendored()
    guard = Guard(store)
    reachable = settings.hosts[:1] if settings.is_local else (settings.host,)  # by a name, through a proxy
    if guard.is_open and reachable:
        raise UsageError(
            f"{reachable[0]} can be reached from other machines, and there is no token: make one with "
            "`blemish serve --create-token admin` and the same --output, or listen on 127.0.0.1 without --name"
        )
    service = Service(settings, store)
    service.sinks.open()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        forgetting = asyncio.create_task(_forget(service))
        workshop = None if store is None else Workshop(service, store)
        if workshop is not None:
            await asyncio.to_thread(workshop.start)
        await asyncio.to_thread(service.sinks.start)
        yield
        forgetting.cancel()
        if workshop is not None:
            await asyncio.to_thread(workshop.stop)
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="Blemish",
        version=__version__,
        description="Says of images whether they are anomalous, how surely, and where.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own come from another machine
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.service, app.state.guard = service, guard
    app.add_middleware(Gate, service=service)
    errors.install(app)
    for public in (health.router, paddlex.health_router, kserve.health_router):
        app.include_router(public)
    app.include_router(metrics.router, dependencies=[Depends(require("viewer"))])
    app.include_router(sinks.router, dependencies=[Depends(require("viewer"))])
    pages.install(app)
    for router in (paddlex.router, models.router, models.admin_router, drift.router, inspections.router, kserve.router):
        app.include_router(router)  # each route says itself what it needs
    return app


async def _forget(service: Service) -> None:
    """Once an hour, what the store need not keep any longer."""
    store, policy = service.store, service.settings.retention
    while store is not None and policy is not None:
        try:
            await asyncio.to_thread(store.retain, policy)
        except StoreError as error:
            log.warning("the store could not be cleared: %s", error)
        await asyncio.sleep(_HOUR)
