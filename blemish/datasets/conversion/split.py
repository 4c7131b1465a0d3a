"""A new split of a data set into `train.txt` and `val.txt`: good images are dealt out, defects never trained on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blemish.datasets.layouts.loading import load_dataset
from blemish.datasets.lists.reading import LISTS
from blemish.datasets.lists.writing import finish_lists, list_text, write_lists
from blemish.datasets.samples import Sample
from blemish.errors import DatasetError, UsageError
from blemish.metrics.rates import counted


@dataclass(frozen=True)
class SplitReport:
    """What a split has made: the images in each part, and the names of the lists that it kept as backups."""

    folder: Path
    train_good: int
    val_good: int
    val_defects: int
    moved_defects: int  # defects that the old training list held
    backups: tuple[Path, ...]

    @property
    def lines(self) -> list[str]:
        """The counts, for a person."""
        lines = [
            f"train.txt: {counted(self.train_good, 'good image')}",
            f"val.txt: {counted(self.val_good, 'good image')}, {self.val_defects} with defects",
        ]
        if self.moved_defects:
            were, are = ("was", "is") if self.moved_defects == 1 else ("were", "are")
            images = counted(self.moved_defects, "image")
            lines.append(f"{images} with defects {were} listed for training and {are} in val.txt now")
        return lines + [f"an older list is kept as {backup.name}" for backup in self.backups]


def split(
    folder: Path, train_percent: float, val_percent: float, seed: int = 0, good: Sequence[str] = ()
) -> SplitReport:
    """Write `train.txt` and `val.txt` into a data set of any layout.

    All good images, of the old training and test part alike, are dealt by the percentages; every image with a defect
    goes to `val.txt`. The deal depends on the seed and the names alone: an image's place in it is the SHA-256 of both,
    so that it is the same on every machine, and new images hardly move the old ones. Of two or more good images each
    part gets one at least. Older lists that change are kept as `train.txt.bak`, `train.txt.bak2` and so on. `good`
    names folders that are good whatever they are called.

    Raises `UsageError` for percentages that are not positive or do not sum to 100, and `DatasetError` for a folder
    that is no data set or has no good image.
    """
    _check_percentages(train_percent, val_percent)
    if folder.is_dir():
        finish_lists(folder)
    samples = _pool(folder, good)
    learned = sorted((sample for sample in samples if sample.is_good), key=lambda sample: _lot(seed, sample.name))
    if not learned:
        raise DatasetError(f"{folder} has no good images, only defects; there is nothing to learn from")
    defects = [sample for sample in samples if not sample.is_good]
    count = _share(len(learned), train_percent)
    texts = {
        LISTS["train"]: list_text(folder, learned[:count]),
        LISTS["test"]: list_text(folder, learned[count:] + defects),
    }
    backups = write_lists(folder, texts)
    moved = sum(sample.split == "train" for sample in defects)
    return SplitReport(folder, count, len(learned) - count, len(defects), moved, tuple(backups))


def _check_percentages(train_percent: float, val_percent: float) -> None:
    for name, percent in (("train_percent", train_percent), ("val_percent", val_percent)):
        if not 0 < percent < 100:
            raise UsageError(f"{name} is {percent:g}; it must be more than 0 and less than 100.")
    if not math.isclose(train_percent + val_percent, 100, abs_tol=1e-6):
        raise UsageError(f"train_percent and val_percent sum to {train_percent + val_percent:g}; they must sum to 100.")


def _pool(folder: Path, good: Sequence[str]) -> list[Sample]:
    """Every image once; one that is listed as good and as a defect is a defect."""
    dataset = load_dataset(folder, good=good)
    pool: dict[str, Sample] = {}
    for sample in (*dataset.train, *dataset.test):
        known = pool.get(sample.name)
        if known is None or (known.is_good and not sample.is_good):
            pool[sample.name] = sample
    return list(pool.values())


def _lot(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogateescape")).digest()


def _share(count: int, percent: float) -> int:
    """The number of training images: the nearest one, but none of the two parts empty if that can be."""
    return max(1, min(round(count * percent / 100), count - 1))
