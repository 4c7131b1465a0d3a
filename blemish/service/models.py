"""Our own routes: the models, their versions, and images judged by them."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from blemish.errors import BlemishError, ModelError
from blemish.pipeline import Result
from blemish.service.bodies import read_body, read_files
from blemish.service.core import Service, service_of
from blemish.service.errors import ServiceError, without_verdict
from blemish.service.judging import Judged
from blemish.service.parts import Named, parts_of
from blemish.service.pictures import heat_map_png
from blemish.service.registry import Model, Version
from blemish.service.schemas import ModelList, ModelModel, Results, VersionModel, refusals
from blemish.service.settings import NAME
from blemish.service.tokens import require

router = APIRouter(prefix="/v1/models", tags=["models"])
admin_router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[Depends(require("admin"))])

LEAST_RATE, LARGEST_RATE = 1e-6, 0.5

_Value = TypeVar("_Value")

log = logging.getLogger("blemish.service")

ModelName = Annotated[str, Path(description="a model's name", pattern=f"^{NAME}$")]
VersionId = Annotated[str, Path(description="a version", pattern="^[0-9a-f]{12}$")]

_IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
        },
    }
}
_ZIP_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class _Change(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Activation(_Change):
    """Which version is to answer."""

    version: Annotated[str, Field(pattern="^[0-9a-f]{12}$")]


class RateChange(_Change):
    """At which false-alarm rate the active version is to decide; null for the model's own."""

    false_alarm_rate: Annotated[float, Field(ge=LEAST_RATE, le=LARGEST_RATE)] | None
    version: Annotated[str | None, Field(description="refuse unless it answers", pattern="^[0-9a-f]{12}$")] = None


class Renaming(_Change):
    """What the model is to be called."""

    name: Annotated[str, Field(pattern=f"^{NAME}$")]


@router.get("", dependencies=[Depends(require("viewer"))], responses=refusals(), summary="All models")
async def list_models(request: Request) -> ModelList:
    """Names, versions and thresholds."""
    return ModelList(models=[_model(model) for model in service_of(request).registry.models()])


@router.get("/{name}", dependencies=[Depends(require("viewer"))], responses=refusals(422), summary="One model")
async def get_model(request: Request, name: ModelName) -> ModelModel:
    """Its versions and which of them answers."""
    return _model(service_of(request).registry.model(name))


@router.post(
    "/{name}/predict",
    dependencies=[Depends(require("operator"))],
    response_model=Results,
    responses={
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        **refusals(400, 408, 413, 415, 422, 500, 503),
    },
    openapi_extra=_IMAGE_BODY,
    summary="Judge images",
)
async def predict(
    request: Request,
    name: ModelName,
    version: Annotated[str | None, Query(description="instead of the active one", pattern="^[0-9a-f]{12}$")] = None,
    source: Annotated[
        str | None, Query(description="where the images come from, for the record", max_length=200)
    ] = None,
    mask: Annotated[bool, Query(description="with the mask, run-length encoded, as `pred`")] = False,
    *,
    part: Annotated[
        str | None, Query(description="the part that the images show", min_length=1, max_length=200)
    ] = None,
    part_images: Annotated[
        int | None, Query(description="images that show it, in all requests; else as in the calibration", ge=1, le=1000)
    ] = None,
    part_complete: Annotated[bool, Query(description="these are the last images of the part")] = False,
) -> Response:
    """The body is one image file, or a multipart form with one or many.

    With `Accept: image/png`, the answer is the heat map of the one image. Where no image gets a verdict, the status is
    400 if the first cannot be read, and 500 if the model gives no finite numbers for it. Where some get one, the
    others' results have an `error`. With `part`, or where the model's pattern finds parts in the names of files,
    `parts` has a verdict of each.
    """
    if part is not None and not (part.strip() and part.isprintable()):
        raise ServiceError(
            422,
            "invalid_request",
            "part is blank or has signs that cannot be printed; name it as a person would read it",
        )
    if part is None and (part_images is not None or part_complete):
        raise ServiceError(
            422, "invalid_request", "part_images and part_complete say something of a part: name it by part"
        )
    service = service_of(request)
    files = await read_files(request, service.settings.max_images)
    wants_picture = "image/png" in request.headers.get("accept", "")
    with service.registry.lease(name, version) as (found, leased):
        pictures = await service.listed(files, source)
        most = 1 if wants_picture else service.settings.max_images
        if len(pictures) > most:
            raise ServiceError(400, "too_many_images", f"the request holds more images than {most}")
        named = None if part is None else Named(part, source, part_images, part_complete)
        with service.admitted(len(pictures)):
            pictures = await service.with_parts(found, leased, pictures, named)
            if wants_picture:
                drawn = await service.judge(found, leased, pictures[0], _picture)
                return Response(drawn.answer, media_type="image/png")
            judged = await service.judge_all(found, leased, pictures, partial(_record, mask=mask))
    return _results(judged, [one.record() for one in parts_of(pictures)])


@admin_router.post(
    "/{name}/versions",
    status_code=201,
    response_model=ModelModel,
    responses=refusals(400, 408, 413, 422, 503),
    openapi_extra=_ZIP_BODY,
    summary="Upload a version",
)
async def upload(
    request: Request,
    name: ModelName,
    activate: Annotated[bool, Query(description="let it answer at once")] = False,
) -> Response:
    """The body is a zip file of a model folder. It is verified like any model folder, and nothing in it is executed."""
    service = service_of(request)
    await service.change(_add, service, name, await read_body(request), activate)
    return JSONResponse(_model(service.registry.model(name)).model_dump(), 201)


@admin_router.post("/{name}/active", responses=refusals(422), summary="Switch the version")
async def activate(request: Request, name: ModelName, wanted: Activation) -> ModelModel:
    """From the next request on, that version answers; those that are being judged end with the one they began with."""
    service = service_of(request)
    await service.change(_changed, service, service.registry.activate, name, wanted.version)
    return _model(service.registry.model(name))


@admin_router.post("/{name}/threshold", responses=refusals(409, 422), summary="Set the false-alarm rate")
async def set_rate(request: Request, name: ModelName, wanted: RateChange) -> ModelModel:
    """From the next request on, the active version decides at that rate; it lasts through a restart."""
    service = service_of(request)
    change = partial(service.registry.set_rate, version=wanted.version)
    await service.change(_changed, service, change, name, wanted.false_alarm_rate)
    return _model(service.registry.model(name))


@admin_router.post("/{name}/rename", responses=refusals(409, 422), summary="Rename a model")
async def rename(request: Request, name: ModelName, wanted: Renaming) -> ModelModel:
    """Requests that are being judged are not touched."""
    service = service_of(request)
    await service.change(_changed, service, service.registry.rename, name, wanted.name)
    await service.change(service.drift.rename, name, wanted.name)
    return _model(service.registry.model(wanted.name))


@admin_router.delete("/{name}", status_code=204, responses=refusals(422), summary="Unload a model")
async def unload(request: Request, name: ModelName) -> Response:
    """With all versions, after what they are judging is answered."""
    service = service_of(request)
    await service.change(_remove, service, name, None)
    await service.change(service.drift.forget, name)
    return Response(status_code=204)


@admin_router.delete(
    "/{name}/versions/{version}", status_code=204, responses=refusals(409, 422), summary="Unload a version"
)
async def unload_version(request: Request, name: ModelName, version: VersionId) -> Response:
    """One that does not answer."""
    service = service_of(request)
    await service.change(_remove, service, name, version)
    return Response(status_code=204)


def _add(service: Service, name: str, data: bytes, activate: bool) -> None:
    """Keep and load an upload; a folder that cannot be loaded is not kept."""
    try:
        folder = service.shelf.keep(data)
    except ModelError as error:
        raise ServiceError(400, "bad_model", str(error)) from error
    put_to_use(service, name, folder, activate)


def put_to_use(service: Service, name: str, folder: pathlib.Path, activate: bool) -> Version:
    """Load a folder of the shelf's as a version; one that cannot be loaded is not kept. With the models' changes."""
    try:
        version = service.registry.add(name, folder, activate)
    except BlemishError as error:
        log.warning("a new version of %s cannot be loaded: %s", name, error)
        _discard(service, [folder])
        reason = str(error).replace(f"model folder {folder}", "the upload").replace(str(folder), "the upload")
        raise ServiceError(400, "bad_model", f"the model cannot be loaded on this machine: {reason}") from error
    service.shelf.save(service.registry.models())
    return version


def _changed(service: Service, change: Callable[[str, _Value], None], name: str, value: _Value) -> None:
    change(name, value)
    service.shelf.save(service.registry.models())


def _remove(service: Service, name: str, version: str | None) -> None:
    """Uploaded folders go too."""
    gone = service.registry.remove(name, version)
    service.shelf.save(service.registry.models())
    _discard(service, [one.folder for one in gone])


def _discard(service: Service, folders: Sequence[pathlib.Path]) -> None:
    """Remove folders of the shelf's, unless another name has the same model."""
    kept = {one.folder for model in service.registry.models() for one in model.versions.values()}
    service.shelf.discard([folder for folder in folders if folder not in kept])


def _picture(result: Result) -> bytes:
    if result.error is not None:
        raise without_verdict(result)
    return heat_map_png(result)


def _record(result: Result, mask: bool) -> tuple[dict[str, Any], Exception | None]:
    """What is answered, and what is raised where no image of the request has a verdict."""
    return result.to_dict(mask), None if result.error is None else without_verdict(result)


def _results(judged: list[Judged[tuple[dict[str, Any], Exception | None]]], parts: list[dict[str, Any]]) -> Response:
    failures = [failure for _, failure in (one.answer for one in judged) if failure is not None]
    if failures and len(failures) == len(judged):
        raise failures[0]
    results = [one.answer[0] | {"inspection": one.number} for one in judged]
    return JSONResponse({"results": results, "parts": parts})


def _model(model: Model) -> ModelModel:
    versions = [_version(one, one.id == model.active) for one in model.versions.values()]
    return ModelModel(name=model.name, active=model.active, versions=versions)


def _version(version: Version, active: bool) -> VersionModel:
    predictor = version.predictor
    info = predictor.model.info
    return VersionModel(
        version=version.id,
        active=active,
        detector=info.detector.name,
        input_size=list(predictor.frame.tiling.size),
        threshold=version.limit.score,
        false_alarm_rate=version.limit.rate,
        supported_rate=version.limit.supported_rate,
        is_calibrated=predictor.calibration.is_calibrated,
        images=info.data.images,
        created=info.created,
        loaded=version.loaded.isoformat(timespec="seconds"),
        users=version.users,
    )
