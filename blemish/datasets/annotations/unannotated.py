"""Images of a source that no annotation names: good, or better left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from blemish.datasets.annotations.annotation import Annotation, Reading, in_bad_folder, leave_out
from blemish.datasets.annotations.image_index import ImageIndex, in_masks, nearest
from blemish.datasets.annotations.recognising import marked_stems
from blemish.datasets.files import fold, inside, some
from blemish.datasets.stems import mask_of_stem
from blemish.datasets.words import is_good, role
from blemish.errors import DatasetError
from blemish.metrics.rates import counted

NOT_LISTED = "not listed"


def add_unannotated(
    index: ImageIndex, reading: Reading, split_of: Callable[[Path], str | None] = lambda _: None
) -> None:
    """Images that no annotation names are good, if they lie beside annotated ones or in a folder called `good`.

    Elsewhere they may be anything, a tool's own masks for instance, and are left out; so are those that any other
    file says something of, and masks and twins of other images. All of it is said in warnings. `split_of` tells an
    image's split if the source has lists, or `NOT_LISTED`.
    """
    known = {annotation.image for annotation in reading.annotations}
    found = _Unannotated(index, reading, known)
    taken: list[str] = []
    left: dict[str, list[str]] = {}
    for path in index.paths:
        split, image = split_of(path), path.resolve()
        stem = fold(path.stem)
        if image in known or image in reading.unknown or split == NOT_LISTED:
            continue
        if stem in reading.unknown_stems or stem in reading.skipped:
            continue
        name = index.relative(path)
        doubt = found.doubt(path, name)
        if doubt:
            left.setdefault(doubt, []).append(name)
        else:
            _add_good(index, reading, name, split)
            taken.append(name)
    if taken:
        reading.warnings.append(f"{counted(len(taken), 'image')} without an annotation, taken as good: {some(taken)}")
    for why, names in left.items():
        leave_out(reading, names, "image", why)


class _Unannotated:
    """Why an image without annotation may be no good part."""

    def __init__(self, index: ImageIndex, reading: Reading, known: set[Path]) -> None:
        self._index, self._reading = index, reading
        self._folders = {path.parent for path in known}
        self._twins = {(path.parent, fold(path.stem)) for path in known}
        self._marked = marked_stems(index.root, {annotation.origin for annotation in reading.annotations})

    def doubt(self, path: Path, name: str) -> str:
        """What is said of such images in a warning; empty for good ones."""
        return self._by_name(path) or self._by_place(path, name) or self._by_files(path, name)

    def _by_name(self, path: Path) -> str:
        stem, of = fold(path.stem), mask_of_stem(path.stem)
        if stem in self._reading.elsewhere:
            return "with an annotation of the name that describes another image"
        if (path.parent, stem) in self._twins or (of and self._index.of_stem(of)):
            return "like a mask of another"
        return "named as defects, with nothing marked" if role(path.stem).bad else ""

    def _by_place(self, path: Path, name: str) -> str:
        if path.parent not in self._folders and not any(is_good(part) for part in PurePosixPath(name).parts[:-1]):
            return "in folders without any annotated image"
        return "in folders of defects, with nothing marked" if in_bad_folder(name) else ""

    def _by_files(self, path: Path, name: str) -> str:
        same_stem = self._index.of_stem(path.stem)
        if any(in_masks(other) for other in same_stem if other != name) and not in_masks(name):
            return "with a mask that was not read"
        if any(name in nearest(same_stem, folder) for folder in self._marked.get(fold(path.stem), ())):
            return "with an annotation file that was not read"
        return ""


def _add_good(index: ImageIndex, reading: Reading, name: str, split: str | None) -> None:
    try:
        reading.annotations.append(Annotation(name, inside(index.source, index.source, name), name, split=split))
    except DatasetError as error:
        reading.fail(f"{name}: {error}")
