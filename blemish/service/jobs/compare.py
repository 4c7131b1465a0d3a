"""Two versions of a model on stored images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blemish.errors import UsageError
from blemish.service.jobs.kinds import Tell
from blemish.service.jobs.stored import judged, limit_of, opened, without_paths
from blemish.store import Blobs


def run(parameters: Any, tell: Tell) -> dict[str, Any]:
    """Judge the `images` of the `parameters` with both `versions`."""
    versions = parameters["versions"]
    with without_paths(*(version["folder"] for version in versions)):
        predictors = [opened(version, parameters) for version in versions]
        images, left_out = judged(predictors, parameters["images"], Blobs(Path(parameters["blobs"])), tell)
    if not images:
        raise UsageError("none of the stored images can be read any more")
    stated = [{"id": one["id"], **limit_of(each)} for one, each in zip(versions, predictors, strict=True)]
    return {"versions": stated, "images": images, "left_out": left_out}
