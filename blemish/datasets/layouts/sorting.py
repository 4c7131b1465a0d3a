"""The images of a tree while it is told what they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from blemish.datasets.annotations.recognising import AnnotationFile
from blemish.datasets.files import fold
from blemish.datasets.layouts.folder_roles import Label
from blemish.datasets.layouts.mask_pictures import marks_something
from blemish.datasets.layouts.published import Said
from blemish.datasets.tree import File, Tree


@dataclass(frozen=True)
class Found:
    """An image and what is known of it.

    Attributes:
        file: the image.
        split: `train`, `val` or `test`; None where no name says one.
        label: `good` or `bad`; None where nothing tells.
        kind: `good`, the type of the defect, or the folder that may name one; empty where there is no such folder.
        place: the folder that messages name it by.
        unsure: the folder on the way whose word may mean either; empty where there is none.
        masks: the files that mark it.
        split_place: the folder that says the split.
        only_beside: whether the words that call it a defect may be part of a product's name.
    """

    file: File
    split: str | None
    label: Label | None
    kind: str
    place: str
    unsure: str = ""
    masks: tuple[PurePosixPath, ...] = ()
    split_place: str = ""
    only_beside: bool = False

    @property
    def stem(self) -> str:
        return fold(self.file.stem)


@dataclass
class Sorting:
    """The tree, and what is known of its images so far."""

    tree: Tree
    found: list[Found]
    files: dict[PurePosixPath, File]
    annotations: list[tuple[File, AnnotationFile]]
    masks: dict[PurePosixPath, File]
    asked: frozenset[str]  # what the user has said of good folders
    said: dict[PurePosixPath, Said] = field(default_factory=dict)  # what tables say of images
    tables: frozenset[PurePosixPath] = frozenset()  # the files of these

    @property
    def unlabelled(self) -> list[Found]:
        return [one for one in self.found if one.label is None]

    def marks(self, one: Found) -> bool:
        """Whether a mask of the image marks anything."""
        return any(marks_something(self.files[mask]) for mask in one.masks)
