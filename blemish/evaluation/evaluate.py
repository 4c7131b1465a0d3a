"""From a model and a folder of labelled images to the metrics, the table and the page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from shlex import join

from blemish.calibration import session_lines
from blemish.config import HpiConfig
from blemish.datasets import Dataset, Sample
from blemish.errors import DatasetError
from blemish.evaluation.figures import alternatives, figures, kinds, pro, rate, roc
from blemish.evaluation.files import clear, write
from blemish.evaluation.operating import found_at_rates
from blemish.evaluation.parts import Parts
from blemish.evaluation.remarks import Findings, remarks, unsure
from blemish.evaluation.room import check_room, has_pixel_figures
from blemish.evaluation.samples import samples_to_judge, without_learned
from blemish.evaluation.tally import Tally
from blemish.metrics.rates import counted
from blemish.models import InputInfo, data_fingerprint, short_hash
from blemish.pipeline import Predictor, open_model
from blemish.report import EvaluationReport, Threshold

Progress = Callable[[str, int, int], None]

log = logging.getLogger("blemish")


def evaluate(
    model_dir: str | Path,
    data: Path,
    output: Path,
    device: str = "auto",
    progress: Progress | None = None,
    *,
    batch_size: int = 1,
    false_alarm_rate: float | None = None,
    threshold: float | None = None,
    engine: str | HpiConfig | None = None,
    good: Sequence[str] = (),
    group_by: str | None = None,
    leave_out: Sequence[str] = (),
    say: Callable[[str], None] = log.info,
) -> EvaluationReport:
    """Judge every test image of a data set, or every image of a folder of good ones, and write what came of it.

    Writes `evaluate_result.json`, `per_image.csv` and `report.html` into `output`. Metrics see raw scores and masks of
    full size. The verdicts are those of the model's calibrated threshold; `false_alarm_rate` or `threshold` replace it.
    `good` names folders of good parts, whatever they are called. `group_by` is a pattern that finds the part in an
    image's name, its path in the data set, and empty for none; without it, the model's own is taken where it fits.
    `leave_out` names images that do not count.
    Images that get no verdict and masks that cannot be read are named in the report and count nowhere. Scores of
    pixels that do not fit into 1 GiB of memory are in a temporary file in `output`; `say` hears its size before the
    work.

    Raises `BlemishError` for a model, data set or device that is refused, where no image at all can be judged, and
    where the disk of `output` has too little room for that file.
    """
    predictor = open_model(model_dir, device, batch_size, false_alarm_rate, threshold, engine=engine, say=say)
    dataset, samples = samples_to_judge(data, good, leave_out)
    learned: list[str] = []
    if dataset.layout == "folders":  # its good images are for training and test alike
        samples, learned = without_learned(samples, predictor.model.info.data.hashes or ())
    parts = Parts(predictor, samples, group_by)
    clear(output)
    check_room(samples, output, say)
    tally = Tally(parts, output if has_pixel_figures(samples) else None)
    _judge(predictor, samples, tally, progress)
    report = replace(
        _report(predictor, dataset, tally, output, learned, good=good),
        found=found_at_rates(tally.images, parts.cases(), predictor.calibration, predictor.limit, model_dir),
    )
    write(report, data)
    return report


def _judge(predictor: Predictor, samples: Sequence[Sample], tally: Tally, progress: Progress | None) -> None:
    """Count the results of all samples, in order."""
    by_path = {str(sample.path): sample for sample in samples}
    done: set[str | None] = set()
    for result in predictor.predict([str(sample.path) for sample in samples], group_by=""):
        tally.add(by_path[str(result.input_path)], result)
        done.add(result.input_path)
        if progress is not None:
            progress("judging", len(done), len(by_path))
    if all(image.error is not None for image in tally.images):
        raise DatasetError(
            f"none of {counted(len(samples), 'image')} can be judged; the first: {tally.images[0].error}"
        )


def _report(
    predictor: Predictor, dataset: Dataset, tally: Tally, output: Path, learned: Sequence[str], *, good: Sequence[str]
) -> EvaluationReport:
    limit, info = predictor.limit, predictor.model.info
    judged = [image for image in tally.images if image.score is not None]
    parts = tally.parts.figures()
    found = figures(tally, parts, limit.score, limit.pixel)
    auroc = found.values["image_auroc"]
    findings = Findings(
        tally=tally,
        info=info,
        calibration=predictor.calibration,
        limit=limit,
        kinds=kinds(judged),
        false_alarms=rate(judged, True),
        misses=rate(judged, False),
        image_auroc=auroc if isinstance(auroc, float) else None,
        seen=_seen(predictor, tally),
        learned=learned,
        doubts=found.doubts,
        split=_split_command(dataset.root, good),
        is_given=_is_given(predictor),
        parts=parts,
        part_problem=tally.parts.problem,
    )
    return EvaluationReport(
        metrics=found.values,
        not_computed=found.reasons,
        images=tuple(tally.images),
        kinds=findings.kinds,
        false_alarms=findings.false_alarms,
        misses=findings.misses,
        threshold=_threshold(predictor),
        remarks=remarks(findings),
        unsure=unsure(findings),
        model=_model_identity(predictor),
        data=_data_identity(dataset, tally),
        roc=roc(judged),
        pro=pro(tally, found.values),
        alternatives=tuple(alternatives(judged, predictor.calibration, limit.rate)),
        gallery=tally.gallery.shelves(),
        seen_in_training=tuple(findings.seen),
        problems=tuple(tally.problems),
        parts=parts,
        output=output,
    )


def _split_command(root: Path, good: Sequence[str]) -> str:
    """How to keep good images of a data set back from the training."""
    named = [part for name in good for part in ("--good", name)]
    return join(["blemish", "split", str(root), "--train-percent", "80", "--val-percent", "20", *named])


def _seen(predictor: Predictor, tally: Tally) -> list[str]:
    """The images whose very bytes were in the training."""
    known = set(predictor.model.info.data.hashes or ())
    judged = {image.name for image in tally.images if image.error is None}
    judged |= {name.rpartition("[")[0] for name in judged}  # the document that a page is of
    return [name for name, digest in tally.hashes.items() if name in judged and short_hash(digest) in known]


def _is_given(predictor: Predictor) -> bool:
    """Whether a person gave the threshold."""
    limit, calibration = predictor.limit, predictor.calibration
    return limit.rate is None and (calibration.is_calibrated or limit.score != calibration.threshold())


def _threshold(predictor: Predictor) -> Threshold:
    limit, calibration = predictor.limit, predictor.calibration
    given = _is_given(predictor)
    by_hand = "The threshold was given by hand; it stands for no false-alarm rate."
    return Threshold(
        score=limit.score,
        pixel=limit.pixel,
        rate=limit.rate,
        origin=by_hand if given else calibration.statement(limit.rate),
        images=calibration.image_count,
        parts=calibration.part_count,
        calibration=tuple(calibration.scores.tolist()),
        calibration_images=None if calibration.counted is None else tuple(calibration.images_each.tolist()),
        is_given=given,
        sessions=() if given else tuple(session_lines(calibration, limit.rate)),
    )


def _model_identity(predictor: Predictor) -> dict[str, str]:
    info = predictor.model.info
    backbone = info.backbone
    return {
        "Detector": info.detector.name,
        "Parameters": ", ".join(
            f"{key} {value}" for key, value in info.detector.parameters.items() if value is not None
        ),
        "Backbone": f"{backbone.name} ({backbone.licence})" if backbone else "none",
        "Input": _input(info.input),
        "Learned from": f"{counted(info.data.images, 'image')} of {counted(info.data.parts, 'part')}, "
        f"folder {info.data.folder}",
        "Training data": info.data.fingerprint,
        "Calibration": info.calibration.kind,
        "Threshold": f"{predictor.limit.score:.6g} (pixels {predictor.limit.pixel:.6g})",
        "Engine": f"{predictor.engines[0].name} on {predictor.engines[0].device}",
        "Fitted": f"{info.created}, Blemish {info.blemish_version}",
        "Checksum": info.checksum,
    }


def _input(seen: InputInfo) -> str:
    tiles = "" if seen.tiles is None else f", {seen.tiles.columns} x {seen.tiles.rows} tiles"
    return f"{seen.width} x {seen.height} pixels{tiles}{', region of interest' if seen.area is not None else ''}"


def _data_identity(dataset: Dataset, tally: Tally) -> dict[str, str]:
    good = sum(image.is_good for image in tally.images)
    sizes = ", ".join(f"{size} ({count})" for size, count in tally.sizes.most_common(3))
    more = f" and {len(tally.sizes) - 3} more" if len(tally.sizes) > 3 else ""
    return {
        "Data set": dataset.root.resolve().name,
        "Layout": {
            "mvtec": "MVTec folders",
            "list": "list files",
            "folders": "folders of good and defective images",
            "plain": "a folder of good images",
        }[dataset.layout],
        "Images": f"{good} good, {len(tally.images) - good} defective",
        "Masks": f"{tally.masked} of the defective images",
        "Sizes": f"{sizes}{more} pixels",
        "Fingerprint": data_fingerprint(tally.hashes),
        "Evaluated": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
