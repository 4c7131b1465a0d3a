"""What an annotation file says of an image, whichever tool wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from blemish.datasets.files import inside, safe_name, some
from blemish.datasets.shapes import Draw
from blemish.errors import DatasetError
from blemish.images import list_images

NOT_DEFECTS = frozenset(("good", "ok", "normal", "background", "_background_", "__background__", "__ignore__"))
UNNAMED = "defect"
NOT_LISTED = "not listed"


@dataclass(frozen=True)
class Shape:
    """A part of an image and what it is called; `draw` is None where nobody outlined the defect."""

    label: str
    draw: Draw | None


@dataclass(frozen=True)
class Annotation:
    """An image and the defects in it.

    Attributes:
        name: the image relative to the source folder, with forward slashes.
        image: its file, links followed.
        origin: the annotation file, for messages.
        shapes: the marked defects; none in a good image.
        size: width and height that the annotation was made for, if it says so.
        split: `train` or `test`, where the source's own lists say so.
        embedded: gives the image's bytes where the annotation file carries them and there is no image file.
    """

    name: str
    image: Path
    origin: str
    shapes: tuple[Shape, ...] = ()
    size: tuple[int, int] | None = None
    split: str | None = None
    embedded: Callable[[], bytes] | None = None


@dataclass
class Reading:
    """All annotations of a source folder, what a person should know of them, and what could not be read.

    `unknown` holds the images, and the stems of images, whose annotation failed: they may show a defect, so that no
    other file and no missing one makes them good. `elsewhere` holds the stems of annotation files that describe an
    image of another name.
    """

    annotations: list[Annotation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unknown: set[Path | str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)

    def fail(self, message: str, image: Path | str | None = None) -> None:
        """Record a failure, and the image (or its stem) that it leaves unknown."""
        self.failed.append(message)
        if image is not None:
            self.unknown.add(image)


def defect_type(label: str) -> str | None:
    """The name of a defect's folder for a label; None for labels that mean a good part."""
    name = safe_name(label, UNNAMED)
    return None if name.casefold() in NOT_DEFECTS else name


def one_per_image(reading: Reading) -> list[Annotation]:
    """Several annotations of one image as one: all shapes; kept from training if one of them says so."""
    merged: dict[str, Annotation] = {}
    for new in reading.annotations:
        if new.image in reading.unknown:
            continue
        old = merged.get(new.name)
        if old is None:
            merged[new.name] = new
        elif old.size and new.size and old.size != new.size:
            reading.fail(f"{new.name}: {old.origin} and {new.origin} give it different sizes", new.image)
        else:
            split = "test" if "test" in (old.split, new.split) else old.split or new.split
            both = {"shapes": old.shapes + new.shapes, "split": split, "size": old.size or new.size}
            merged[new.name] = replace(old, **both)  # type: ignore[arg-type]
    return [merged[name] for name in sorted(merged) if merged[name].image not in reading.unknown]


def add_unannotated(source: Path, reading: Reading, split_of: Callable[[Path], str | None] = lambda _: None) -> None:
    """Images that no annotation names are good, if they lie beside annotated ones or in a folder called `good`.

    Elsewhere they may be anything, a tool's own masks for instance, and are left out. Both is said in a warning.
    `split_of` tells an image's split if the source has lists, or `NOT_LISTED`.
    """
    root = source.resolve()
    known = {annotation.image for annotation in reading.annotations}
    folders = {path.parent for path in known}
    taken: list[str] = []
    strange: list[str] = []
    left: list[str] = []
    for path in list_images(root):
        split = split_of(path)
        image = path.resolve()
        if image in known or image in reading.unknown or path.stem in reading.unknown or split == NOT_LISTED:
            continue
        name = path.relative_to(root).as_posix()
        if path.stem in reading.elsewhere:
            strange.append(name)
        elif path.parent not in folders and not _is_called_good(path.relative_to(root)):
            left.append(name)
        else:
            _add_good(source, reading, name, split)
            taken.append(name)
    if taken:
        reading.warnings.append(f"{len(taken)} images have no annotation and were taken as good: {some(taken)}")
    leave_out(reading, strange, "images have an annotation of their name, but it describes another image,")
    leave_out(reading, left, "images lie in folders without any annotated image")


def leave_out(reading: Reading, names: Iterable[str], why: str) -> None:
    """A warning that names what was left out."""
    names = sorted(names)
    if names:
        reading.warnings.append(f"{len(names)} {why} and were left out: {some(names)}")


def _is_called_good(name: Path) -> bool:
    return any(part.casefold() in NOT_DEFECTS for part in name.parts[:-1])


def _add_good(source: Path, reading: Reading, name: str, split: str | None) -> None:
    try:
        reading.annotations.append(Annotation(name, inside(source, source, name), name, split=split))
    except DatasetError as error:
        reading.fail(f"{name}: {error}")
