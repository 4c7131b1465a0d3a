"""The new good images of an update, and what the model says of them before it knows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.calibration import LeftOut, apart_limit, judged_by
from blemish.datasets import GoodImages
from blemish.datasets.files import file_hash, some
from blemish.detectors import Progress
from blemish.engines import open_engine
from blemish.images import Inputs
from blemish.models import LoadedModel, ModelInfo, short_hash
from blemish.training_images import TrainingImages

MEMORY = 512 << 20  # bytes of decoded images that are held; more are read again

Floats = npt.NDArray[np.float64]


class Incoming:
    """New images, and what the old model says of them.

    Attributes:
        inputs: what the network takes of them.
        names: their names, relative to the folder.
        hashes: SHA-256 by the names of their files, which may have pages.
        file_of: the name of the file that an image is in, by the image's name.
        sizes: width and height of each.
        seen: what the old model says of them, to which they are new.
        failed: one line for each image that could not be read.
        unread: names of the files of which no image could be read.
        outliers: names of those that stand apart from the good images of the old model, highest score first.
    """

    def __init__(self, images: TrainingImages, seen: LeftOut, limit: float) -> None:
        self.inputs, self.names, self.hashes = images.inputs, images.names, images.hashes
        self.sizes, self.seen = images.original_sizes, seen
        self.failed, self.unread = images.failed, images.unread
        self.outliers = [self.names[i] for i in np.argsort(-seen.scores, kind="stable") if seen.scores[i] > limit]
        self.file_of = images.file_of

    def __len__(self) -> int:
        return len(self.names)

    @property
    def are_mostly_apart(self) -> bool:
        """Whether most of them stand apart, so that it is no use to leave some out."""
        return len(self.outliers) > len(self) / 2

    @property
    def scores(self) -> Floats:
        """The image scores by the old model, `(n,)`."""
        return self.seen.scores

    @property
    def sizes_counted(self) -> Counter[str]:
        """How many images have a size, by `WxH`."""
        return Counter(f"{width}x{height}" for width, height in self.sizes)

    def seen_by_hash(self) -> dict[str, list[list[float]]]:
        """Score and peak of each image of a file by the old model, by the file's short hash."""
        found: dict[str, list[list[float]]] = {}
        for name, score, peak in zip(self.names, self.seen.scores, self.seen.peaks, strict=True):
            key = short_hash(self.hashes[self.file_of(name)])
            found.setdefault(key, []).append([float(score), float(peak)])
        return found


@dataclass(frozen=True)
class Sorted:
    """The images of a folder, by what the model knows of them.

    Attributes:
        fresh: those that it does not know.
        waiting: score and peak of those that it has learned without letting them calibrate, by their short hashes.
        waiting_names: what those files are called, by their short hashes.
        lines: what a person should know of the images that it knows.
    """

    fresh: GoodImages
    waiting: dict[str, list[list[float]]] = field(default_factory=dict)
    waiting_names: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def waiting_seen(self) -> list[list[float]]:
        """Score and peak of each image that waits."""
        return [pair for pairs in self.waiting.values() for pair in pairs]

    @property
    def waiting_files(self) -> list[str]:
        """The name of the file that each image that waits is in."""
        return [self.waiting_names[key] for key, pairs in self.waiting.items() for _ in pairs]

    @property
    def waiting_images(self) -> list[str]:
        """The name of each image that waits, which may be a page."""
        return [
            self.waiting_names[key] if len(pairs) == 1 else f"{self.waiting_names[key]}[{page}]"
            for key, pairs in self.waiting.items()
            for page in range(len(pairs))
        ]


def sort_by_known(good: GoodImages, info: ModelInfo, *, calibrate: bool) -> Sorted:
    """What is new to the model, and, where new images calibrate, what it has learned without calibration."""
    learned = info.data.learned_only or {}
    known = {*(info.data.hashes or ()), *learned}
    hashes = [_hash_of(file) for file in good.paths]
    fresh = [digest not in known for digest in hashes]
    waits = [calibrate and digest in learned for digest in hashes]
    lines = []
    if info.data.hashes is None:
        lines.append("The model does not tell its images, so one that it knows already would count twice.")
    left_out = [name for name, new, waiting in zip(good.names, fresh, waits, strict=True) if not new and not waiting]
    if left_out:
        lines.append(f"Left out, since the model has them already: {some(left_out)}.")
    if any(waits):
        lines.append(
            f"Learned before without calibration; they join it now with the scores that they had when they were new: "
            f"{some(list(compress(good.names, waits)))}."
        )
    chosen = replace(good, paths=tuple(compress(good.paths, fresh)), names=tuple(compress(good.names, fresh)))
    names = dict(zip(compress(hashes, waits), compress(good.names, waits), strict=True))
    return Sorted(chosen, {key: learned[key] for key in names}, names, lines)


def read_incoming(old: LoadedModel, good: GoodImages, device: str, progress: Progress) -> Incoming:
    """The new images with the scores of the old model, to which they are new.

    Raises `DatasetError` if none can be read, or for one that the model's region of interest does not fit.
    """

    def advance(done: int, total: int) -> None:
        progress("images", done, total)

    info = old.info.input
    images = TrainingImages(good, info.frame, info.bit_depth, MEMORY, advance)
    limit = apart_limit(old.info.calibration.loaded())
    return Incoming(images, judged_by(open_engine(old.model, device), images.inputs), limit)


def scores_of_model(model: bytes, inputs: Inputs, device: str) -> Floats:
    """The image scores `(n,)` that a network gives."""
    return judged_by(open_engine(model, device), inputs).scores


def _hash_of(file: Path) -> str:
    try:
        return short_hash(file_hash(file))
    except OSError:
        return ""  # whoever reads the image names it
