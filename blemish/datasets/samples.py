"""What a data set is made of: samples, the good images among them, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass
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
    """

    path: Path
    name: str
    split: str
    kind: str
    masks: tuple[Path, ...] = ()

    @property
    def is_good(self) -> bool:
        return self.kind == GOOD


@dataclass(frozen=True)
class Dataset:
    """The samples of one product; `layout` is `mvtec`, `list` or `plain`."""

    root: Path
    layout: str
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]


@dataclass(frozen=True)
class GoodImages:
    """The good images of a data set: absolute or given paths, and their names relative to `root`, in order."""

    root: Path
    paths: tuple[Path, ...]
    names: tuple[str, ...]


def relative_name(path: Path, folder: Path) -> str:
    """The path relative to the folder where it lies in it, else as it is; with forward slashes."""
    for inner, outer in ((path, folder), (path.absolute(), folder.absolute())):
        if inner.is_relative_to(outer):
            return inner.relative_to(outer).as_posix()
    return path.as_posix()
