"""What settings are compared by: held-out good images with and without planted defects, and a separate tuning split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.backbones import EMBEDDED
from blemish.calibration import held_out_images
from blemish.config import RunConfig
from blemish.datasets import Dataset, GoodImages, Sample, find_good_images, load_dataset
from blemish.datasets.files import file_hash
from blemish.datasets.sample.planting import KINDS, draw_change, plant
from blemish.detectors import Progress, Setting
from blemish.detectors.patch_features import sketches_of
from blemish.errors import DatasetError
from blemish.evaluation.samples import samples_to_judge
from blemish.images import Frame, InputGeometry
from blemish.learning import image_parts
from blemish.metrics import auroc, bootstrap_interval
from blemish.metrics.rates import counted
from blemish.pipeline import Predictor
from blemish.training_images import TrainingImages, typical_sizes
from blemish.tuning.plot import save_sheet

Image = npt.NDArray[np.uint8]

SHARE, MOST = 0.2, 50  # of the good images are held out of every trial
PLANTED = 96  # defects at the least; every held-out image gets equally many
CHANGES = 8  # different defects of a kind
FAINT, STRONG = 6.0, 96.0  # grey levels by which the planted defects differ from what is around them
SHOWN = 3  # held-out images in the picture of them
SEED = 0  # the same images and defects for every trial of every study
PIXELS = 256 * 256  # at which images of one part are found


@dataclass(frozen=True)
class Figures:
    """How well a model tells defects from good images, with 95 % intervals."""

    planted_auroc: float
    planted_ci95: tuple[float, float]
    tuning_auroc: float | None = None
    tuning_ci95: tuple[float, float] | None = None


class Yardstick:
    """The images that all trials are measured with; none of them is learned from.

    Attributes:
        good: the good images that the trials learn from.
        held_out: how many images are held out.
        hashes: SHA-256 of every good image's file by its name.
        failed: one line for each image that cannot be read.
    """

    def __init__(self, data: Path, tuning_split: Path | None, config: RunConfig, progress: Progress) -> None:
        own = config.Global
        everything = find_good_images(data, own.good, own.leave_out, without=config.Calibrate.holdout)
        images = _read(everything, config, progress)
        held = _held_out(images, config)  # (n,)
        self._images, self._held = images, np.flatnonzero(held)
        files = {images.file_of(images.names[index]) for index in self._held}
        kept = [place for place, name in enumerate(everything.names) if name not in files]
        self.good = GoodImages(
            data, tuple(everything.paths[place] for place in kept), tuple(everything.names[place] for place in kept)
        )
        self.held_out, self.hashes, self.failed = len(self._held), images.hashes, images.failed
        self._split = (
            () if tuning_split is None else _tuning_split(tuning_split, load_dataset(data, good=config.Global.good))
        )
        self.split_hashes = {sample.name: _hash(sample) for sample in self._split}

    def measure(self, predictor: Predictor) -> Figures:
        """Both figures of a model; the tuning split's are None where there is none."""
        good, planted = self._scores(predictor)
        labels = np.repeat([False, True], [len(good), len(planted)])
        scores = np.concatenate([good, planted])
        figures = Figures(auroc(labels, scores), bootstrap_interval(labels, scores, "auroc"))
        if not self._split:
            return figures
        labels = np.array([not sample.is_good for sample in self._split])
        scores = _scores_of(predictor, [str(sample.path) for sample in self._split])
        interval = bootstrap_interval(labels, scores, "auroc")
        return Figures(figures.planted_auroc, figures.planted_ci95, auroc(labels, scores), interval)

    def pictures(self) -> Iterator[tuple[Image, list[tuple[Image, Image]]]]:
        """Every held-out image, and copies of it with a defect, each with its mask."""
        changes, contrasts = self._changes, self._contrasts
        copies = len(contrasts) // self.held_out
        for place, index in enumerate(self._held):
            image = self._images.original(int(index))
            numbers = range(place * copies, (place + 1) * copies)
            yield (
                image,
                [
                    plant(
                        image, changes[number % len(changes)], contrasts[number], np.random.default_rng([SEED, number])
                    )
                    for number in numbers
                ],
            )

    def save_pictures(self, path: Path) -> None:
        """Some of the images with a defect, a box around each, as PNG."""
        save_sheet([pair for _, copies in islice(self.pictures(), SHOWN) for pair in copies[: len(KINDS)]], path)

    def _scores(self, predictor: Predictor) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        good, planted = [], []
        for image, copies in self.pictures():
            score, *others = _scores_of(predictor, [image[..., ::-1], *(copy[..., ::-1] for copy, _ in copies)])
            good.append(score)
            planted += others
        return np.array(good), np.array(planted)

    @cached_property
    def _changes(self) -> list[npt.NDArray[np.float32]]:
        return [draw_change(kind, seed) for seed in range(CHANGES) for kind in KINDS]

    @cached_property
    def _contrasts(self) -> list[float]:
        """A contrast for every planted defect, evenly from faint to strong in proportion, in an order of chance."""
        copies = -(-PLANTED // self.held_out // len(KINDS)) * len(KINDS)
        contrasts = np.geomspace(FAINT, STRONG, copies * self.held_out)
        return [float(value) for value in np.random.default_rng(SEED).permutation(contrasts)]


def _scores_of(predictor: Predictor, inputs: list[object]) -> npt.NDArray[np.float64]:
    """Raw scores `(n,)`; an image that cannot be read ends the comparison, which would be of other images."""
    scores = []
    for result in predictor.predict(inputs):
        if result.score is None:
            raise DatasetError(f"{result.error}; all trials must be measured with the same images")
        scores.append(result.score)
    return np.array(scores)


def _read(good: GoodImages, config: RunConfig, progress: Progress) -> TrainingImages:
    bit_depth = config.Model.bit_depth
    frame = Frame.whole(InputGeometry.for_images(typical_sizes(good, bit_depth), PIXELS))
    return TrainingImages(
        good, frame, bit_depth, config.Model.memory_bytes() // 4, lambda done, total: progress("images", done, total)
    )


def _held_out(images: TrainingImages, config: RunConfig) -> npt.NDArray[np.bool_]:
    """Whole parts, drawn by chance: which images (n,) the trials do not learn from."""
    setting = Setting(images.frame.tiling.width, images.frame.tiling.height, device=config.Global.device)
    parts = image_parts(config, images, lambda: sketches_of(images.inputs, EMBEDDED, setting)).parts
    if len(np.unique(parts)) < 2:
        raise DatasetError(
            f"{images.root}: its good images show one part only, so none can be held out to compare settings; tuning "
            "needs images of two parts or more (Calibrate.near_duplicates=false, if they are not of one part)"
        )
    return held_out_images(parts, min(SHARE, MOST / len(images)), SEED)


def _tuning_split(folder: Path, data: Dataset) -> tuple[Sample, ...]:
    """Its test images, good and defective; `DatasetError` if it lacks either or shares an image with the data set."""
    _, samples = samples_to_judge(folder)
    good = sum(sample.is_good for sample in samples)
    if not 0 < good < len(samples):
        lacks = "no good image" if not good else "no defect"
        raise DatasetError(
            f"--tuning-split {folder} has {lacks} to judge; it needs both: test/good and test/<defect>, or val.txt"
        )
    known = {_hash(sample): sample for sample in (*data.train, *data.test)}
    shared = [(sample, known[digest]) for sample in samples if (digest := _hash(sample)) in known]
    if shared:
        sample, twin = shared[0]
        raise DatasetError(
            f"--tuning-split {folder} shares {counted(len(shared), 'image')} with {data.root}, such as {sample.name} "
            f"and {twin.name}; settings chosen on images that are learned from or tested with prove nothing. Take "
            "others."
        )
    return samples


def _hash(sample: Sample) -> str:
    try:
        return file_hash(sample.path)
    except OSError as error:
        raise DatasetError(f"{sample.path}: {error.strerror}") from None
