"""What an annotation file says of images: which it marks, and which it leaves unmarked for certain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from blemish.datasets.annotations.annotation import defect_type
from blemish.datasets.annotations.image_index import plain_path
from blemish.datasets.files import fold


@dataclass(frozen=True)
class AnnotationFile:
    """An annotation file that was recognised.

    Attributes:
        tool: its name for `convert --from`; empty for a format without a reader.
        title: what people call it.
        marked: the folded stems of images that it says anything of but that they are good, or nothing certain.
        clean: the folded stems of images that it leaves unmarked for certain.
        unreadable: whether it seems to be such a file, but is damaged: nobody knows what it marks.
    """

    tool: str
    title: str
    marked: frozenset[str]
    clean: frozenset[str]
    unreadable: bool = False


class Marks:
    """Collects what a file says, image by image."""

    def __init__(self, tool: str, title: str) -> None:
        self._tool, self._title = tool, title
        self._marked: set[str] = set()
        self._clean: set[str] = set()

    @property
    def is_used(self) -> bool:
        """Whether anything was said."""
        return bool(self._marked or self._clean)

    def say(self, image: object, is_clean: bool) -> None:
        """What is said of the image of a name, path or address; anything that is no name is passed over."""
        if isinstance(image, str) and image.strip():
            stem = PurePosixPath(plain_path(image)).stem
            (self.clear if is_clean else self.mark)(stem)

    def mark(self, stem: str) -> Marks:
        """An image of this stem is not good for certain."""
        self._marked.add(fold(stem))
        return self

    def clear(self, stem: str) -> Marks:
        """An image of this stem is left unmarked."""
        self._clean.add(fold(stem))
        return self

    def file(self) -> AnnotationFile:
        """All of it; an image that is marked anywhere is not clean."""
        return AnnotationFile(self._tool, self._title, frozenset(self._marked), frozenset(self._clean - self._marked))


def is_clean_label(label: object) -> bool:
    """Whether a label means a good part for certain."""
    return isinstance(label, str) and bool(label.strip()) and defect_type(label) is None
