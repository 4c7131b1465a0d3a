"""What Prometheus is told, kept apart for each app of a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response

if TYPE_CHECKING:
    from blemish.pipeline import Result

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

router = APIRouter(tags=["health"])


class Metrics:
    """The service's own metrics."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter(
            "blemish_requests", "Requests by route and status.", ["method", "route", "status"], registry=own
        )
        self.seconds = Histogram(
            "blemish_request_seconds",
            "From the head of a request to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=own,
        )
        self.stages = Histogram(
            "blemish_stage_seconds",
            "What an image takes: read, resize, wait (for the network), network, answer, record.",
            ["stage"],
            buckets=_SECONDS,
            registry=own,
        )
        self.batches = Histogram(
            "blemish_batch_images", "Images computed at once.", buckets=(1, 2, 4, 8, 16), registry=own
        )
        self.queue = Gauge("blemish_queue_images", "Images that are accepted and not answered.", registry=own)
        self.verdicts = Counter("blemish_verdicts", "Verdicts by model.", ["model", "verdict"], registry=own)

    def count_verdict(self, model: str, result: Result) -> None:
        """One image was judged, or could not be read."""
        self.verdicts.labels(model, (result.label or "error").lower()).inc()
        for stage, ms in result.timings.items():
            self.stages.labels(stage).observe(ms / 1e3)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures what the block takes."""
        start = perf_counter()
        yield
        self.stages.labels(name).observe(perf_counter() - start)

    def note_batch(self, size: int, waited_ms: float) -> None:
        """A batch begins, its first image having waited so long."""
        self.batches.observe(size)
        self.stages.labels("wait").observe(waited_ms / 1e3)


@router.get("/metrics", response_class=Response, summary="Metrics for Prometheus")
async def metrics(request: Request) -> Response:
    """Requests, latency by stage, queue, batches and verdicts, in Prometheus's text format."""
    own: Metrics = request.app.state.service.metrics
    return Response(generate_latest(own.registry), media_type=CONTENT_TYPE_LATEST)
