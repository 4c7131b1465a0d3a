"""PaddleX's two routes, as its documented clients call them; what we know besides stands in the same result."""

from __future__ import annotations

import base64
import binascii
import json
import re
from functools import partial
from typing import Annotated, Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from blemish.pipeline import Result
from blemish.service.bodies import read_body
from blemish.service.core import service_of
from blemish.service.errors import ServiceError, without_verdict
from blemish.service.pictures import overlay_jpeg
from blemish.service.schemas import RegionModel, body_of
from blemish.service.tokens import require

health_router = APIRouter(tags=["PaddleX"])
router = APIRouter(tags=["PaddleX"])

_URL = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)  # no letter of Base64 is a colon


class PaddlexRequest(BaseModel):
    """`image` is the Base64 of an image file, or its URL where the service reads URLs. Other keys are ignored."""

    image: str
    visualize: bool | None = Field(default=None, description="null: as the service is set")
    model: str | None = Field(default=None, description="a model's name; the first one without it")
    source: str | None = Field(default=None, description="where the image comes from, for the record", max_length=200)


class PaddlexHealth(BaseModel):
    """The answer of a service that lives."""

    logId: str  # noqa: N815
    errorCode: int  # noqa: N815
    errorMsg: str  # noqa: N815


class PaddlexResult(BaseModel):
    """`labelMap` has a 0 or a 255 for every pixel, row by row, `size` is [height, width], `image` a Base64 JPEG."""

    labelMap: list[int]  # noqa: N815
    size: Annotated[list[int], Field(min_length=2, max_length=2)]
    image: str | None = None
    score: float
    threshold: float
    pValue: float | None = Field(description="null where the model is not calibrated")  # noqa: N815
    isAnomalous: bool  # noqa: N815
    regions: list[RegionModel]


class PaddlexAnswer(PaddlexHealth):
    """What a judged image gets."""

    result: PaddlexResult


@health_router.get("/health", summary="PaddleX: does the service answer?")
async def health() -> PaddlexHealth:
    """As PaddleX answers it."""
    return PaddlexHealth(logId=str(uuid4()), errorCode=0, errorMsg="Healthy")


@router.post(
    "/image-anomaly-detection",
    summary="PaddleX: judge one image",
    dependencies=[Depends(require("operator"))],
    response_model=PaddlexAnswer,
    openapi_extra=body_of(PaddlexRequest),
    responses={status: {"model": PaddlexHealth} for status in (400, 401, 403, 404, 408, 413, 422, 429, 500, 503)},
)
async def image_anomaly_detection(request: Request) -> Response:
    """Mask, score and verdict. A mistake of the client's is a 4xx whose `errorCode` is the status."""
    service = service_of(request)
    asked, data = await service.in_pool(_parse, await read_body(request))
    if data is None:
        data = await service.fetch(asked.image)
    draw = service.settings.visualize if asked.visualize is None else asked.visualize
    picture = (await service.in_pool(service.pictures, data, "image", asked.source))[0]
    with service.admitted(1), service.registry.lease(asked.model) as (name, version):
        judged = await service.judge(name, version, picture, partial(_answer, draw=draw))
    return Response(judged.answer, media_type="application/json")


def _parse(body: bytes) -> tuple[PaddlexRequest, bytes | None]:
    """The request and its image's bytes, None where they are behind a URL."""
    try:
        asked = PaddlexRequest.model_validate_json(body)
    except ValidationError as error:
        told = [
            {"type": one["type"], "loc": ".".join(map(str, one["loc"])), "msg": one["msg"]} for one in error.errors()
        ]
        raise ServiceError(422, "invalid_request", json.dumps(told[:5])) from None
    if _URL.match(asked.image):
        return asked, None
    try:
        return asked, base64.b64decode(asked.image, validate=True)
    except (binascii.Error, ValueError):
        raise ServiceError(400, "bad_base64", "`image` is neither Base64 nor a URL") from None


def _answer(result: Result, draw: bool) -> bytes:
    """The body of the answer."""
    if result.error is not None or result.pred is None:
        raise without_verdict(result)
    known = result.to_dict(mask=False)
    rest: dict[str, Any] = {
        "size": list(result.pred.shape),
        **({"image": base64.b64encode(overlay_jpeg(result)).decode()} if draw else {}),
        "score": known["score"],
        "threshold": known["threshold"],
        "pValue": known["p_value"],
        "isAnomalous": known["is_anomalous"],
        "regions": known["regions"],
    }
    head = {"logId": str(uuid4()), "errorCode": 0, "errorMsg": "Success"}
    front, back = json.dumps(head)[:-1], json.dumps(rest)[1:]
    return b'%s, "result": {"labelMap": [%s], %s}' % (front.encode(), _numbers(result.pred), back.encode())


def _numbers(mask: npt.NDArray[np.uint8]) -> bytes:
    """The mask's values as JSON, of four characters each: a Python list of millions would take seconds."""
    numbers = np.where(mask.ravel() != 0, np.bytes_("255,"), np.bytes_("  0,"))  # (H * W,)
    return bytes(memoryview(numbers.tobytes())[:-1])
