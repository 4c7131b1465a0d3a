"""What an annotation file says of an image, whichever tool wrote it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from blemish.datasets.annotations.shapes import Draw
from blemish.datasets.files import fold, safe_name, some
from blemish.datasets.words import is_bad, is_good
from blemish.metrics.rates import counted

NOT_DEFECTS = frozenset(("background", "_background_", "__background__", "__ignore__"))
UNNAMED = "defect"


@dataclass(frozen=True)
class Shape:
    """A part of an image and what it is called; `draw` is None where there is no outline that can be used."""

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
        verdicts: what is said of the whole image, such as `OK`, `NG` or `scratch`.
        unsure: why no shapes do not mean that the image is good, to follow "2 images"; empty where they do.
    """

    name: str
    image: Path
    origin: str
    shapes: tuple[Shape, ...] = ()
    size: tuple[int, int] | None = None
    split: str | None = None
    embedded: Callable[[], bytes] | None = None
    verdicts: tuple[str, ...] = ()
    unsure: str = ""

    @property
    def defects(self) -> tuple[Shape, ...]:
        """The shapes and verdicts that mean a defect, by the names of their folders."""
        all_of_it = (*self.shapes, *(Shape(verdict, None) for verdict in self.verdicts))
        named = ((defect_type(shape.label), shape.draw) for shape in all_of_it)
        return tuple(Shape(kind, draw) for kind, draw in named if kind is not None)

    @property
    def is_called_good(self) -> bool:
        """Whether the image as a whole is said to be good."""
        return any(defect_type(verdict) is None for verdict in self.verdicts)


@dataclass
class Reading:
    """All annotations of a source folder, what a person should know of them, and what could not be read.

    `unknown` holds the images whose annotation failed, and `unknown_stems` those of annotation files that failed,
    folded: they may show a defect, so that no other file and no missing one makes them good. `elsewhere` holds the
    stems of annotation files that describe an image of another name, `skipped` those that the source's lists leave out
    and those of images that are missing.
    """

    annotations: list[Annotation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unknown: set[Path] = field(default_factory=set)
    unknown_stems: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)

    def fail(self, message: str, image: Path | str | None = None) -> None:
        """Record a failure, and the image (or its stem) that it leaves unknown."""
        self.failed.append(message)
        if isinstance(image, str):
            self.unknown_stems.add(fold(image))
        elif image is not None:
            self.unknown.add(image)


def defect_type(label: str) -> str | None:
    """The name of a defect's folder for a label; None for labels that mean a good part."""
    name = safe_name(label, UNNAMED)
    return None if name.casefold() in NOT_DEFECTS or is_good(name) else name


def one_per_image(reading: Reading) -> list[Annotation]:
    """Several annotations of one image as one: all shapes; kept from training if one of them says so.

    Images of which the annotations do not say for certain that they are good, or that they are not, are left out and
    named.
    """
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
            merged[new.name] = _both(old, new)
    return list(_certain([merged[name] for name in sorted(merged)], reading))


def _both(old: Annotation, new: Annotation) -> Annotation:
    return replace(
        old,
        shapes=old.shapes + new.shapes,
        verdicts=old.verdicts + new.verdicts,
        unsure=old.unsure or new.unsure,
        split="test" if "test" in (old.split, new.split) else old.split or new.split,
        size=old.size or new.size,
    )


def _certain(annotations: list[Annotation], reading: Reading) -> Iterable[Annotation]:
    left: dict[str, list[str]] = defaultdict(list)
    partly: list[str] = []
    for annotation in annotations:
        if annotation.image in reading.unknown:
            continue
        defects = annotation.defects
        if defects and annotation.is_called_good:
            reading.fail(f"{annotation.name} ({annotation.origin}): is called good, but defects are marked in it")
        elif not defects and _doubt(annotation, reading):
            left[_doubt(annotation, reading)].append(annotation.name)
        else:
            partly += [annotation.name] if _is_partly_outlined(annotation) else []
            yield annotation
    for why, names in left.items():
        leave_out(reading, names, "image", why)
    if partly:
        reading.warnings.append(
            f"{counted(len(partly), 'image')} with a mark without an outline that can be used, "
            f"which the mask lacks: {some(partly)}"
        )


def _doubt(annotation: Annotation, reading: Reading) -> str:
    """Why an image without a marked defect may still have one; empty if nothing says so."""
    if annotation.unsure:
        return annotation.unsure
    if fold(PurePosixPath(annotation.name).stem) in reading.unknown_stems:
        return "with another annotation file of the name, which failed"
    if annotation.verdicts:
        return ""
    return "in folders of defects, with nothing marked" if in_bad_folder(annotation.name) else ""


def _is_partly_outlined(annotation: Annotation) -> bool:
    drawn = [shape.draw is not None for shape in annotation.shapes if defect_type(shape.label) is not None]
    return any(drawn) and not all(drawn)


def in_bad_folder(name: str) -> bool:
    """Whether the innermost folder of an image that has a word of a verdict calls it a defect."""
    for folder in reversed(PurePosixPath(name).parts[:-1]):
        if is_bad(folder) or is_good(folder):
            return is_bad(folder)
    return False


def leave_out(reading: Reading, names: Iterable[str], noun: str, why: str) -> None:
    """A warning that names what was left out: `2 images in no list, left out: a.png, b.png`."""
    names = sorted(names)
    if names:
        reading.warnings.append(f"{counted(len(names), noun)} {why}, left out: {some(names)}")
