"""What the page Models offers beyond looking: comparing two versions, and learning from inspected images.

Reviewed false alarms were chosen by their scores, so they are learned and do not calibrate. All inspected good images
of a period are learned and calibrate too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import Response

from blemish.detectors import detector_class
from blemish.metrics.rates import counted
from blemish.models import short_hash
from blemish.service.core import Service, service_of, store_of
from blemish.service.datasets.folders import UPLOADED
from blemish.service.errors import ServiceError
from blemish.service.jobs.stored import described_images, described_service, described_version
from blemish.service.jobs.update import write_images
from blemish.service.models import ModelName
from blemish.service.pages.jobs import JobId, job_of
from blemish.service.pages.periods import SPANS, Span, period_of
from blemish.service.pages.shell import fragment
from blemish.service.pages.train import refuse_in_use
from blemish.service.pages.work import KINDS_HERE, comparison_of, is_of
from blemish.service.registry import Model, Version
from blemish.service.tokens import require
from blemish.store import Filter, Job, Store

router = APIRouter(prefix="/models", include_in_schema=False)

VersionId = Annotated[str, Form(pattern="^[0-9a-f]{12}$")]

_MOST_REVIEWED = 1000
_MOST_NEW = 500


@dataclass(frozen=True)
class Offer:
    """The reviewed false alarms whose images are kept: `images` are new to the version that answers, `known` are not.

    `can_update` tells whether its detector can take them in.
    """

    images: list[dict[str, Any]]
    known: int
    reviewed: int
    can_update: bool


def update_offer(store: Store, model: Model) -> Offer:
    """What the version that answers could learn from."""
    version = model.versions[model.active]
    info = version.predictor.model.info
    alarms = store.find(Filter(model=model.name, review="false_alarm"), limit=_MOST_REVIEWED)
    kept, known = described_images(alarms), set(info.data.hashes or ())
    new = [one for one in kept if short_hash(one["image"]) not in known]
    return Offer(new, len(kept) - len(new), len(alarms), can_update(model))


def can_update(model: Model) -> bool:
    """Whether the version that answers can take in images: a calibrated one that does not learn by gradient."""
    info = model.versions[model.active].predictor.model.info
    return bool(info.calibration.scores) and not detector_class(info.detector.name).learns


@router.post("/{name}/compare", dependencies=[Depends(require("admin"))])
async def compare(
    request: Request,
    name: ModelName,
    first: VersionId,
    second: VersionId,
    newest: Annotated[int, Form(ge=0, le=_MOST_NEW)] = 200,
) -> Response:
    """Queue the comparison of two versions on the newest stored images and all reviewed ones."""
    service, store = service_of(request), store_of(request)
    model = service.registry.model(name)
    versions = [_version(model, one) for one in (first, second)]
    if first == second:
        raise ServiceError(409, "same_version", "these are one version; choose two")

    def queue() -> int:
        images = described_images([*_reviewed(store, name), *store.find(Filter(model=name), limit=newest)])
        if not images:
            raise ServiceError(409, "no_images", "no image of this model is kept; start the service with --keep all")
        described = [described_version(version) for version in versions]
        return store.jobs.add(
            "compare", {"model": name, "versions": described, "images": images, **described_service(service)}
        )

    return await _work(request, name, await job_of(request, await asyncio.to_thread(queue)))


@router.post("/{name}/update", dependencies=[Depends(require("admin"))])
async def update(request: Request, name: ModelName) -> Response:
    """Queue an update of the version that answers with the reviewed false alarms, which do not calibrate."""
    service, store = service_of(request), store_of(request)
    model = service.registry.model(name)

    def queue() -> int:
        offer = update_offer(store, model)
        if not offer.can_update:
            raise ServiceError(409, "no_update", "this detector cannot be updated; train it again with these images")
        if not offer.images:
            raise ServiceError(409, "no_images", "no reviewed false alarm with a kept image is new to the model")
        return _queued_update(service, store, model, offer.images, calibrate=False)

    return await _work(request, name, await job_of(request, await asyncio.to_thread(queue)))


@router.get("/{name}/period")
async def show_period(request: Request, name: ModelName, span: Span = "week") -> Response:
    """What all inspected good images of a period offer, and what stands in the way."""
    store, model = store_of(request), service_of(request).registry.model(name)
    period = await asyncio.to_thread(period_of, store, model, span)
    return fragment(request, "model_period.html.j2", model=model, period=period, spans=SPANS)


@router.post("/{name}/update-period", dependencies=[Depends(require("admin"))])
async def update_with_period(request: Request, name: ModelName, span: Annotated[Span, Form()]) -> Response:
    """Queue an update of the version that answers with all good images of a period, which calibrate too."""
    service, store = service_of(request), store_of(request)
    model = service.registry.model(name)

    def queue() -> int:
        if not can_update(model):
            raise ServiceError(409, "no_update", "this detector cannot be updated; train it again with these images")
        period = period_of(store, model, span)
        if period.unreviewed:
            count = f"{counted(period.unreviewed, 'alarm')} of this period"
            raise ServiceError(409, "not_reviewed", f"{count} must be reviewed first, so that no defect calibrates")
        if not period.images:
            raise ServiceError(409, "no_images", "no good image of this period is kept and new to the model")
        return _queued_update(service, store, model, period.images, calibrate=True)

    return await _work(request, name, await job_of(request, await asyncio.to_thread(queue)))


@router.post("/{name}/collect", dependencies=[Depends(require("admin"))])
async def collect(request: Request, name: ModelName) -> Response:
    """Write the reviewed false alarms into a folder of good images, for a new training."""
    service, store = service_of(request), store_of(request)
    model = service.registry.model(name)
    await refuse_in_use(request, f"{UPLOADED}/{_dataset(name)}")
    written = await asyncio.to_thread(_collected, service, store, model)
    return fragment(request, "model_collected.html.j2", folder=_dataset(name), written=written)


@router.get("/{name}/work/{id}")
async def show_work(request: Request, name: ModelName, id: JobId) -> Response:
    """A comparison or an update as it is: at work, or what came of it."""
    job = await job_of(request, id)
    if job.kind not in KINDS_HERE or not is_of(job, name):
        raise ServiceError(404, "no_such_job", f"there is no such job {id} of {name}")
    return await _work(request, name, job)


async def _work(request: Request, name: str, job: Job) -> Response:
    model = service_of(request).registry.model(name)
    shown: dict[str, Any] = {}
    if job.state == "done":
        result = job.result
        versions = result.get("versions") or [result["before"], result["after"]]
        shown["comparison"] = comparison_of({**result, "versions": versions})
        shown["versions"], shown["result"] = versions, result
    return fragment(request, "model_work.html.j2", job=job, model=model, **shown)


def _queued_update(
    service: Service, store: Store, model: Model, images: list[dict[str, Any]], *, calibrate: bool
) -> int:
    """The number of the job that updates the version that answers with some images."""
    parameters = {
        "model": model.name,
        "version": described_version(model.versions[model.active]),
        "images": images,
        "calibrate": calibrate,
        "reviewed": described_images(_reviewed(store, model.name)),
        "work": str((service.settings.output / "jobs" / f"update-{model.name}").absolute()),
        **described_service(service),
    }
    return store.jobs.add("update", parameters)


def _reviewed(store: Store, name: str) -> list[Any]:
    return store.find(Filter(model=name, review="any"), limit=_MOST_REVIEWED)


def _version(model: Model, id: str) -> Version:
    if id not in model.versions:
        raise ServiceError(404, "no_such_version", f"the model {model.name} has no version {id}")
    return model.versions[id]


def _dataset(name: str) -> str:
    return f"{name[:50]}-false-alarms"  # a name that Train takes too


def _collected(service: Service, store: Store, model: Model) -> int:
    images = update_offer(store, model).images
    return service.sources.uploaded.fill(_dataset(model.name), partial(write_images, images, store.blobs))
