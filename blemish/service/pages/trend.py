"""Trend: how often, how odd and how believable over time, and whether the images have changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import numpy as np
from fastapi import APIRouter, Depends, Form, Path, Query, Request
from starlette.responses import Response

from blemish.report.charts import SIDE, Bar, Scale
from blemish.report.words import number, percent
from blemish.service.core import Service, service_of, store_of
from blemish.service.pages.plotting import TimeScale, band, column, line, y_of
from blemish.service.pages.shell import fragment, page
from blemish.service.registry import Model
from blemish.service.settings import NAME
from blemish.service.tokens import require
from blemish.store import Bucket, Filter
from blemish.store.trends import total_uniformity

router = APIRouter(prefix="/trend", include_in_schema=False)

Span = Literal["hour", "day", "week", "month", "all"]
_SPANS: dict[Span, tuple[str, timedelta | None]] = {
    "hour": ("Last hour", timedelta(hours=1)),
    "day": ("Last 24 hours", timedelta(days=1)),
    "week": ("Last 7 days", timedelta(days=7)),
    "month": ("Last 30 days", timedelta(days=30)),
    "all": ("All", None),
}
_LAST = 20_000  # inspections that the charts show at most
_ODD = 0.01  # a p-value of the uniformity below it is worth a word
_FLOOR = 1e-4  # of the axis of that p-value

ModelQuery = Annotated[str | None, Query(pattern=f"^{NAME}$")]


@dataclass(frozen=True)
class Charts:
    """Everything that is drawn, in units of the square, and what the figures are."""

    time: TimeScale
    buckets: list[Bucket]
    count: int
    anomalous: int
    rates: Scale
    rate_bars: list[Bar]
    scores: Scale
    wide: str
    narrow: str
    middle: str
    p_bars: list[Bar]
    p_expected: float
    uniformity: float | None
    uniform_bars: list[Bar]


@router.get("")
async def show(request: Request, model: ModelQuery = None, span: Span = "day") -> Response:
    """The page: a model and a span of time, their charts, the drift alarm."""
    context = await asyncio.to_thread(_context, request, model, span)
    return page(request, "trend.html.j2", **context)


@router.get("/charts")
async def charts(request: Request, model: ModelQuery = None, span: Span = "day") -> Response:
    """What is drawn, anew."""
    context = await asyncio.to_thread(_context, request, model, span)
    kept = {"HX-Replace-Url": "/trend?" + urlencode({"model": context["shown"] or "", "span": span})}
    return fragment(request, "trend_charts.html.j2", headers=kept, **context)


@router.get("/banner")
async def banner(request: Request) -> Response:
    """The alarms that stand, for the top of every page."""
    service = service_of(request)
    alarms = [(name, alarm) for name in service.registry.names() if (alarm := _alarm(service, name))]
    return fragment(request, "drift_banner.html.j2", alarms=alarms)


@router.post("/{model}/reset", dependencies=[Depends(require("operator"))])
async def reset(
    request: Request,
    model: Annotated[str, Path(pattern=f"^{NAME}$")],
    accept: Annotated[bool, Form()],
    span: Annotated[Span, Form()] = "day",
) -> Response:
    """The alarm was attended to: the cause is mended, or, with `accept`, the new session is the right one."""
    service = service_of(request)
    service.registry.model(model)
    await asyncio.to_thread(service.drift.reset, model, accept)
    context = await asyncio.to_thread(_context, request, model, span)
    return fragment(request, "trend_charts.html.j2", headers={"HX-Trigger": "drift"}, **context)


def _context(request: Request, name: str | None, span: Span) -> dict[str, Any]:
    service = service_of(request)
    models = service.registry.models()
    chosen = next((one for one in models if one.name == name), models[0] if models and name is None else None)
    shown = name or (None if chosen is None else chosen.name)
    length = _SPANS[span][1]
    since = None if length is None else datetime.now(timezone.utc) - length
    found = store_of(request).trend(Filter(model=shown, since=since), last=_LAST) if shown else []
    return {
        "names": sorted({one.name for one in models} | ({shown} if shown else set())),
        "shown": shown,
        "span": span,
        "spans": {key: words for key, (words, _) in _SPANS.items()},
        "limit": None if chosen is None else chosen.versions[chosen.active].limit,
        "rate": None if chosen is None else chosen.versions[chosen.active].supported_rate,
        "charts": _charts(found, chosen) if found else None,
        "drift": None if chosen is None else service.drift.state(chosen.name),
        "odd": _ODD,
    }


def _alarm(service: Service, name: str) -> dict[str, Any] | None:
    state = service.drift.state(name)
    return None if state is None else state.alarm


def _charts(buckets: list[Bucket], model: Model | None) -> Charts:
    time = TimeScale(buckets[0].start, buckets[-1].end)
    count, anomalous = sum(one.count for one in buckets), sum(one.anomalous for one in buckets)
    threshold = None if model is None else model.versions[model.active].limit.score
    rates = Scale(0.0, min(1.0, 1.15 * max(0.02, *(one.defect_rate for one in buckets))))
    scores = _score_scale(buckets, threshold)
    # of every run without a pause the lines of the five quantiles
    lines = [[_through(run, time, scores, quantile) for quantile in range(5)] for run in _runs(buckets)]
    p_counts = np.sum([one.p_values for one in buckets], axis=0).tolist()
    return Charts(
        time=time,
        buckets=buckets,
        count=count,
        anomalous=anomalous,
        rates=rates,
        rate_bars=[
            column(time.x(one.start), time.x(one.end), y_of(rates, one.defect_rate), _rate_title(one))
            for one in buckets
            if one.anomalous
        ],
        scores=scores,
        wide="".join(band(run[4], run[0]) for run in lines),
        narrow="".join(band(run[3], run[1]) for run in lines),
        middle="".join(line(run[2]) for run in lines),
        p_bars=_p_bars(p_counts),
        p_expected=_p_height(p_counts, sum(p_counts) / len(p_counts)),
        uniformity=total_uniformity(buckets),
        uniform_bars=_uniform_bars(buckets, time),
    )


def _score_scale(buckets: list[Bucket], threshold: float | None) -> Scale:
    values = [value for one in buckets for value in (one.score_quantiles[0], one.score_quantiles[4])]
    values += [] if threshold is None or not np.isfinite(threshold) else [threshold]
    low, high = min(values), max(values)
    room = 0.06 * ((high - low) or abs(high) or 1.0)
    return Scale(low - room, high + room)


def _runs(buckets: list[Bucket]) -> list[list[Bucket]]:
    """The stretches that follow each other without a pause, since nothing is drawn over one."""
    runs: list[list[Bucket]] = []
    for one in buckets:
        if runs and runs[-1][-1].end == one.start:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _through(run: list[Bucket], time: TimeScale, scores: Scale, quantile: int) -> list[tuple[float, float]]:
    """The points of a quantile: flat over every stretch, since it holds for the whole of it."""
    points = []
    for one in run:
        y = y_of(scores, one.score_quantiles[quantile])
        points += [(time.x(one.start), y), (time.x(one.end), y)]
    return points


def _rate_title(bucket: Bucket) -> str:
    return f"{bucket.anomalous} of {bucket.count} anomalous ({percent(bucket.defect_rate)})"


def _p_height(counts: list[int], value: float) -> float:
    return round(SIDE - 0.94 * SIDE * value / max(1, *counts), 1)


def _p_bars(counts: list[int]) -> list[Bar]:
    width = SIDE / len(counts)
    return [
        column(
            i * width,
            (i + 1) * width,
            _p_height(counts, n),
            f"{n} with a p-value of {i / 10:.1f} to {i / 10 + 0.1:.1f}",
        )
        for i, n in enumerate(counts)
        if n
    ]


def _uniform_bars(buckets: list[Bucket], time: TimeScale) -> list[Bar]:
    """One bar for each stretch, the taller the less its p-values agree with those of good parts."""
    bars = []
    for one in buckets:
        if one.uniformity is not None:
            height = np.log10(max(_FLOOR, one.uniformity)) / np.log10(_FLOOR)  # 0 for perfect agreement, 1 for none
            title = f"agreement {number(one.uniformity)} over {one.count} images"
            bars.append(column(time.x(one.start), time.x(one.end), round(SIDE * (1 - float(height)), 1), title))
    return bars
