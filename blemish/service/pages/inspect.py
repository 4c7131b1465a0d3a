"""Inspect: images from files or a camera, one large verdict, and where to look."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import RedirectResponse, Response

from blemish.errors import ModelError
from blemish.pipeline import Predictor, Result
from blemish.pipeline.regions import Region
from blemish.service.bodies import read_files
from blemish.service.core import service_of
from blemish.service.errors import ServiceError, without_verdict
from blemish.service.judging import Judged
from blemish.service.pages.shell import fragment, page
from blemish.service.pages.viewing import Layers, address, box_of, layers, picture
from blemish.service.parts import parts_of
from blemish.service.pictures import thumbnail_jpeg
from blemish.service.settings import NAME
from blemish.service.tokens import require

router = APIRouter(include_in_schema=False)

log = logging.getLogger("blemish.service")

_MOST_REGIONS = 12  # that are listed; the largest
_MOST_PAIRS = 5


@dataclass(frozen=True)
class Pair:
    """A region's oddest place, and the nearest that good images have."""

    here: str
    good: str


@dataclass(frozen=True)
class Shown:
    """One image's result as the page shows it; of one without a verdict there is only why."""

    name: str
    error: str | None = None
    failure: Exception | None = None  # what is answered where no image of the file has a verdict
    result: Result | None = None
    layers: Layers | None = None
    thumbnail: str = ""
    regions: tuple[Region, ...] = ()
    pairs: Mapping[int, Pair] = field(default_factory=dict)


@router.get("/")
async def home() -> Response:
    """The first page is the one for the line."""
    return RedirectResponse("/inspect", 303)


@router.get("/inspect")
async def show(request: Request, model: str | None = None) -> Response:
    """The page, with a model chosen."""
    models = service_of(request).registry.models()
    chosen = next((one for one in models if one.name == model), models[0] if models else None)
    return page(request, "inspect.html.j2", models=models, chosen=chosen)


@router.post("/inspect/{model}", dependencies=[Depends(require("operator"))])
async def inspect(
    request: Request,
    model: Annotated[str, Path(pattern=f"^{NAME}$")],
    source: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Judge the image in the body; answers its card, or several for a file with several pages."""
    service = service_of(request)
    ((_, data),) = await read_files(request, 1)
    with service.registry.lease(model) as (found, leased):
        pictures = await service.listed([(source or "image", data)], source)
        if len(pictures) > service.settings.max_images:
            raise ServiceError(400, "too_many_images", f"the file holds more images than {service.settings.max_images}")
        with service.admitted(len(pictures)):
            pictures = await service.with_parts(found, leased, pictures, None)
            judged = await service.judge_all(found, leased, pictures, partial(_shown, leased.predictor))
    failures = [one.answer.failure for one in judged if one.answer.failure is not None]
    if failures and len(failures) == len(judged):
        raise failures[0]
    parts = {one.name: one.record() for one in parts_of(pictures)}
    cards = [_card(one, parts) for one in judged]
    return fragment(request, "inspect_result.html.j2", cards=cards)


def _shown(predictor: Predictor, result: Result) -> Shown:
    if result.error is not None:
        return Shown(result.name.name, result.error, without_verdict(result))
    assert result.image is not None and result.anomaly_map is not None and result.pixel_threshold is not None
    return Shown(
        name=result.name.name,
        result=result,
        layers=layers(result.image, result.anomaly_map, result.pixel_threshold),
        thumbnail=address("jpeg", thumbnail_jpeg(result)),
        regions=result.regions[:_MOST_REGIONS],
        pairs=_pairs(predictor, result) if result.is_anomalous else {},
    )


def _pairs(predictor: Predictor, result: Result) -> Mapping[int, Pair]:
    """By the number of the region; none where the model knows of no good patches."""
    try:
        found = predictor.nearest_good(result, most=_MOST_PAIRS)
    except ModelError as error:  # the file went or changed under us; the verdict stands
        log.warning("the good patches cannot be shown: %s", error)
        return {}
    return {number: Pair(picture(one.here), picture(one.good)) for number, one in enumerate(found)}


def _card(judged: Judged[Shown], parts: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    shown = judged.answer
    verdict = "unreadable" if shown.result is None else str(shown.result.label).lower()
    boxes = [] if shown.layers is None else [box_of(region, shown.layers.scale) for region in shown.regions]
    return {
        "name": shown.name,
        "verdict": verdict,
        "shown": shown,
        "number": judged.number,
        "boxes": boxes,
        "part": None if shown.result is None or shown.result.part is None else parts.get(shown.result.part),
    }
