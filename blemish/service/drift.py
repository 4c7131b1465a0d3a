"""What a person asks of the drift alarm, and says after having attended to it."""

from __future__ import annotations

import asyncio
from datetime import datetime

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from blemish.drift.causes import Cause
from blemish.errors import StoreError
from blemish.service.core import Service, service_of
from blemish.service.errors import ServiceError
from blemish.service.models import ModelName
from blemish.service.schemas import refusals
from blemish.service.tokens import require

router = APIRouter(prefix="/v1/models", tags=["drift"])


class DriftAlarmModel(BaseModel):
    """An alarm that stands."""

    raised: datetime
    began: datetime = Field(description="when the first image was judged that likely belongs to the change")
    cause: Cause | None = Field(description="null where no statistic of the images has moved")
    explanation: str
    evidence: float


class DriftModel(BaseModel):
    """The stream of a model's active version."""

    version: str
    observed: int = Field(description="images since the beginning or the last reset, up to the alarm")
    evidence: float = Field(description="about 1 or less while all is well; 100 raises the alarm")
    alarm: DriftAlarmModel | None


class Reset(BaseModel):
    """Whether the new session is the right one, instead of the one before."""

    model_config = ConfigDict(extra="forbid")

    accept: bool


@router.get(
    "/{name}/drift", dependencies=[Depends(require("viewer"))], responses=refusals(422), summary="Do the images drift?"
)
async def drift(request: Request, name: ModelName) -> DriftModel:
    """Whether the images of a model are still those of the same session."""
    return _drift(service_of(request), name)


@router.post(
    "/{name}/drift/reset",
    dependencies=[Depends(require("operator"))],
    responses=refusals(422, 503),
    summary="Begin anew after an alarm",
)
async def reset(request: Request, name: ModelName, wanted: Reset) -> DriftModel:
    """With `accept`, the images that come next show what is right; without, the cause was mended."""
    service = service_of(request)
    _drift(service, name)
    try:
        await asyncio.to_thread(service.drift.reset, name, wanted.accept)
    except StoreError as error:
        raise ServiceError(503, "store_failed", "the store does not take the reset") from error
    return _drift(service, name)


def _drift(service: Service, name: str) -> DriftModel:
    state = service.drift.state(name)
    if state is None:
        raise ServiceError(404, "no_such_model", f"there is no model called {name}")
    return DriftModel.model_validate(state, from_attributes=True)
