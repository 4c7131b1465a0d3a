"""What Prometheus is told, kept apart for each app of a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

if TYPE_CHECKING:
    from blemish.pipeline import Result

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

router = APIRouter(tags=["health"])


class States(Collector):
    """Gauges that are looked up when they are asked for, in the thread that asks.

    Attributes:
        drift: evidence of each model's drift alarm, and whether an alarm stands.
        sinks: messages that wait for each sink, None where the store does not say, and whether it fails.
    """

    def __init__(self) -> None:
        self.drift: Callable[[], Iterable[tuple[str, float, bool]]] = tuple
        self.sinks: Callable[[], Iterable[tuple[str, int | None, bool]]] = tuple

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See `prometheus_client`."""
        evidence = GaugeMetricFamily("blemish_drift_evidence", "100 raises the drift alarm.", labels=["model"])
        alarm = GaugeMetricFamily("blemish_drift_alarm", "Whether a drift alarm stands.", labels=["model"])
        for model, value, stands in self.drift():
            evidence.add_metric([model], value)
            alarm.add_metric([model], float(stands))
        waiting = GaugeMetricFamily("blemish_sink_waiting", "Messages that wait for a sink.", labels=["sink"])
        failing = GaugeMetricFamily("blemish_sink_failing", "Whether a sink takes nothing.", labels=["sink"])
        for sink, count, fails in self.sinks():
            if count is not None:
                waiting.add_metric([sink], count)
            failing.add_metric([sink], float(fails))
        yield from (evidence, alarm, waiting, failing)


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
        self.states = States()
        own.register(self.states)

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
    """Requests, latency by stage, queue, batches, verdicts, drift and sinks, in Prometheus's text format."""
    own: Metrics = request.app.state.service.metrics
    text = await asyncio.to_thread(generate_latest, own.registry)  # the store is asked
    return Response(text, media_type=CONTENT_TYPE_LATEST)
