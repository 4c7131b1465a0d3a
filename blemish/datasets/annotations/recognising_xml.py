"""Recognises the XML of annotation tools: Pascal VOC, CVAT, the old LabelMe, dlib."""

from __future__ import annotations

from pathlib import PurePosixPath
from xml.etree.ElementTree import Element

from blemish.datasets.annotations.marks import AnnotationFile, Marks, is_clean_label
from blemish.datasets.annotations.xml_files import parse_xml
from blemish.datasets.files import image_stem
from blemish.errors import DatasetError

CVAT_SHAPES = ("box", "polygon", "polyline", "points", "ellipse", "mask", "cuboid", "skeleton", "tag")


def recognise(name: PurePosixPath, data: bytes) -> AnnotationFile | None:
    """The annotation in an XML file; None for other XML. A damaged one is taken for one that marks its image."""
    if b"<annotation" not in data and b"<images" not in data and b"\0" not in data[:64]:
        return None
    try:
        root = parse_xml(data)
    except DatasetError:
        return Marks("voc", "Pascal VOC").mark(image_stem(name.name)).file() if b"<annotation" in data else None
    if root.tag == "annotation":
        return _voc(name, root)
    if root.tag == "annotations" and (root.find("image") is not None or root.find("track") is not None):
        return _cvat(root)
    return _dlib(root) if root.tag == "dataset" and root.find("images/image") is not None else None


def _voc(name: PurePosixPath, root: Element) -> AnnotationFile:
    objects = list(root.iter("object"))
    old = any(item.find("polygon") is not None for item in objects)
    marks = Marks("", "the old LabelMe's XML") if old else Marks("voc", "Pascal VOC")
    labels = [(item.findtext("name") or "").strip() for item in objects if (item.findtext("deleted") or "0") != "1"]
    is_clean = all(is_clean_label(label) for label in labels)
    marks.say(root.findtext("filename"), is_clean)
    stem = image_stem(name.name)
    return (marks.clear(stem) if is_clean else marks.mark(stem)).file()


def _cvat(root: Element) -> AnnotationFile:
    marks = Marks("cvat", "CVAT")
    for image in root.iter("image"):
        shapes = [child for child in image if child.tag in CVAT_SHAPES]
        marks.say(image.get("name"), all(is_clean_label(shape.get("label")) for shape in shapes))
    for track in root.iter("track"):
        for shape in track:
            frame = shape.get("frame") or ""
            marks.say(f"frame_{frame.zfill(6)}.png" if frame.isdigit() else None, is_clean=False)
    return marks.file()


def _dlib(root: Element) -> AnnotationFile:
    marks = Marks("", "dlib's imglab XML")
    for image in root.iter("image"):
        marks.say(image.get("file"), image.find("box") is None)
    return marks.file()
