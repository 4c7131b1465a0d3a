"""A new version of a model that has learned inspected images: reviewed false alarms, or all good ones of a period."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.errors import BlemishError, UsageError
from blemish.images import expand_bytes
from blemish.images.kinds import USUAL_SUFFIX, image_format
from blemish.service.errors import ServiceError
from blemish.service.jobs.kinds import Tell
from blemish.service.jobs.stored import judged, limit_of, opened, refuse_other, without_paths
from blemish.store import Blobs
from blemish.updating import UpdateReport, update

if TYPE_CHECKING:
    from blemish.service.core import Service

_FALSE_ALARMS, _PERIOD = "reviewed-false-alarms", "inspected-good-images"  # the names that the model's history gives
_SHARE = 0.6  # of the progress, for the update itself


def run(parameters: Any, tell: Tell) -> dict[str, Any]:
    """Update a copy of the `version` in the folder `work`; judge the `reviewed` images before and after."""

    def later(progress: float | None, message: str, so_far: Any = None) -> None:
        tell(None if progress is None else _SHARE + (1 - _SHARE) * progress, message, so_far)

    old, work, blobs = parameters["version"], Path(parameters["work"]), Blobs(Path(parameters["blobs"]))
    with without_paths(old["folder"], work):
        before = opened(old, parameters)
        report = _updated(parameters, work, blobs, tell)
        new = {"id": "", "folder": str(report.folder), "rate": old["rate"]}
        after = opened(new, parameters)
        reviewed = {one["image"]: one for one in [*parameters["images"], *parameters["reviewed"]]}
        images, left_out = judged([before, after], list(reviewed.values()), blobs, later)
    assert report.record is not None
    return {
        "folder": str(report.folder),
        "before": {"id": old["id"], **limit_of(before)},
        "after": limit_of(after),
        "size": report.record.size,
        "taken": report.record.images,
        "calibrated": report.record.calibrated,
        "outliers": len(report.outliers),
        "alarms_before": sum(
            one["anomalous"][0] for one in images if one["review"] == "false_alarm" and not one["learned"][0]
        ),
        "alarms_after": report.record.false_alarms[1],
        "lines": [line for line in report.lines if " --" not in line],  # advice for the command line is none here
        "images": images,
        "left_out": left_out + len(report.failed),
    }


def finish(service: Service, parameters: Any, result: Any) -> Any:
    """Keep the new version as uploads are kept, loaded and not active."""
    return service.change_and_wait(_taken_in, service, parameters, result)


def clear(parameters: Any) -> None:
    """Remove the images and the copy that the new version was made in."""
    shutil.rmtree(parameters["work"], ignore_errors=True)


def write_images(images: list[dict[str, Any]], blobs: Blobs, folder: Path) -> int:
    """Write stored images into a new folder, named by their inspections; returns how many could be read.

    Files with several pages are left out: the review was of one of them.
    """
    folder.mkdir(parents=True)
    written = 0
    for image in images:
        try:
            data = blobs.get(image["image"])
            pages = len(list(expand_bytes(data, "stored image")))
        except BlemishError:
            continue  # forgotten since
        if pages != 1:
            continue
        suffix = USUAL_SUFFIX[image_format(data) or "PNG"]
        (folder / f"inspection-{image['id']}{suffix}").write_bytes(data)
        written += 1
    return written


def _part_of(folder: Path, images: list[dict[str, Any]]) -> dict[str, str]:
    """The part that a written file shows, where the store knows it; the names of the files say nothing of parts."""
    parts = {f"inspection-{image['id']}": image.get("part") for image in images}
    return {file.name: part for file in folder.iterdir() if (part := parts[file.stem]) is not None}


def _updated(parameters: Any, work: Path, blobs: Blobs, tell: Tell) -> UpdateReport:
    shutil.rmtree(work, ignore_errors=True)  # what an interrupted run has left
    calibrate = bool(parameters.get("calibrate"))
    good = work / (_PERIOD if calibrate else _FALSE_ALARMS)
    if not write_images(parameters["images"], blobs, good):
        raise UsageError("none of the stored images can be read any more")
    old = parameters["version"]

    def progress(stage: str, done: int, total: int, detail: str = "") -> None:  # noqa: ARG001
        tell(_SHARE * done / total if total else None, f"learns: {stage}")

    report = update(
        old["folder"],
        good,
        calibrate=calibrate,
        part_of=_part_of(good, parameters["images"]),
        output=work / "model",
        false_alarm_rate=old["rate"],
        device=parameters["device"],
        progress=progress,
    )
    if report.record is None:
        later = "; they calibrate with the next good images that are new" * calibrate
        raise UsageError(f"nothing is new to the model: it has learned all images that can still be read{later}")
    refuse_other(old["id"], report.record.version_before)
    return report


def _taken_in(service: Service, parameters: Any, result: Any) -> Any:
    from blemish.service.models import put_to_use

    name, old = parameters["model"], parameters["version"]["id"]
    # another model may have been given the name
    if name not in service.registry.names() or old not in service.registry.model(name).versions:
        raise ServiceError(404, "no_such_model", f"the model {name} was unloaded or renamed meanwhile; update again")
    rate = service.registry.model(name).versions[old].limit.rate
    if rate != parameters["version"]["rate"]:
        raise ServiceError(409, "rate_changed", f"the false-alarm rate of {name} was changed meanwhile; update again")
    folder = service.shelf.adopt(Path(result["folder"]))
    version = put_to_use(service, name, folder, activate=False)
    shown = {key: value for key, value in result.items() if key != "folder"}
    return {**shown, "after": {"id": version.id, **result["after"]}}
