"""Train: good images in, what is wrong with them, a training as it goes, and a new version of a model."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass
from pathlib import Path as Folder
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from blemish.backbones.timm_networks import missing_packages
from blemish.config import load_config
from blemish.datasets.words import role
from blemish.detectors import list_models
from blemish.detectors.base import ModelCard
from blemish.errors import BlemishError, ImageError
from blemish.service.bodies import read_body
from blemish.service.core import Service, service_of, store_of
from blemish.service.datasets import Source, Taken
from blemish.service.datasets.zips import SIGNATURE, read_image_zip
from blemish.service.errors import ServiceError
from blemish.service.jobs.data import described
from blemish.service.jobs.train import configure
from blemish.service.pages.jobs import JobId, job_of
from blemish.service.pages.shell import fragment, page
from blemish.service.pictures import small_jpeg
from blemish.service.settings import NAME
from blemish.service.tokens import require
from blemish.store import Job, Jobs, Store
from blemish.store.jobs import OPEN

router = APIRouter(prefix="/train", include_in_schema=False)

_SHOWN, _SEARCHED = 30, 400  # jobs
_MOST_OPEN = 20
_MOST_TOLD = 20  # files that are refused, by name
_ADMIN = [Depends(require("admin"))]

Key = Annotated[str, Query(max_length=500)]
Name = Annotated[str, Path(pattern=f"^{NAME}$")]
FileName = Annotated[str, Field(min_length=1, max_length=1000)]


@dataclass(frozen=True)
class _Offer:
    """A detector that can be chosen here, and how long it takes."""

    card: ModelCard
    time: str


@dataclass
class _Count:
    """What became of the files of one upload."""

    added: int = 0
    known: int = 0
    refused: int = 0


class _Wanted(BaseModel):
    """A training as the form asks for it: `rate` in percent, an override a line."""

    model_config = ConfigDict(extra="forbid")

    data: Annotated[str, Field(max_length=500)]
    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    detector: Annotated[str, Field(max_length=100)]
    preset: Literal["fast", "balanced", "accurate"]
    rate: Annotated[float, Field(gt=0, le=50, allow_inf_nan=False)]
    overrides: Annotated[str, Field(max_length=4000)] = ""


@router.get("")
async def show(request: Request, data: Annotated[str | None, Query(max_length=500)] = None) -> Response:
    """The page: which images there are, those chosen, and the trainings."""
    service, store = service_of(request), store_of(request)
    chosen = None if data is None else await asyncio.to_thread(service.sources.find, data)
    context = await asyncio.to_thread(_context, service, store, chosen)
    return page(request, "train.html.j2", chosen=chosen, **context)


@router.get("/thumbnail")
async def thumbnail(request: Request, data: Key, file: Annotated[str, Query(max_length=1000)]) -> Response:
    """A small picture of an image in a folder."""
    service = service_of(request)
    source = await asyncio.to_thread(service.sources.find, data)
    content = await asyncio.to_thread(_content, source.file(file), service.settings.limits.max_bytes)
    picture = (await service.in_pool(service.pictures, content, PurePosixPath(file).name, None))[0]
    async with service.memory.hold(picture.cost):
        small = await service.in_pool(lambda: small_jpeg(picture.ref.read()))
    return Response(small, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})


@router.post("/data/{name}/images", dependencies=_ADMIN)
async def upload(request: Request, name: Name, source: Annotated[str, Query(max_length=1000)] = "image") -> Response:
    """Keep the image in the body, or the images of a zip file; answers how many are new, known already and refused."""
    service = service_of(request)
    await refuse_in_use(request, f"uploaded/{name}")
    body = await read_body(request)
    count, told, learned = _Count(), [], ""
    if not body.startswith(SIGNATURE):
        _refuse_by_folder(source)
        await _keep(service, name, source, body, count)
    else:
        learned, images = await asyncio.to_thread(read_image_zip, body, service.settings.limits.max_bytes)
        while (found := await asyncio.to_thread(next, images, None)) is not None:
            try:
                await _keep(service, name, *found, count)
            except ImageError as error:
                count.refused += 1
                told.append(str(error))
        if told and not count.added + count.known:
            raise ImageError(told[0])
    told = [learned] * ("left out" in learned) + told[:_MOST_TOLD]
    answer = {"added": count.added, "known": count.known, "refused": count.refused, "told": told}
    return JSONResponse(answer)


@router.post("/data/{name}/remove", dependencies=_ADMIN)
async def remove(request: Request, name: Name, file: Annotated[str | None, Query(max_length=1000)] = None) -> Response:
    """Remove one uploaded image, or all of them."""
    service, key = service_of(request), f"uploaded/{name}"
    source = await asyncio.to_thread(service.sources.find, key)
    await refuse_in_use(request, key)
    if file is not None:
        await asyncio.to_thread(service.sources.uploaded.remove_image, name, source.file(file))
        return Response("")
    await asyncio.to_thread(service.sources.uploaded.remove, name)
    return Response(status_code=204, headers={"HX-Redirect": "/train"})


@router.post("/check", dependencies=_ADMIN)
async def check(request: Request, data: Key) -> Response:
    """Look for what is wrong with the images; answers the card of the work."""
    source = await asyncio.to_thread(service_of(request).sources.find, data)
    job = await asyncio.to_thread(_queued, store_of(request).jobs, "check", described(source))
    return fragment(request, "job.html.j2", job=job)


@router.post("/start", dependencies=_ADMIN)
async def start(request: Request, wanted: Annotated[_Wanted, Form()]) -> Response:
    """Queue a training; answers its card, or that of an equal one that has not ended yet."""
    service = service_of(request)
    source = await asyncio.to_thread(service.sources.find, wanted.data)
    if wanted.detector not in {offer.card.name for offer in _offers()}:
        raise ServiceError(400, "no_such_detector", f"the detector {wanted.detector} cannot be trained here")
    parameters = {
        **described(source),
        "name": wanted.name,
        "detector": wanted.detector,
        "preset": wanted.preset,
        "rate": wanted.rate / 100,
        "device": service.settings.device,
        "overrides": [line.strip() for line in wanted.overrides.splitlines() if line.strip()],
        "output": _new_output(service),
    }
    try:
        await asyncio.to_thread(configure, parameters)
    except BlemishError as error:
        raise ServiceError(400, "bad_setting", str(error)) from error
    job, is_new = await service.change(_queued_once, store_of(request).jobs, parameters)  # one after the other
    return fragment(request, "job.html.j2", job=job, is_again=not is_new)


@router.post("/{id}/again", dependencies=_ADMIN)
async def train_again(request: Request, id: JobId, leave_out: Annotated[list[FileName], Form()]) -> Response:
    """Queue the same training without some of the images that stood apart in it; answers its card."""
    service, job = service_of(request), await job_of(request, id)
    found = [one["name"] for one in (job.result or {}).get("outliers", ())] if job.kind == "train" else []
    unknown = [name for name in leave_out if name not in found]
    if unknown:
        raise ServiceError(409, "not_apart", f"{unknown[0]} did not stand apart in this training")
    source = await asyncio.to_thread(service.sources.find, job.parameters["key"])
    names = dict.fromkeys([*job.parameters.get("leave_out", ()), *leave_out])
    # one that was removed meanwhile is left out already
    there = [name for name in names if (source.folder / name).is_file() or name.endswith("]")]
    parameters = {**job.parameters, **described(source), "leave_out": there, "output": _new_output(service)}
    again, is_new = await service.change(_queued_once, store_of(request).jobs, parameters)
    return fragment(request, "job.html.j2", job=again, is_again=not is_new)


def _new_output(service: Service) -> str:
    """A folder for a training."""
    return str(service.settings.output.resolve() / "trainings" / secrets.token_hex(6))


def _context(service: Service, store: Store, chosen: Source | None) -> dict[str, Any]:
    jobs = store.jobs.list(limit=_SEARCHED, kinds=("check", "train"))  # the results of others are large
    sources, uploaded = service.sources.all(), service.sources.uploaded
    names = [model.name for model in service.registry.models()]
    return {
        "sources": sources,
        "counts": {source.key: uploaded.count(source.name) for source in sources if source.is_uploaded},
        "has_roots": bool(service.settings.data_roots),
        "largest": service.settings.max_body >> 20,
        "checked": None if chosen is None else _checked(jobs, chosen),
        "trainings": [job for job in jobs if job.kind == "train"][:_SHOWN],
        "offers": _offers(),
        "missing": [card for card in list_models() if card.requires and not _is_offered(card)],
        "names": names,
        "suggested": None if chosen is None else _suggested(chosen),
        "rate": 100 * load_config(None).Calibrate.false_alarm_rate,
    }


def _checked(jobs: list[Job], source: Source) -> dict[str, Any] | None:
    """The newest check of these images, and whether some came or went since."""
    found = (job for job in jobs if job.kind == "check" and job.parameters.get("key") == source.key)
    job = next((job for job in found if job.state != "cancelled"), None)
    if job is None:
        return None
    is_old = source.is_uploaded and source.folder.stat().st_mtime > job.created.timestamp()
    return {"job": job, "is_old": is_old and not job.is_open}


def _suggested(source: Source) -> str:
    """A name for the model, after the folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", PurePosixPath(source.name).name).strip("-._")[:64] or "model"


def _offers() -> list[_Offer]:
    return [
        _Offer(card, "minutes on a GPU, minutes to hours on a CPU" if card.requires else "seconds to minutes on a CPU")
        for card in sorted(list_models(), key=lambda card: bool(card.requires))
        if _is_offered(card)
    ]


def _is_offered(card: ModelCard) -> bool:
    return not card.requires or not missing_packages()


def _content(path: Folder, most: int) -> bytes:
    try:
        if path.stat().st_size > most:
            raise ServiceError(404, "no_such_image", "the image is too large for a small picture")
        return path.read_bytes()
    except OSError as error:
        raise ServiceError(404, "no_such_image", "there is no such image") from error


def _refuse_by_folder(source: str) -> None:
    """`ImageError` for an image that came with its path, where a folder on the way leaves doubt that it is good."""
    *folders, file = source.replace("\\", "/").split("/")
    roles = {name: role(name) for name in folders}
    is_good = any(found.good for found in roles.values())
    for name, found in roles.items():
        if found.bad or found.mask or (not is_good and (found.unsure or found.split in ("val", "test"))):
            raise ImageError(f"{file}: lies in a folder called {name}; only images of good parts are learned from")


async def _keep(service: Service, name: str, file: str, data: bytes, count: _Count) -> None:
    plain = file.replace("\\", "/").rpartition("/")[2] or "image"
    cost = (await asyncio.to_thread(service.pictures, data, plain, None))[0].cost
    async with service.memory.hold(cost):
        taken = await asyncio.to_thread(service.sources.uploaded.add, name, plain, data, service.settings.limits)
    count.added += taken is Taken.NEW
    count.known += taken is Taken.KNOWN


def _queued(jobs: Jobs, kind: str, parameters: dict[str, Any]) -> Job:
    if len(_open_jobs(jobs)) >= _MOST_OPEN:
        raise ServiceError(409, "too_many_jobs", "too much work waits already; cancel some of it, or come back later")
    job = jobs.get(jobs.add(kind, parameters))
    assert job is not None
    return job


def _queued_once(jobs: Jobs, parameters: dict[str, Any]) -> tuple[Job, bool]:
    """The training that these ask for, and whether it is new: an equal one that waits or runs is the same."""
    for job in _open_jobs(jobs, "train"):
        if {**job.parameters, "output": ""} == {**parameters, "output": ""}:
            return job, False
    return _queued(jobs, "train", parameters), True


async def refuse_in_use(request: Request, key: str) -> None:
    """409 while a training learns from a folder: interrupted, it goes on with the very images that it began with."""
    jobs = await asyncio.to_thread(_open_jobs, store_of(request).jobs, "train")
    if any(job.parameters.get("key") == key for job in jobs):
        raise ServiceError(409, "in_use", "a training learns from these images; wait for its end, or cancel it")


def _open_jobs(jobs: Jobs, *kinds: str) -> list[Job]:
    return [job for state in OPEN for job in jobs.list(state, _SEARCHED, kinds=kinds)]
