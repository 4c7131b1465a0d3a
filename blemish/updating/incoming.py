"""The new good images of an update, and what the model says of them before it knows them."""

from __future__ import annotations

from collections import Counter
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.calibration import judged_by
from blemish.datasets import GoodImages
from blemish.datasets.files import file_hash
from blemish.detectors import Progress
from blemish.engines import open_engine
from blemish.images import Inputs
from blemish.models import LoadedModel, ModelInfo, short_hash
from blemish.training_images import TrainingImages

MEMORY = 512 << 20  # bytes of decoded images that are held; more are read again
SHOWN = 5  # names in a line

Floats = npt.NDArray[np.float64]


class Incoming:
    """New images, less those that a mask `(n,)` leaves out.

    Attributes:
        inputs: what the network takes of them.
        names: their names, relative to the folder.
        hashes: SHA-256 by the names of their files, which may have pages.
        sizes: width and height of each.
        scores: what the old model says of them, `(n,)`.
        failed: one line for each image that could not be read.
    """

    def __init__(self, images: TrainingImages, scores: Floats, taken: npt.NDArray[np.bool_]) -> None:
        self.inputs = images.inputs.chosen(taken)
        self.names = list(compress(images.names, taken))
        files = set(map(images.file_of, self.names))
        self.hashes = {name: digest for name, digest in images.hashes.items() if name in files}
        self.sizes = list(compress(images.original_sizes, taken))
        self.scores = scores[taken]
        self.failed = images.failed

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sizes_counted(self) -> Counter[str]:
        """How many images have a size, by `WxH`."""
        return Counter(f"{width}x{height}" for width, height in self.sizes)


def without_known(good: GoodImages, info: ModelInfo) -> tuple[GoodImages, list[str]]:
    """The images whose hash the model does not know, and what a person should know of the others."""
    if info.data.hashes is None:
        return good, ["The model does not tell its images, so one that it knows already would count twice."]
    known = set(info.data.hashes)
    fresh = [not _is_known(file, known) for file in good.paths]
    if all(fresh):
        return good, []
    line = f"Left out, since the model has them already: {some(list(compress(good.names, np.logical_not(fresh))))}."
    return GoodImages(good.root, tuple(compress(good.paths, fresh)), tuple(compress(good.names, fresh))), [line]


def read_incoming(
    old: LoadedModel, good: GoodImages, max_score: float | None, device: str, progress: Progress
) -> tuple[Incoming, list[str]]:
    """The new images with the scores of the old model, to which they are new, and what a person should know of them.

    Images with a score above `max_score` are left out. Raises `DatasetError` if none can be read, or for one that the
    model's region of interest does not fit.
    """

    def advance(done: int, total: int) -> None:
        progress("images", done, total)

    info = old.info.input
    images = TrainingImages(good, info.frame, info.bit_depth, MEMORY, advance)
    scores = scores_of_model(old.model, images.inputs, device)
    taken = np.ones(len(scores), np.bool_) if max_score is None else scores <= max_score
    new = Incoming(images, scores, taken)
    lines = []
    if not taken.all():
        odd = _named(list(compress(images.names, ~taken)), scores[~taken])
        lines.append(f"Left out, with a score above {max_score:g}: {odd}.")
    return new, [*lines, *_remarks(new, old.info)]


def scores_of_model(model: bytes, inputs: Inputs, device: str) -> Floats:
    """The image scores `(n,)` that a network gives."""
    return judged_by(open_engine(model, device), inputs).scores


def some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _is_known(file: Path, known: set[str]) -> bool:
    try:
        return short_hash(file_hash(file)) in known
    except OSError:
        return False  # whoever reads the image names it


def _named(names: list[str], scores: Floats) -> str:
    """Names with their scores, the highest first."""
    return some([f"{names[i]} ({scores[i]:.1f})" for i in np.argsort(-scores)])


def _remarks(new: Incoming, info: ModelInfo) -> list[str]:
    """Images that look like defects, and images of another shape than the model's."""
    lines = []
    calibration = info.calibration.loaded()
    most = float(calibration.scores.max())
    odd = new.scores > most
    if odd.any():
        lines.append(
            f"{odd.sum()} of {len(new)} new images are odder than every good image before (p = "
            f"{calibration.best_rate:.2g}): {_named(list(compress(new.names, odd)), new.scores[odd])}. They are taken. "
            f"If they are not good: --undo, then again without them, as by --max-score {most:.4g}."
        )
    geometry = info.input.frame.geometry
    beside = [name for name, size in zip(new.names, new.sizes, strict=True) if not geometry.is_filled_by(*size)]
    if beside:
        lines.append(f"Of another aspect than the model's images, so they are letterboxed: {some(beside)}.")
    return lines
