"""What several routes answer, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field


class ErrorText(BaseModel):
    """`code` is for programs, `message` for people."""

    code: str
    message: str


class ErrorAnswer(BaseModel):
    """Every refusal of our own routes."""

    error: ErrorText


class RegionModel(BaseModel):
    """One connected place above the pixel threshold; `box` is [x, y, width, height]."""

    box: Annotated[list[int], Field(min_length=4, max_length=4)]
    area: int
    share: float
    peak: float
    centroid: Annotated[list[float], Field(min_length=2, max_length=2)]


class ResultModel(BaseModel):
    """One image, in the fields of `blemish predict --json`; of one without a verdict only `error` says something."""

    input_path: str | None
    page_index: int | None
    part: str | None
    score: float | None
    p_value: float | None = Field(description="null where the model is not calibrated")
    threshold: float | None
    is_anomalous: bool | None
    label: str | None
    false_alarm_rate: float | None = Field(description="null where the threshold stands for none")
    supported_rate: float | None = Field(description="the rate that the good images support, which may be larger")
    pixel_threshold: float | None
    model_name: str | None
    size: list[int] | None
    regions: list[RegionModel]
    pred: dict[str, Any] | None = Field(default=None, description="COCO run-length encoding; only where asked for")
    timings: dict[str, float]
    error: str | None
    inspection: int | None = Field(description="its number in the store; null where it is not kept")


class PartModel(BaseModel):
    """What the images of a part show so far; while some are missing, `is_anomalous` is true or null."""

    part: str
    images: int = Field(description="images of it that were judged")
    images_per_part: Annotated[list[int], Field(min_length=2, max_length=2, description="[least, most] in calibration")]
    score: float | None = Field(description="the largest of its images")
    p_value: float | None = Field(description="null where the model is not calibrated")
    threshold: float | None
    is_anomalous: bool | None
    label: str | None
    false_alarm_rate: float | None
    supported_rate: float | None = Field(description="the rate that the good images support, which may be larger")
    error: str | None
    expected: int = Field(description="images that show it")
    complete: bool = Field(description="whether all of them were judged")


class Results(BaseModel):
    """The images of a request, in its order; a file with several pages gives several."""

    results: list[ResultModel]
    parts: list[PartModel] = Field(description="the parts that they show, where that is known")


class VersionModel(BaseModel):
    """A loaded version; `users` are the requests that it works for."""

    version: str
    active: bool
    detector: str
    input_size: Annotated[list[int], Field(min_length=2, max_length=2, description="[width, height]")]
    threshold: float
    false_alarm_rate: float | None = Field(description="null where the model is not calibrated")
    supported_rate: float | None = Field(description="the rate that the good images support, which may be larger")
    is_calibrated: bool = Field(description="whether images of two parts or more set the threshold")
    images: int = Field(description="good images that it has learned from")
    created: str
    loaded: str
    users: int


class ModelModel(BaseModel):
    """A served model."""

    name: str
    active: str = Field(description="the version that answers")
    versions: list[VersionModel]


class ModelList(BaseModel):
    """All of them; the first answers PaddleX's route."""

    models: list[ModelModel]


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's description of a JSON body that the route reads itself."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of our refusals."""
    return {status: {"model": ErrorAnswer} for status in (401, 403, 404, 429, *statuses)}
