"""History: what was judged, found again, looked at, and reviewed."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.responses import Response

from blemish.errors import ImageError, StoreError
from blemish.metrics.rates import counted
from blemish.pipeline.regions import Region
from blemish.service.asked import LONGEST_NOTE, MOST_IDS, Asked, asked, write_review
from blemish.service.core import service_of, store_of
from blemish.service.errors import ServiceError
from blemish.service.pages.kept import kept_layers, version_of
from blemish.service.pages.shell import caller_of, fragment, page
from blemish.service.pages.viewing import Layers, box_of
from blemish.service.tokens import require
from blemish.store import Filter, Inspection, Review, Store

router = APIRouter(prefix="/history", include_in_schema=False)

PAGE = 40  # rows that come at once
_MOST_REGIONS = 12  # that are listed; the largest
# what a review is called, and what is said of it
REVIEWS: dict[Review, str] = {"false_alarm": "False alarm", "missed_defect": "Missed defect", "confirmed": "Confirmed"}
SPANS = {"hour": "Last hour", "today": "Today", "week": "Last 7 days"}

Choice = Annotated[Asked, Depends(asked)]
InspectionId = Annotated[int, Path(ge=1, le=2**53)]
Said = Literal["false_alarm", "missed_defect", "confirmed", "none"]
Note = Annotated[str, Form(max_length=LONGEST_NOTE)]


class _Former(BaseModel):
    """What stood there before a review."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[int, Field(ge=1, le=2**53)]
    review: Review | None
    note: str | None


_FORMERS = TypeAdapter(Annotated[list[_Former], Field(min_length=1, max_length=MOST_IDS)])


@router.get("")
async def show(
    request: Request, choice: Choice, before: Annotated[int | None, Query(ge=1, le=2**53)] = None
) -> Response:
    """The newest of a choice, and how many it has."""
    store = store_of(request)
    found = await asyncio.to_thread(store.find, choice.filter, before, PAGE + 1)
    counts = await asyncio.to_thread(store.counts, choice.filter)
    names = set(await asyncio.to_thread(store.model_names)) | set(service_of(request).registry.names())
    context: dict[str, Any] = {
        "names": sorted(names),
        "counts": counts,
        "is_empty": not counts.total and not choice.query,
        "tables": ["CSV", "Parquet"] if find_spec("pyarrow") else ["CSV"],
    }
    return page(request, "history.html.j2", **context, **_rows(choice, found))


@router.get("/rows")
async def rows(request: Request, choice: Choice, before: Annotated[int, Query(ge=1, le=2**53)]) -> Response:
    """The next rows of the list."""
    found = await asyncio.to_thread(store_of(request).find, choice.filter, before, PAGE + 1)
    return fragment(request, "history_rows.html.j2", **_rows(choice, found))


@router.post("/review", dependencies=[Depends(require("operator"))])
async def review(
    request: Request,
    choice: Choice,
    ids: Annotated[list[Annotated[int, Field(ge=1, le=2**53)]], Form(min_length=1, max_length=MOST_IDS)],
    review: Annotated[Said, Form()],
    note: Note = "",
) -> Response:
    """Say it of these; answers their rows as they are now, to be put in their places, and a way back."""
    said: Review | None = None if review == "none" else review
    store = store_of(request)
    formers = await asyncio.to_thread(_inspections, store, ids)
    if not formers:
        raise ServiceError(404, "no_such_inspection", "there is no such inspection any more")
    await asyncio.to_thread(write_review, store, ids, said, caller_of(request).name, note)
    undo = [_Former(id=one.id, review=one.review, note=one.note) for one in formers]
    return await _reviewed(request, choice, ids, said, _FORMERS.dump_json(undo).decode())


@router.post("/{id}/review", dependencies=[Depends(require("operator"))])
async def review_one(request: Request, id: InspectionId, review: Annotated[Said, Form()], note: Note = "") -> Response:
    """Say it of this one; answers the part of its page that tells of it."""
    await inspection_of(request, id)
    said: Review | None = None if review == "none" else review
    await asyncio.to_thread(write_review, store_of(request), [id], said, caller_of(request).name, note)
    return fragment(request, "history_review.html.j2", one=await inspection_of(request, id), reviews=REVIEWS)


@router.post("/undo", dependencies=[Depends(require("operator"))])
async def undo(request: Request, choice: Choice, former: Annotated[str, Form(max_length=1 << 20)]) -> Response:
    """Say again what was said before."""
    try:
        formers = _FORMERS.validate_json(former)
    except ValidationError:
        raise ServiceError(422, "invalid_request", "former: what was said before cannot be read") from None
    store, by = store_of(request), caller_of(request).name
    groups: dict[tuple[Review | None, str | None], list[int]] = {}
    for one in formers:
        groups.setdefault((one.review, one.note), []).append(one.id)
    for (said, note), ids in groups.items():
        await asyncio.to_thread(write_review, store, ids, said, by, note)
    return await _reviewed(request, choice, [one.id for one in formers], None, None)


@router.get("/{id}")
async def detail(request: Request, id: InspectionId, choice: Choice) -> Response:
    """One inspection: image, map and contours where they were kept, what is known of it, and its review."""
    store, service = store_of(request), service_of(request)
    inspection = await inspection_of(request, id)
    newer, older = await asyncio.to_thread(store.neighbours, id, choice.filter)
    seen: Layers | None = None
    trouble = ""
    if inspection.image_hash is not None:
        try:
            seen = await kept_layers(service, store, inspection)
        except (StoreError, ImageError) as error:
            trouble = str(error)
    regions = [Region(**region) for region in inspection.regions[:_MOST_REGIONS]]
    context: dict[str, Any] = {
        "seen": seen,
        "trouble": trouble,
        "regions": regions,
        "boxes": [] if seen is None else [box_of(region, seen.scale) for region in regions],
        "is_loaded": version_of(service, inspection) is not None,
        "part": await asyncio.to_thread(_part, store, inspection),
    }
    return page(
        request, "history_detail.html.j2", one=inspection, newer=newer, older=older, **context, **_words(choice)
    )


def _part(store: Store, inspection: Inspection) -> dict[str, Any] | None:
    """What the stored images of its part show together; None where the part is not known."""
    if inspection.part_key is None:
        return None
    images = store.find(Filter(part_key=inspection.part_key), limit=MOST_IDS)  # the newest first
    largest = max(image.score for image in images)
    threshold, expected = images[0].part_threshold, images[0].part_images or 0
    label = f"no verdict, {len(images)} of {counted(expected, 'image')}"
    if threshold is not None and largest > threshold:
        label = "Anomaly"
    elif len(images) >= expected:
        label = "Normal"
    others = [image for image in reversed(images) if image.id != inspection.id][:_MOST_REGIONS]
    return {"label": label, "score": largest, "threshold": threshold, "others": others}


async def inspection_of(request: Request, id: int) -> Inspection:
    """An inspection by its number; 404 where there is none."""
    found = await asyncio.to_thread(store_of(request).get, id)
    if found is None:
        raise ServiceError(404, "no_such_inspection", f"there is no inspection {id}; the store may have forgotten it")
    return found


async def _reviewed(request: Request, choice: Asked, ids: list[int], said: Review | None, undo: str | None) -> Response:
    store = store_of(request)
    changed = await asyncio.to_thread(_inspections, store, ids)
    counts = await asyncio.to_thread(store.counts, choice.filter)
    context: dict[str, Any] = {"changed": changed, "counts": counts, "said": said, "undo": undo}
    return fragment(request, "history_reviewed.html.j2", **context, **_words(choice))


def _inspections(store: Store, ids: list[int]) -> list[Inspection]:
    return [found for id in ids if (found := store.get(id)) is not None]


def _rows(choice: Asked, found: list[Inspection]) -> dict[str, Any]:
    """One more than a page shows says whether there are more."""
    return {"found": found[:PAGE], "has_more": len(found) > PAGE, **_words(choice)}


def _words(choice: Asked) -> dict[str, Any]:
    return {"choice": choice, "reviews": REVIEWS, "spans": SPANS}
