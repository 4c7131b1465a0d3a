"""Stored images for work in a child process: which, as JSON, and what models say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.errors import BlemishError, UsageError
from blemish.images import expand_bytes
from blemish.models import short_hash
from blemish.pipeline import Predictor, Result, open_model
from blemish.service.jobs.kinds import Tell
from blemish.store import Blobs, Inspection

if TYPE_CHECKING:
    from blemish.service.core import Service
    from blemish.service.registry import Version


def described_images(inspections: Iterable[Inspection]) -> list[dict[str, Any]]:
    """Those with a kept image, each image once, the first time; with the `part` that it shows, None where unknown."""
    inspections = list(inspections)
    seen = Counter(one.part_key for one in inspections)
    found: dict[str, dict[str, Any]] = {}
    for one in inspections:
        if one.image_hash is not None:
            record = {"id": one.id, "image": one.image_hash, "has_thumbnail": one.thumbnail_hash is not None}
            record["part"] = _part(one, seen[one.part_key])
            found.setdefault(one.image_hash, {**record, "review": one.review, "is_defect": is_defect(one)})
    return list(found.values())


def _part(inspection: Inspection, seen: int) -> str | None:
    """What the images of a part have in common, and no others.

    A part of which images lack may have come in several requests, each with a key of its own: then its name counts.
    """
    if inspection.part_key is None:
        return None
    return f"key {inspection.part_key}" if seen >= (inspection.part_images or 1) else f"name {inspection.part}"


def is_defect(inspection: Inspection) -> bool | None:
    """What its review says of the part; None where nobody reviewed it."""
    if inspection.review is None:
        return None
    return inspection.review == "missed_defect" or (inspection.review == "confirmed" and inspection.is_anomalous)


def described_version(version: Version) -> dict[str, Any]:
    """A version with the rate in force."""
    return {"id": version.id, "folder": str(version.folder), "rate": version.limit.rate}


def described_service(service: Service) -> dict[str, Any]:
    """What a child process needs to work as the service does."""
    engine = service.settings.engine
    assert service.store is not None
    return {
        "blobs": str(service.store.blobs.folder),
        "device": service.settings.device,
        "engine": engine if isinstance(engine, str) else None,
    }


def opened(version: dict[str, Any], parameters: Any) -> Predictor:
    """The model of a described version, deciding at its rate; `UsageError` where its folder holds another by now."""
    predictor = open_model(
        version["folder"], parameters["device"], false_alarm_rate=version["rate"], engine=parameters["engine"]
    )
    refuse_other(version["id"], predictor.model.info.version)
    return predictor


def refuse_other(id: str, digest: str) -> None:
    """`UsageError` where the version `digest` is not the one that the service has loaded."""
    if not digest.startswith(id):
        raise UsageError(
            f"the model's folder was changed meanwhile: it holds version {digest[: len(id)]}, and {id} was meant. "
            "Restart the service, or load the new version, and try again"
        )


def judged(
    predictors: Sequence[Predictor], images: Sequence[dict[str, Any]], blobs: Blobs, tell: Tell
) -> tuple[list[dict[str, Any]], int]:
    """Every image with its `scores`, `p_values`, verdicts (`anomalous`) and whether a model has learned from it
    (`learned`), one for each predictor; and how many images are left out, since they are gone, have several pages or
    get no verdict.
    """
    known = [set(predictor.model.info.data.hashes or ()) for predictor in predictors]
    found = []
    for i, image in enumerate(images):
        tell(i / len(images), f"judges image {i + 1} of {len(images)}")
        results = _results(predictors, image["image"], blobs)
        if results is not None:
            found.append(
                {
                    **image,
                    "scores": [result.score for result in results],
                    "p_values": [result.p_value for result in results],
                    "anomalous": [bool(result.is_anomalous) for result in results],
                    "learned": [short_hash(image["image"]) in hashes for hashes in known],
                }
            )
    return found, len(images) - len(found)


def limit_of(predictor: Predictor) -> dict[str, Any]:
    """The threshold and rate of a predictor, the smallest rate that its good images support, and how many they are.

    `least_rate` is None where the predictor is not calibrated.
    """
    limit, calibration = predictor.limit, predictor.calibration
    return {
        "threshold": limit.score,
        "rate": limit.rate,
        "least_rate": calibration.best_rate if calibration.is_calibrated else None,
        "images": predictor.model.info.data.images,
    }


@contextmanager
def without_paths(*folders: str | Path) -> Iterator[None]:
    """Errors of the block name no folder of the server."""
    try:
        yield
    except BlemishError as error:
        text = str(error)
        for folder in sorted(map(str, folders), key=len, reverse=True):
            text = text.replace(f"model folder {folder}", "the model").replace(folder, "the model")
        raise UsageError(text) from error


def _results(predictors: Sequence[Predictor], name: str, blobs: Blobs) -> list[Result] | None:
    """The result of each predictor; None for what is no single readable image."""
    try:
        refs = list(expand_bytes(blobs.get(name), "stored image"))
    except BlemishError:
        return None
    if len(refs) != 1:
        return None
    results = [result for predictor in predictors for result in predictor.predict_refs(refs)]
    return None if any(result.error for result in results) else results
