"""Pascal VOC: an XML file of boxes an image, or a class number for every pixel in `SegmentationClass`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from blemish.datasets.annotations import shapes
from blemish.datasets.annotations.annotation import Annotation, Reading, Shape, leave_out
from blemish.datasets.annotations.image_index import ImageIndex, plain_path
from blemish.datasets.annotations.unannotated import NOT_LISTED, add_unannotated
from blemish.datasets.annotations.voc_masks import ClassName, read_class_names, read_classes
from blemish.datasets.annotations.xml_files import parse_xml
from blemish.datasets.files import decode_text, fold, naming, read_file, visible_files
from blemish.errors import DatasetError

MOST_BYTES = 1 << 24
MASKS = ("SegmentationClass", "SegmentationObject", "SegmentationClassVisualization")
_IMAGE_FOLDERS = ("JPEGImages", "images")
_SETS = {"train": "train", "trainval": None, "val": "test", "test": "test"}  # the last one that names an image counts


class _Entry(NamedTuple):
    """One annotated image: the folder of the VOC set that it is in, its stem, and its files."""

    base: Path
    stem: str
    xml: Path | None
    mask: Path | None


def read_voc(source: Path) -> Reading:
    """The annotations in a folder: `Annotations/*.xml` or XML beside the images, and `SegmentationClass/*.png`.

    A mask there counts instead of the boxes. The lists of `ImageSets/Main` and `ImageSets/Segmentation` say what is
    read and for which split, if they are there. Without them, images that nothing describes count as good.
    """
    reading, unlisted = Reading(), []
    index = ImageIndex(source)
    sets: dict[Path, dict[str, str | None]] = {}
    for entry in _entries(source.resolve()):
        listed = sets.setdefault(entry.base, _image_sets(entry.base))
        if listed and entry.stem not in listed:
            unlisted.append(_origin(source, entry))
            reading.skipped.add(fold(entry.stem))
            continue
        try:
            reading.annotations.append(_annotation(index, entry, listed.get(entry.stem)))
        except DatasetError as error:
            reading.fail(f"{_origin(source, entry)}: {error}", entry.stem)
    if not reading.annotations and not reading.failed:
        raise DatasetError(f"{source} holds no Pascal VOC annotation: XML files or SegmentationClass/*.png")
    leave_out(reading, unlisted, "annotation", "in no list of ImageSets")
    index.settle(reading)
    add_unannotated(index, reading, partial(_split_of, sets=sets))
    return reading


def _split_of(image: Path, sets: dict[Path, dict[str, str | None]]) -> str | None:
    """What the lists say of an image without annotation."""
    if image.parent.name in MASKS:
        return NOT_LISTED
    listed = next((found for base, found in sets.items() if found and image.is_relative_to(base)), None)
    return None if listed is None else listed.get(image.stem, NOT_LISTED)


def _entries(root: Path) -> Iterator[_Entry]:
    """All XML files with their masks, then the masks without an XML file."""
    masks = {
        (path.parent.parent, fold(path.stem)): path
        for path in visible_files(root, ".png")
        if path.parent.name.lower() == MASKS[0].lower()
    }
    found: set[tuple[Path, str]] = set()
    for xml in visible_files(root, ".xml"):
        base = xml.parent.parent if xml.parent.name.lower() == "annotations" else xml.parent
        found.add((base, fold(xml.stem)))
        yield _Entry(base, xml.stem, xml, masks.get((base, fold(xml.stem))))
    for (base, stem), mask in masks.items():
        if (base, stem) not in found:
            yield _Entry(base, mask.stem, None, mask)


def _image_sets(base: Path) -> dict[str, str | None]:
    """Stem of every listed image, and its split; kept from training if one list says so."""
    listed: dict[str, str | None] = {}
    for name, split in _SETS.items():
        for folder in ("Main", "Segmentation"):
            path = base / "ImageSets" / folder / f"{name}.txt"
            if path.is_file():
                with naming(path):
                    lines = decode_text(read_file(path, MOST_BYTES)).splitlines()
                listed |= {line.strip(): split or listed.get(line.strip()) for line in lines if line.strip()}
    return listed


def _annotation(index: ImageIndex, entry: _Entry, split: str | None) -> Annotation:
    root = Element("annotation") if entry.xml is None else parse_xml(read_file(entry.xml, MOST_BYTES))
    if root.tag != "annotation":
        raise DatasetError(f"is XML of another kind: <{root.tag}> instead of <annotation>{_hint(root.tag)}")
    file_name = (root.findtext("filename") or "").strip()
    image = _find_image(index, entry, file_name)
    found = (() if entry.mask is None else tuple(_classes(entry.base, entry.mask, root))) or tuple(_boxes(root))
    unsure = "" if _is_of(image, file_name) else "called otherwise by the XML file, which marks nothing"
    origin = _origin(index.source, entry)
    return Annotation(index.relative(image), image, origin, found, _size(root), split, unsure=unsure)


def _is_of(image: Path, file_name: str) -> bool:
    """Whether the name in the XML, if any, is the image's, whatever its suffix and folder."""
    named = fold(PurePosixPath(plain_path(file_name)).name)
    return not named or fold(image.name) == named or fold(image.stem) in (named, fold(PurePosixPath(named).stem))


def _hint(tag: str) -> str:
    return "; CVAT's is read with --from cvat" if tag == "annotations" else ""


def _find_image(index: ImageIndex, entry: _Entry, file_name: str) -> Path:
    """By the stem of the annotation, else by the name in the XML, in the folders where VOC keeps images; else the only
    image of that stem or name in the source.

    The stem comes first: names in the XML stay behind when files are renamed or copied.
    """
    beside = entry.base if entry.xml is None else entry.xml.parent
    folders = [beside, *(entry.base / name for name in _IMAGE_FOLDERS), entry.base]
    found = next((path for folder in folders if (path := index.by_stem(entry.stem, folder))), None)
    if found is None and file_name:
        found = next((path for folder in folders if (path := index.exact(folder, file_name))), None)
    found = found or index.by_stem_anywhere(entry.stem, beside)
    found = found or (index.find(file_name, beside) if file_name else None)
    if found is None:
        raise DatasetError(f"its image {file_name or entry.stem} is not there")
    return found


def _size(root: Element) -> tuple[int, int] | None:
    try:
        width, height = (int(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width and height else None


def _boxes(root: Element) -> Iterator[Shape]:
    """Boxes from the first to the last pixel, which VOC counts from 1."""
    for item in root.iter("object"):
        label = (item.findtext("name") or "").strip()
        try:
            sides = [float(item.findtext(f"bndbox/{side}") or "nan") for side in ("xmin", "ymin", "xmax", "ymax")]
        except ValueError:
            raise DatasetError(f"the box of {label!r} is not made of numbers") from None
        corners = shapes.read_points([sides[:2], sides[2:]], 2, f"box of {label!r}")
        yield Shape(label, partial(shapes.fill_box, points=corners - 1))


def _classes(base: Path, mask: Path, root: Element) -> Iterator[Shape]:
    """Every class of a mask but the background (0) and the border (255)."""
    labels = {(item.findtext("name") or "").strip() for item in root.iter("object")}
    names = read_class_names(base)
    classes = read_classes(mask, names)  # (H, W)
    for number in np.unique(classes):
        if 0 < number < 255:
            label = names[number].label if number < len(names) else labels.copy().pop() if len(labels) == 1 else ""
            yield Shape(label or f"class_{number}", partial(_paint_class, path=mask, names=names, number=int(number)))


def _paint_class(mask: shapes.Mask, path: Path, names: list[ClassName], number: int) -> None:
    classes = read_classes(path, names)
    if classes.shape != mask.shape:
        raise DatasetError(f"{path.name} has {classes.shape[1]}x{classes.shape[0]} pixels, its image another size")
    mask[classes == number] = 255


def _origin(source: Path, entry: _Entry) -> str:
    return _name(source, entry.xml or entry.mask or entry.base)


def _name(source: Path, path: Path) -> str:
    return path.relative_to(source.resolve()).as_posix()
