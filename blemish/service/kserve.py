"""The open inference protocol, version 2 (KServe, Triton and others), with its binary extension.

The input is `image`: UINT8 [N, H, W, 3], RGB of any size, or BYTES [N], image files. The outputs are of the original
images, not of what the network sees.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from blemish import __version__
from blemish.images import ImageRef
from blemish.pipeline import Result
from blemish.sample_range import SampleRange
from blemish.service.bodies import read_body
from blemish.service.core import BYTES_PER_PIXEL, Picture, Service, service_of
from blemish.service.errors import ServiceError, without_verdict
from blemish.service.models import ModelName
from blemish.service.schemas import body_of
from blemish.service.tensors import bad_tensor, binary_size, read_pixels, read_strings, split_body, write_tensor
from blemish.service.tokens import require

_LENGTH = "Inference-Header-Content-Length"
# name -> (datatype, dtype, whether one value an image)
_OUTPUTS: dict[str, tuple[str, type[np.generic], bool]] = {
    "score": ("FP32", np.float32, True),
    "p_value": ("FP32", np.float32, True),
    "threshold": ("FP32", np.float32, True),
    "is_anomalous": ("BOOL", np.bool_, True),
    "anomaly_map": ("FP32", np.float32, False),
    "mask": ("UINT8", np.uint8, False),
}
_USUAL = ("score", "p_value", "threshold", "is_anomalous", "anomaly_map")

health_router = APIRouter(prefix="/v2", tags=["KServe"])
router = APIRouter(prefix="/v2", tags=["KServe"])

VersionId = Annotated[str, Path(description="a version", pattern="^[0-9a-f]{12}$")]


class KserveError(BaseModel):
    """Every refusal of these routes."""

    error: str


class Live(BaseModel):
    """Whether requests are answered."""

    live: bool


class Ready(BaseModel):
    """Whether inference is possible."""

    ready: bool


class ModelReady(Ready):
    """The same of one model."""

    name: str


class ServerMetadata(BaseModel):
    """What answers here."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """A tensor; -1 is a size that varies."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model, its versions and tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Tensor(BaseModel):
    """A tensor with its values, in `data` or behind the JSON."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class WantedOutput(BaseModel):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """An inference request."""

    id: str | None = None
    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=1)]
    outputs: list[WantedOutput] | None = None
    parameters: dict[str, Any] | None = None


class InferAnswer(BaseModel):
    """What an inference request gets."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[Tensor]


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": KserveError} for status in (401, 403, 404, 422, 429, *statuses)}


@health_router.get("/health/live", summary="KServe: is the process alive?")
async def live() -> Live:
    """200 as long as requests are answered."""
    return Live(live=True)


@health_router.get("/health/ready", summary="KServe: can images be judged?", responses={503: {"model": KserveError}})
async def ready(request: Request) -> Ready:
    """200 when a model is loaded."""
    if not service_of(request).registry.names():
        raise ServiceError(503, "not_ready", "no model is loaded")
    return Ready(ready=True)


@router.get("", dependencies=[Depends(require("viewer"))], responses=_refusals(), summary="KServe: the server")
async def server() -> ServerMetadata:
    """Name, version, extensions."""
    return ServerMetadata(name="blemish", version=__version__, extensions=["binary_tensor_data"])


@router.get(
    "/models/{name}/ready",
    dependencies=[Depends(require("viewer"))],
    responses=_refusals(),
    summary="KServe: is a model ready?",
)
@router.get(
    "/models/{name}/versions/{version}/ready",
    dependencies=[Depends(require("viewer"))],
    responses=_refusals(),
    summary="KServe: is a version ready?",
)
async def model_ready(request: Request, name: ModelName, version: str | None = None) -> ModelReady:
    """200 when it can judge; 404 when it is not loaded."""
    with service_of(request).registry.lease(name, version):
        return ModelReady(name=name, ready=True)


@router.get(
    "/models/{name}", dependencies=[Depends(require("viewer"))], responses=_refusals(), summary="KServe: a model"
)
@router.get(
    "/models/{name}/versions/{version}",
    dependencies=[Depends(require("viewer"))],
    responses=_refusals(),
    summary="KServe: a version",
)
async def model(request: Request, name: ModelName, version: str | None = None) -> ModelMetadata:
    """Its versions, input and outputs."""
    registry = service_of(request).registry
    with registry.lease(name, version):
        outputs = [
            TensorMetadata(name=output, datatype=datatype, shape=[-1] if single else [-1, -1, -1])
            for output, (datatype, _, single) in _OUTPUTS.items()
        ]
        image = TensorMetadata(name="image", datatype="UINT8", shape=[-1, -1, -1, 3])
        return ModelMetadata(
            name=name, versions=list(registry.model(name).versions), platform="blemish", inputs=[image], outputs=outputs
        )


_INFER: dict[str, Any] = {
    "dependencies": [Depends(require("operator"))],
    "response_model": InferAnswer,
    "responses": {
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        **_refusals(400, 408, 413, 500, 503),
    },
    "openapi_extra": body_of(InferRequest),
}


@router.post("/models/{name}/infer", summary="KServe: judge images", **_INFER)
@router.post("/models/{name}/versions/{version}/infer", summary="KServe: judge images by a version", **_INFER)
async def infer(request: Request, name: ModelName, version: str | None = None) -> Response:
    """Outputs that are not asked for by name are score, p_value, threshold, is_anomalous and anomaly_map."""
    service = service_of(request)
    body = await read_body(request)
    content, pictures = await service.in_pool(_parse, service, body, request.headers.get(_LENGTH))
    wanted = _wanted(content)
    with service.admitted(len(pictures)), service.registry.lease(name, version) as (found, leased):
        judged = await service.judge_all(found, leased, pictures, partial(_values, names=list(wanted)))
        head = {"model_name": found, "model_version": leased.id}
    if isinstance(content.get("id"), str):
        head["id"] = content["id"]
    return await service.in_pool(_answer, head, wanted, [one.answer for one in judged])


def _parse(service: Service, body: bytes, header_length: str | None) -> tuple[dict[str, Any], list[Picture]]:
    """The JSON part, and the images."""
    content, rest = split_body(body, header_length)
    inputs = content.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise bad_tensor("there must be one input, `image`")
    tensor, most = inputs[0], service.settings.max_images
    size = binary_size(tensor, rest)
    if tensor.get("name") != "image" or tensor.get("datatype") not in ("UINT8", "BYTES"):
        raise bad_tensor("the input must be `image`, UINT8 [N, H, W, 3] or BYTES [N]")
    data = None if size is None else rest[:size]
    if tensor["datatype"] == "BYTES":
        files = read_strings(tensor, data)
        pictures = [service.pictures(file, f"image {i}", None)[0] for i, file in enumerate(files[: most + 1])]
    else:
        pictures = _arrays(service, read_pixels(tensor, data))
    if len(pictures) > most:
        raise bad_tensor(f"the request holds more than {most} images")
    return content, pictures


def _arrays(service: Service, pixels: npt.NDArray[np.uint8]) -> list[Picture]:
    if pixels.ndim != 4 or pixels.shape[3] != 3:
        raise bad_tensor(f"the image tensor is [N, H, W, 3], not {list(pixels.shape)}")
    size = pixels.shape[1] * pixels.shape[2]
    if size > service.settings.max_pixels:
        raise bad_tensor(f"an image of {size} pixels is larger than the limit of {service.settings.max_pixels}")
    return [
        Picture(ImageRef(None, None, PurePosixPath(f"image_{i}.png"), partial(_same, image)), BYTES_PER_PIXEL * size)
        for i, image in enumerate(pixels)  # (H, W, 3)
    ]


def _same(image: npt.NDArray[np.uint8], _bit_depth: SampleRange) -> npt.NDArray[np.uint8]:
    return image


def _wanted(content: dict[str, Any]) -> dict[str, bool]:
    """The outputs by name, and whether each goes behind the JSON."""
    usual = _is_set(content, "binary_data_output")
    outputs = content.get("outputs")
    if outputs is None or outputs == []:
        return dict.fromkeys(_USUAL, usual)
    if not isinstance(outputs, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) and one["name"] in _OUTPUTS for one in outputs
    ):
        raise bad_tensor(f"outputs are {', '.join(_OUTPUTS)}")
    return {one["name"]: _is_set(one, "binary_data", usual) for one in outputs}


def _is_set(record: dict[str, Any], key: str, otherwise: bool = False) -> bool:
    parameters = record.get("parameters")
    return bool(parameters.get(key, otherwise)) if isinstance(parameters, dict) else otherwise


def _values(result: Result, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """One image's part of every wanted output."""
    if result.error is not None:
        raise without_verdict(result)
    known: dict[str, Any] = {
        "score": result.score,
        "p_value": np.nan if result.p_value is None else result.p_value,
        "threshold": result.threshold,
        "is_anomalous": result.is_anomalous,
    }
    maps = {"anomaly_map": "anomaly_map", "mask": "pred"}
    return {
        name: np.asarray(getattr(result, maps[name]) if name in maps else known[name], _OUTPUTS[name][1])
        for name in names
    }


def _answer(head: dict[str, Any], wanted: dict[str, bool], values: Sequence[dict[str, npt.NDArray[Any]]]) -> Response:
    records, parts = [], []
    for name, binary in wanted.items():
        own = [value[name] for value in values]
        if len({value.shape for value in own}) > 1:
            raise bad_tensor(f"images of several sizes have no common {name}; name the outputs without it")
        if name == "mask":
            own = [value // 255 for value in own]
        record, data = write_tensor(name, np.stack(own), _OUTPUTS[name][0], binary)  # (N,) or (N, H, W)
        records.append(record)
        parts.append(data)
    text = json.dumps({**head, "outputs": records}).encode()
    if not any(wanted.values()):
        return Response(text, media_type="application/json")
    return Response(b"".join([text, *parts]), media_type="application/octet-stream", headers={_LENGTH: str(len(text))})
