"""What was judged, for programs: found, looked up and reviewed as JSON."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from blemish.service.asked import LONGEST_NOTE, MOST_IDS, Asked, asked, write_review
from blemish.service.core import store_of
from blemish.service.errors import ServiceError
from blemish.service.schemas import RegionModel, refusals
from blemish.service.tokens import Caller, require
from blemish.store import Inspection, Review

router = APIRouter(prefix="/v1/inspections", tags=["inspections"])

_LARGEST = 2**53  # a number that every client reads exactly
_MOST = 1000  # inspections in one answer


class InspectionModel(BaseModel):
    """One image's verdict as it was answered, and what became of it."""

    id: int
    request_id: str
    time: datetime
    source: str | None
    page_index: int | None = Field(description="of a file with several pages")
    part: str | None = Field(description="the part that the image shows, where that is known")
    part_key: str | None = Field(description="common to the images of this part, and of no other of the same name")
    part_images: int | None = Field(description="how many images show it")
    part_threshold: float | None = Field(description="what the largest score of its images is held against")
    model: str
    version: str = Field(description="which model it was, 64 digits; the first 12 name the version")
    score: float
    threshold: float
    p_value: float | None = Field(description="null where the model was not calibrated")
    pixel_threshold: float | None
    is_anomalous: bool
    regions: list[RegionModel]
    width: int
    height: int
    image_hash: str | None = Field(description="SHA-256 of the image's file, null where it was not kept")
    thumbnail_hash: str | None
    map_hash: str | None
    brightness: float | None
    focus: float | None
    shift_x: float | None
    shift_y: float | None
    review: Review | None
    reviewed_by: str | None
    reviewed_at: datetime | None
    note: str | None


class CountsModel(BaseModel):
    """How many inspections the choice has, by verdict and review."""

    total: int
    anomalous: int
    unreviewed_anomalous: int
    false_alarms: int
    missed_defects: int
    confirmed: int


class InspectionList(BaseModel):
    """The newest first."""

    inspections: list[InspectionModel]
    counts: CountsModel
    next: int | None = Field(description="`before` of the next page; null at the end")


class ReviewModel(BaseModel):
    """What is said of these inspections; a `review` of null takes it back."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[Annotated[int, Field(ge=1, le=_LARGEST)]], Field(min_length=1, max_length=MOST_IDS)]
    review: Review | None
    note: Annotated[str | None, Field(max_length=LONGEST_NOTE)] = None


class Reviewed(BaseModel):
    """How many of the inspections there were."""

    reviewed: int


@router.get("", dependencies=[Depends(require("viewer"))], responses=refusals(422, 503), summary="Find inspections")
async def find(
    request: Request,
    choice: Annotated[Asked, Depends(asked)],
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 50,
    before: Annotated[int | None, Query(description="only numbers below it", ge=1, le=_LARGEST)] = None,
) -> InspectionList:
    """The newest first; every parameter that is given narrows the choice."""
    store = store_of(request)
    found = await asyncio.to_thread(store.find, choice.filter, before, limit + 1)
    counts = await asyncio.to_thread(store.counts, choice.filter)
    return InspectionList(
        inspections=[_model(one) for one in found[:limit]],
        counts=CountsModel(**vars(counts)),
        next=found[limit - 1].id if len(found) > limit else None,
    )


@router.get("/{id}", dependencies=[Depends(require("viewer"))], responses=refusals(422, 503), summary="One inspection")
async def get(request: Request, id: Annotated[int, Path(ge=1, le=_LARGEST)]) -> InspectionModel:
    """By its number, which `predict` answers. Its pictures: `/history/{id}/thumbnail` and `/history/{id}/image`."""
    found = await asyncio.to_thread(store_of(request).get, id)
    if found is None:
        raise ServiceError(404, "no_such_inspection", f"there is no inspection {id}")
    return _model(found)


@router.post("/review", responses=refusals(409, 422, 503), summary="Review inspections")
async def review(
    request: Request, wanted: ReviewModel, caller: Annotated[Caller, Depends(require("operator"))]
) -> Reviewed:
    """All of them or, where a verdict rules the review out (409), none.

    Only an anomaly can be a false alarm, only what was judged normal a missed defect.
    """
    count = await asyncio.to_thread(
        write_review, store_of(request), wanted.ids, wanted.review, caller.name, wanted.note
    )
    return Reviewed(reviewed=count)


def _model(inspection: Inspection) -> InspectionModel:
    return InspectionModel(**inspection.to_dict())
