"""Whether the process lives, and whether it can judge: for those who restart it, and for those who send to it."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from pydantic import BaseModel

from blemish.errors import StoreError
from blemish.service.core import service_of
from blemish.service.errors import ServiceError

router = APIRouter(prefix="/v1/health", tags=["health"])


class State(BaseModel):
    """The answer of both."""

    status: str


@router.get("/live", summary="Is the process alive?")
async def live() -> State:
    """200 as long as requests are answered at all; asks nothing of models or database."""
    return State(status="live")


@router.get("/ready", summary="Can images be judged?")
async def ready(request: Request) -> State:
    """200 when a model is loaded and the store answers; 503 otherwise."""
    service = service_of(request)
    if not service.registry.names():
        raise ServiceError(503, "not_ready", "no model is loaded")
    if service.store is not None:
        try:
            await asyncio.to_thread(service.store.ping)
        except StoreError:
            raise ServiceError(503, "not_ready", "the store does not answer") from None
    return State(status="ready")
