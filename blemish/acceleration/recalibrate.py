"""A model at lower precision with thresholds and p-values of its own; kept in the cache, refused where it does harm."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from blemish.acceleration.bounds import figures
from blemish.acceleration.held_out import Lower, judge_held_out
from blemish.acceleration.machine import fingerprint
from blemish.acceleration.quantise import quantised
from blemish.backbones import Choice, chosen_backbone
from blemish.cache import cache_home
from blemish.config import HpiConfig, RunConfig, load_config
from blemish.datasets import GoodImages, find_good_images
from blemish.detectors import Images
from blemish.engines import Engine, open_engine
from blemish.errors import BlemishError, ModelError, UsageError
from blemish.metrics.rates import counted
from blemish.models import CalibrationInfo, LoadedModel, load_model, save_model
from blemish.training_images import TrainingImages

log = logging.getLogger("blemish")

MEMORY = 512 << 20  # bytes of decoded images that are held; more are read again
ENGINE_OF = {"bf16": "openvino", "int8": "onnxruntime"}

Say = Callable[[str], None]


def recalibrated(model: LoadedModel, hpi: HpiConfig, say: Say) -> LoadedModel:
    """The model at `hpi.precision`, from the cache or made now.

    Raises `UsageError` where there are no good images to calibrate with, and `ModelError` with the figures where the
    precision costs more than the bounds allow.
    """
    folder = cache_home() / "precision" / fingerprint([model.info.checksum, hpi.precision, _identity(hpi)])
    try:
        return load_model(folder)
    except ModelError:
        pass  # not there, or damaged: it is made again
    made = _made(model, hpi, say)
    try:
        save_model(folder, made.model, made.info)
        return load_model(folder)
    except (ModelError, OSError) as error:
        log.info("not kept in the cache: %s", error)
        return made


def _made(model: LoadedModel, hpi: HpiConfig, say: Say) -> LoadedModel:
    rate = model.info.calibration.false_alarm_rate
    if not model.info.calibration.scores:
        raise UsageError(f"{hpi.precision} needs a calibrated model; this one has a fixed threshold")
    good, config = _good_images(model, hpi)
    say(
        f"Calibrating again for {hpi.precision}, once, with {counted(len(good.paths), 'good image')} in {good.root} ..."
    )
    info = model.info.input
    images = TrainingImages(good, info.frame, info.bit_depth, MEMORY, _quietly)
    held_out, ranges = judge_held_out(model, images, _backbone(model, config), _lower(hpi))
    found = figures(held_out, rate)
    if found.faults:
        raise ModelError(
            f"{hpi.precision} is refused for this model: {'; '.join(found.faults)} ({found.text()}); use fp32"
        )
    say(f"{hpi.precision} is within its bounds: {found.text()}.")
    network = quantised(model.model, ranges) if hpi.precision == "int8" else model.model
    calibration = held_out.calibration(rate)
    calibration = replace(calibration, kind=f"{calibration.kind}, {hpi.precision}")
    update = {"calibration": CalibrationInfo.of(calibration)}
    return LoadedModel(model.info.model_copy(update=update), network, model.folder)


def _lower(hpi: HpiConfig) -> Lower:
    """What makes the engine of lower precision of a float32 network."""

    def open_lower(network: bytes, ranges: Images) -> Engine:
        if hpi.precision == "int8":
            return open_engine(quantised(network, ranges), "cpu", num_threads=hpi.num_threads)
        return open_engine(network, "cpu", num_threads=hpi.num_threads, name="openvino", precision=hpi.precision)

    return open_lower


def _good_images(model: LoadedModel, hpi: HpiConfig) -> tuple[GoodImages, RunConfig | None]:
    """The named good images, or the training images that the run's configuration names."""
    config = _run_config(model.folder)
    place = hpi.good or (config.Global.dataset_dir if config else None)
    if place is None or not Path(place).expanduser().is_dir():
        lost = "there is no folder" if place is not None else "the training images are not known"
        raise UsageError(
            f"{hpi.precision} needs good images to calibrate with again, and {lost} {place or ''}; name one: "
            "--good-images DIR, or good: DIR in hpi_config"
        )
    own = config.Global if hpi.good is None and config is not None else None
    if own is None or config is None:
        return find_good_images(Path(place).expanduser()), config
    held_out = config.Calibrate.holdout
    return find_good_images(Path(place).expanduser(), own.good, own.leave_out, without=held_out), config


def _run_config(folder: Path) -> RunConfig | None:
    """The configuration of the training that the model folder is the output of."""
    place = folder.resolve().parent.parent / "config.yaml"
    try:
        return load_config(str(place), []) if place.is_file() else None
    except BlemishError:
        return None


def _backbone(model: LoadedModel, config: RunConfig | None) -> Choice:
    if config is not None:
        return chosen_backbone(config.Model)
    return Choice(model.info.backbone.name if model.info.backbone else "")


def _identity(hpi: HpiConfig) -> list[object]:
    """What tells one set of good images from another, without reading them; the training images are the model's own."""
    if hpi.good is None:
        return ["training images"]
    good = find_good_images(Path(hpi.good).expanduser())
    stats = [path.stat() for path in good.paths]
    return [good.root.resolve(), *((n, s.st_size, s.st_mtime_ns) for n, s in zip(good.names, stats, strict=True))]


def _quietly(_done: int, _total: int) -> None:
    """Reading is short beside the rest."""
