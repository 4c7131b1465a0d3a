"""What a data set is made of: samples, the good images among them, and where they came from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

GOOD = "good"


@dataclass(frozen=True)
class Sample:
    """One image of a data set.

    Attributes:
        path: the file, as the data set's folder was given.
        name: its path relative to that folder, with forward slashes.
        split: `train` or `test`.
        kind: `good`, or the type of the defect.
        masks: the files that mark the defect, one or several that count together; empty where none is given.
        place: the folder that messages name the image by; empty where it came from a list.
    """

    path: Path
    name: str
    split: str
    kind: str
    masks: tuple[Path, ...] = ()
    place: str = field(default="", compare=False)

    @property
    def is_good(self) -> bool:
        return self.kind == GOOD


@dataclass(frozen=True)
class Dataset:
    """The samples of one product.

    Attributes:
        root: the folder, as it was given.
        layout: `mvtec`, `folders`, `list` or `plain`.
        train, test: the samples; without a split, good images are for training and defects for the test.
        left_out: names of the files that are neither, by their folder, suffix or kind.
        no_good: why there is nothing to learn from; empty where there is.
        question: what has to be answered before figures of the test images mean anything; empty where nothing.
        marked: names of images that a folder calls good while something marks them; they are left out.
    """

    root: Path
    layout: str
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    no_good: str = ""
    question: str = ""
    marked: tuple[str, ...] = ()


@dataclass(frozen=True)
class GoodImages:
    """The good images of a data set: absolute or given paths, and their names relative to `root`, in order.

    `learned` says for a person which folders they are of, and what of the data set was left out. `left_out` are the
    images that were left out because somebody named them; a page of a document (`doc.tif[2]`) is when it is read.
    `learned_but` says the same as `learned` once the names of images that cannot be read are known.
    """

    root: Path
    paths: tuple[Path, ...]
    names: tuple[str, ...]
    learned: str = ""
    left_out: tuple[str, ...] = ()
    learned_but: Callable[[Collection[str]], str] | None = field(default=None, compare=False)


def relative_name(path: Path, folder: Path) -> str:
    """The path relative to the folder where it lies in it, else as it is; with forward slashes."""
    for inner, outer in ((path, folder), (path.absolute(), folder.absolute())):
        if inner.is_relative_to(outer):
            return inner.relative_to(outer).as_posix()
    return path.as_posix()
