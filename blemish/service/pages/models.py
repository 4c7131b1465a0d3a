"""Models: what is served, at which threshold, and what another would have said."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from blemish.calibration import session_lines
from blemish.report.charts import Bar
from blemish.service.core import service_of, store_of
from blemish.service.models import ModelName
from blemish.service.pages import charts
from blemish.service.pages.learning import update_offer
from blemish.service.pages.periods import SPANS
from blemish.service.pages.shell import fragment, page
from blemish.service.pages.work import latest_work
from blemish.service.registry import Model, Version
from blemish.service.what_if import STEPS, can_choose, rate_at, step_of, what_if
from blemish.store import Counts, Filter, Store

router = APIRouter(prefix="/models", include_in_schema=False)


LAST = 1000  # inspections that a rate is tried on
_MOST_REVIEWED = 5000
_SPARK = 80  # inspections in the little picture
_PICTURES = 12


@dataclass(frozen=True)
class Served:
    """One model of the list."""

    model: Model
    version: Version
    counts: Counts
    spark: list[tuple[Bar, bool]]
    spark_anomalous: int


@router.get("")
async def show_all(request: Request) -> Response:
    """Every served model."""
    models, store = service_of(request).registry.models(), store_of(request)
    served = await asyncio.to_thread(lambda: [_served(model, store) for model in models])
    return page(request, "models.html.j2", served=served)


@router.get("/{name}")
async def show(request: Request, name: ModelName) -> Response:
    """One model: its scores, its rate, its versions, and what can be done with them."""
    model, store = service_of(request).registry.model(name), store_of(request)
    version = model.versions[model.active]
    shown = await asyncio.to_thread(_rate_shown, store, model.name, version, None)
    counts = await asyncio.to_thread(lambda: {v: store.counts(_of(name, one)) for v, one in model.versions.items()})
    return page(
        request,
        "model.html.j2",
        model=model,
        version=version,
        counts=counts,
        step=_step(version),
        steps=STEPS,
        least_rate=version.predictor.calibration.best_rate,
        spans=SPANS,
        offer=await asyncio.to_thread(update_offer, store, model),
        work=await asyncio.to_thread(latest_work, store, name),
        **shown,
    )


@router.get("/{name}/rate")
async def try_rate(request: Request, name: ModelName, step: Annotated[int, Query(ge=0, le=STEPS)]) -> Response:
    """What the rate at a step of the slider would have said; nothing is changed."""
    model, store = service_of(request).registry.model(name), store_of(request)
    version = model.versions[model.active]
    calibration = version.predictor.calibration
    rate = rate_at(calibration, step) if can_choose(calibration) and step != _step(version) else None
    shown = await asyncio.to_thread(_rate_shown, store, name, version, rate)
    return fragment(request, "model_rate.html.j2", model=model, version=version, **shown)


def _served(model: Model, store: Store) -> Served:
    version = model.versions[model.active]
    last = store.scores(model.name, _SPARK, version.digest)
    scores, odd = last.scores[::-1].tolist(), last.is_anomalous[::-1].tolist()
    spark = charts.sparkline(scores, odd, version.limit.score)
    return Served(model, version, store.counts(Filter(model=model.name)), spark, sum(odd))


def _of(name: str, version: Version) -> Filter:
    return Filter(model=name, version=version.digest)


def _step(version: Version) -> int | None:
    """Where the slider stands for the rate in force; None where there is nothing to choose."""
    calibration, rate = version.predictor.calibration, version.limit.rate
    return step_of(calibration, rate) if can_choose(calibration) and rate is not None else None


def _rate_shown(store: Store, name: str, version: Version, rate: float | None) -> dict[str, Any]:
    """What the scores look like under a rate, None for that in force, and what it would have changed."""
    from blemish.pipeline.predictor import limit_at

    calibration = version.predictor.calibration
    limit = version.limit if rate is None else limit_at(calibration, rate)
    last = store.find(_of(name, version), limit=LAST)
    reviewed = store.find(Filter(model=name, version=version.digest, review="any"), limit=_MOST_REVIEWED)
    tried = what_if(limit, last, reviewed)
    seen = np.array([one.score for one in last], np.float64)
    scale = charts.axis(np.concatenate([calibration.scores, seen]), version.limit.score)
    return {
        "limit": limit,
        "is_tried": rate is not None,
        "calibration": calibration,
        "statement": calibration.statement(limit.rate),
        "sessions": session_lines(calibration, limit.rate),
        "is_supported": limit.rate is not None and limit.rate >= calibration.best_rate,
        "tried": tried,
        "chart": charts.histogram(calibration.scores, seen, limit.score, scale, calibration.images_each),
        "changed": tried.changed[:_PICTURES],
    }
