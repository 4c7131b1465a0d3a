"""How a lower precision scores good images that its model has not learned from, beside float32 on the same images.

Three sources, by what is at hand:

- New good images: the model itself judges them.
- The training images of a detector that learns by gradient: the ones that were held out of its training are known by
  their stored scores, and the model judges these.
- The training images of a detector that is computed from them, such as a memory bank: the model has seen all of them,
  and would judge them too kindly. The detector is computed twice more, each time from one half of the parts, and each
  half is judged by the model of the other. What lower precision changes there is added to the stored leave-one-part-out
  score of the same image, which is what float32 makes of it as a new one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress

import numpy as np
import numpy.typing as npt

from blemish.acceleration.planted import planted
from blemish.backbones import EMBEDDED, Choice
from blemish.calibration import Calibration, find_parts, fitting_pattern, judged_by, parts_from_names
from blemish.detectors import Detector, Setting, detector_class, recorded_detector
from blemish.detectors.patch_features import sketches_of
from blemish.engines import Engine, open_engine
from blemish.errors import UsageError
from blemish.images import Inputs
from blemish.metrics.rates import counted
from blemish.models import LoadedModel, data_fingerprint, short_hash
from blemish.training_images import TrainingImages

log = logging.getLogger("blemish")

LEAST_PARTS = 20  # of new good images; fewer cannot tell a false-alarm rate of 5 %
LEAST_SEEN = 8  # images that the model has seen, to take the ranges of activations from
RANGE_SHARE = 4  # of new images, every fourth gives ranges where there are no others
SAME_SCORE = 1e-4  # relative

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# From a float32 network and images for the ranges of its activations to the engine of lower precision.
Lower = Callable[[bytes, Inputs], Engine]


@dataclass(frozen=True, eq=False)
class Scores:
    """What one precision makes of the images: all float64 `(n,)`."""

    good: Floats
    peaks: Floats  # largest map values of the good images
    planted: Floats  # of the same images with a planted defect


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Both precisions on good images that were not learned from, and float32's calibration by these."""

    exact: Scores
    lower: Scores
    stated: Calibration

    def calibration(self, rate: float) -> Calibration:
        """That of the lower precision."""
        scores, peaks = self.lower.good - self.exact.good, self.lower.peaks - self.exact.peaks
        moved = self.stated.scores + scores, self.stated.peaks + peaks
        return replace(self.stated, scores=moved[0], peaks=moved[1], false_alarm_rate=rate)


def judge_held_out(
    model: LoadedModel, images: TrainingImages, backbone: Choice, lower: Lower
) -> tuple[HeldOut, Inputs]:
    """Judge the good images as described above; also gives the images for the ranges of the final network.

    Raises `UsageError` where too few of the images are new to the model, and none of the ways is open.
    """
    known = set(model.info.data.hashes or ())
    digests = [short_hash(images.hashes[images.file_of(name)]) for name in images.names]
    seen = np.array([digest in known for digest in digests])  # (n,)
    # the calibration tells its images by their order, which other names, or an update, would change
    if data_fingerprint(images.hashes) == model.info.data.fingerprint and len(images) == model.info.data.images:
        return _of_training_images(model, images, backbone, lower)
    return _of_new_images(model, images, seen, lower)


def _of_new_images(
    model: LoadedModel, images: TrainingImages, seen: npt.NDArray[np.bool_], lower: Lower
) -> tuple[HeldOut, Inputs]:
    inputs, new = images.inputs, list(compress(images.names, ~seen))
    group_by = fitting_pattern(model.info.calibration.group_by, new)
    parts = np.empty(0, int) if seen.all() else _parts(model, inputs.chosen(~seen), new, group_by)
    ranges = seen.copy()
    if seen.sum() < LEAST_SEEN:
        ranges[np.flatnonzero(~seen)[parts % RANGE_SHARE == 0]] = True
    judged = ~seen & ~ranges
    parts = parts[judged[~seen]]
    count = len(np.unique(parts))
    if count < LEAST_PARTS:
        raise UsageError(
            f"{images.root} has good images of {counted(count, 'part')} that the model has not learned from and that "
            f"can calibrate; {LEAST_PARTS} or more are needed, or all of its training images unchanged, "
            "which those of an updated model are not; name a folder of new ones with --good-images DIR"
        )
    if model.info.calibration.sessions is not None:
        log.warning(
            "the model's threshold covers the sessions %s; at lower precision it covers the images of %s alone, as one "
            "session: give good images of all sessions",
            ", ".join(model.info.calibration.sessions.names),
            images.root,
        )
    chosen = inputs.chosen(ranges)
    engines = open_engine(model.model, "cpu"), lower(model.model, chosen)
    exact, low = (_scores(engine, inputs.chosen(judged)) for engine in engines)
    stated = Calibration(
        exact.good,
        exact.peaks,
        parts,
        kind="new good images",
        group_by=group_by,
        interpolated=model.info.calibration.interpolated,
    )
    return HeldOut(exact, low, stated), chosen


def _parts(model: LoadedModel, inputs: Inputs, names: Sequence[str], group_by: str | None) -> Ints:
    """The part that each image shows, `(n,)`."""
    if group_by is not None:
        return parts_from_names(names, group_by)
    found = sketches_of(inputs, EMBEDDED, Setting(model.info.input.width, model.info.input.height, device="cpu"))
    return find_parts(inputs.joined(found)).parts


def _of_training_images(
    model: LoadedModel, images: TrainingImages, backbone: Choice, lower: Lower
) -> tuple[HeldOut, Inputs]:
    calibration = model.info.calibration.loaded()
    cls = detector_class(model.info.detector.name)
    if calibration.counted is not None:
        raise UsageError(
            f"the model was calibrated with {calibration.image_count} images, too many to have the score of each; name "
            "a folder of new good images with --good-images DIR"
        )
    if calibration.part_count < 2:
        raise UsageError(
            "the model was calibrated with one part, which cannot be left out; name a folder of new images"
        )
    if cls.learns:
        return _of_images_held_out(model, images, calibration, lower)
    sessions = calibration.sessions
    if sessions is not None and sessions.learned < len(sessions.names):
        raise UsageError(
            "the model's calibration is of held-out sessions too, not of its training images alone; name a folder of "
            "new good images, of all sessions, with --good-images DIR"
        )
    if len(calibration.scores) != len(images):
        raise UsageError("the model's calibration is not of its training images; name a folder of new good images")

    inputs = images.inputs
    exact, low = _two_fold(partial(_anew, model, backbone), inputs, calibration.parts, lower)
    return HeldOut(exact, low, calibration), inputs


def _anew(model: LoadedModel, backbone: Choice) -> Detector:
    """The model's detector with the parameters that it was fitted with, not yet fitted."""
    info = model.info
    setting = Setting(info.input.width, info.input.height, backbone=backbone, device="cpu")
    cls, setting, parameters = recorded_detector(info.detector.name, info.detector.parameters, setting)
    return cls(setting, parameters)


def _two_fold(make: Callable[[], Detector], inputs: Inputs, parts: Ints, lower: Lower) -> tuple[Scores, Scores]:
    """Every image judged by a detector that was computed from the half of the parts that it is not of."""
    half = np.unique(parts, return_inverse=True)[1] % 2 == 0  # (n,)
    exact, low = (Scores(*(np.empty(len(parts)) for _ in range(3))) for _ in range(2))
    for held in (half, ~half):
        network = make().fit(inputs.chosen(~held)).graph().SerializeToString()
        engines = open_engine(network, "cpu"), lower(network, inputs.chosen(~held))
        for all_of, engine in zip((exact, low), engines, strict=True):
            some = _scores(engine, inputs.chosen(held))
            all_of.good[held], all_of.peaks[held], all_of.planted[held] = some.good, some.peaks, some.planted
    return exact, low


def _of_images_held_out(
    model: LoadedModel, images: TrainingImages, calibration: Calibration, lower: Lower
) -> tuple[HeldOut, Inputs]:
    engine, inputs = open_engine(model.model, "cpu"), images.inputs
    scores = judged_by(engine, inputs).scores
    held = np.zeros(len(scores), np.bool_)
    place = 0
    for score in calibration.scores:  # they are in the order of the images
        while place < len(scores) and abs(scores[place] - score) > SAME_SCORE * abs(score):
            place += 1
        if place == len(scores):
            raise UsageError(
                "the images that were held out of the training cannot be told; name a folder of new good images"
            )
        held[place] = True
        place += 1
    ranges = inputs.chosen(~held)
    engines = engine, lower(model.model, ranges)
    exact, low = (_scores(one, inputs.chosen(held)) for one in engines)
    return HeldOut(exact, low, replace(calibration, scores=exact.good, peaks=exact.peaks)), ranges


def _scores(engine: Engine, inputs: Inputs) -> Scores:
    spoilt = (planted(image, number) for number, image in enumerate(inputs.images))
    good, bad = (judged_by(engine, seen) for seen in (inputs, Inputs(spoilt, inputs.frame, inputs.sizes)))
    return Scores(good.scores, good.peaks, bad.scores)
