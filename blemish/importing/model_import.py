"""From weights of PaddleX or FastFlow-Paddle to a model folder, without Paddle and without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from blemish.backbones.pdparams import Tensors
from blemish.backbones.resnet import IMAGENET_MEAN, IMAGENET_STD, TAPS, Weights
from blemish.calibration import Calibration, scored_by
from blemish.calibration.conformal import DEFAULT_RATE, check_rate
from blemish.datasets import find_good_images
from blemish.engines import open_engine
from blemish.errors import ModelError, UsageError, did_you_mean
from blemish.images import Frame, InputGeometry
from blemish.importing.fastflow import fastflow_model
from blemish.importing.graphs import SIZE
from blemish.importing.stfpm import stfpm_model
from blemish.importing.weights import WeightFile, read_weights
from blemish.models import (
    BackboneInfo,
    CalibrationInfo,
    DataInfo,
    DetectorInfo,
    InputInfo,
    ModelInfo,
    OutputInfo,
    check_place,
    data_fingerprint,
    keep_before,
    listed_hashes,
    printable,
    save_model,
    saving,
    short_hash,
    try_network,
)
from blemish.sample_range import FULL
from blemish.training_images import TrainingImages, typical_sizes

_MEMORY = 500_000_000  # bytes that good images may take
_GIVEN = "good images given at import"

Progress = Callable[[str, int, int], None]  # stage, done, total


@dataclass(frozen=True)
class Origin:
    """A program whose weights can be imported.

    Attributes:
        program: its name.
        detector: the detector's name.
        threshold: its fixed threshold, on the score and on the map.
        build: the ONNX model from the tensors, and from the weights of a ResNet-18 where these are apart.
    """

    program: str
    detector: str
    threshold: float
    build: Callable[[Tensors, Weights | None], bytes]


ORIGINS = {
    "paddlex": Origin("PaddleX", "STFPM", 0.01, stfpm_model),
    "fastflow": Origin("FastFlow-Paddle", "FastFlow", 0.8, fastflow_model),
}


@dataclass(frozen=True)
class ImportReport:
    """What an import has made.

    Attributes:
        folder: the model folder.
        lines: what a person should know of the calibration.
        failed: one line for each good image that could not be read.
    """

    folder: Path
    lines: list[str]
    failed: list[str] = field(default_factory=list)


def import_model(
    file: Path,
    origin: str,
    output: Path,
    *,
    good: Path | None = None,
    backbone_weights: Path | None = None,
    false_alarm_rate: float | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> ImportReport:
    """Write the model folder `output` from the weights in `file`, calibrated with the good images in `good` if given.

    `backbone_weights` is a file with a ResNet-18, for weights that come without. Raises `UsageError` for an unknown
    origin, `BackboneError` for weights that are refused, `DatasetError` for a folder without good images, `ModelError`
    for a network whose answers are not finite.
    """
    source = _origin(origin)
    rate = check_rate(DEFAULT_RATE if false_alarm_rate is None else false_alarm_rate)
    if good is None and false_alarm_rate is not None:
        raise UsageError("a false-alarm rate needs good images: give them with --good-images DIR")
    check_place(output)
    weights = read_weights(file)
    backbone = None if backbone_weights is None else read_weights(backbone_weights)
    model = source.build(weights.tensors, None if backbone is None else backbone.tensors)
    images = None if good is None else _good_images(good, progress)
    if images is None:
        calibration = Calibration.fixed(source.threshold, f"not calibrated: the fixed threshold of {source.program}")
    else:
        calibration = _calibrated(model, images, rate, device, progress)
    info = _describe(source, weights, backbone or weights, images, calibration)
    try:
        try_network(open_engine(model, device), info)
    except ModelError as error:
        raise ModelError(f"{file} is not imported: {error}") from error
    with saving(output):
        before = keep_before(output, model, info, output)
        save_model(output, model, info)
    return ImportReport(output, [calibration.statement(), *before.lines], [] if images is None else images.failed)


def _origin(name: str) -> Origin:
    if name not in ORIGINS:
        raise UsageError(f"unknown origin `{name}`.{did_you_mean(name, ORIGINS)} Known: {', '.join(ORIGINS)}")
    return ORIGINS[name]


def _good_images(folder: Path, progress: Progress | None) -> TrainingImages:
    """The good images, squeezed to the network's square as the origin squeezes them if they have the usual aspect."""
    good = find_good_images(folder)
    aspect = InputGeometry.for_images(typical_sizes(good, FULL), SIZE * SIZE).aspect

    def advance(done: int, total: int) -> None:
        if progress is not None:
            progress("images", done, total)

    return TrainingImages(good, Frame.whole(InputGeometry(SIZE, SIZE, aspect)), FULL, _MEMORY, advance)


def _calibrated(
    model: bytes, images: TrainingImages, rate: float, device: str, progress: Progress | None
) -> Calibration:
    """A calibration from the scores of good images, each taken for a part of its own."""
    engine = open_engine(model, device)
    scores, peaks = np.empty(len(images)), np.empty(len(images))
    inputs = images.inputs
    for index, (score, anomaly_map) in enumerate(inputs.judged(scored_by(engine, inputs))):
        scores[index], peaks[index] = score, anomaly_map.max()
        if progress is not None:
            progress("calibration", index + 1, len(images))
    if not (np.isfinite(scores).all() and np.isfinite(peaks).all()):
        raise ModelError("the imported model gives scores that are not finite; its training has failed")
    return Calibration(scores, peaks, np.arange(len(images)), rate, _GIVEN)


def _describe(
    source: Origin,
    weights: WeightFile,
    backbone: WeightFile,
    images: TrainingImages | None,
    calibration: Calibration,
) -> ModelInfo:
    described = InputInfo(width=SIZE, height=SIZE, aspect=1.0 if images is None else images.frame.geometry.aspect)
    calibrated = CalibrationInfo.of(calibration)
    return ModelInfo(
        format_version=max(described.least_version, calibrated.least_version),
        detector=DetectorInfo(
            name=source.detector,
            parameters={"imported_from": source.program, "file": printable(weights.name), "sha256": weights.sha256},
        ),
        input=described,
        output=OutputInfo(map_height=SIZE, map_width=SIZE),
        backbone=BackboneInfo(
            name="resnet18",
            source=f"{printable(backbone.name)}, imported from {source.program}",
            sha256=backbone.sha256,
            licence="that of the imported file",
            mean=list(IMAGENET_MEAN),
            std=list(IMAGENET_STD),
            taps=[tap.name for tap in TAPS],
        ),
        calibration=calibrated,
        data=_data(images),
    )


def _data(images: TrainingImages | None) -> DataInfo:
    """The good images given, since those of the training are unknown."""
    if images is None:
        return DataInfo(images=0, parts=0, fingerprint=data_fingerprint({}), folder="", sizes={})
    return DataInfo(
        images=len(images),
        parts=len(images),
        fingerprint=data_fingerprint(images.hashes),
        folder=printable(images.root.resolve().name),
        sizes=dict(images.sizes.most_common(100)),
        hashes=listed_hashes(map(short_hash, images.hashes.values())),
    )
