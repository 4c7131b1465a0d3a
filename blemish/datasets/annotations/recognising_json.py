"""Recognises the JSON of annotation tools by its keys, and which images it marks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from blemish.datasets.annotations import labelstudio_tasks, via_entries
from blemish.datasets.annotations.image_index import plain_path
from blemish.datasets.annotations.manifest_lines import read_line
from blemish.datasets.annotations.marks import AnnotationFile, Marks, is_clean_label
from blemish.datasets.annotations.verdicts import of_flags, of_tags
from blemish.datasets.files import fold, image_stem
from blemish.errors import DatasetError

_Object = dict[str, Any]


def recognise(name: PurePosixPath, content: Any) -> AnnotationFile | None:
    """The annotation in the content of a JSON file; None for settings, results and the like."""
    if isinstance(content, list):
        return _of_list(content)
    if not isinstance(content, dict):
        return None
    for recogniser in _OBJECTS:
        found = recogniser(name, content)
        if found is not None:
            return found
    return None


def manifest_line_is_clean(entry: _Object) -> bool:
    """Whether a line of a manifest says for certain that its image is good."""
    try:
        line = read_line(entry)
    except DatasetError:
        return False
    labels = [*line.verdicts, *(box.label for box in line.boxes)]
    return (bool(labels) or line.is_boxed) and all(is_clean_label(label) for label in labels)


def _labelme(name: PurePosixPath, content: _Object) -> AnnotationFile | None:
    if not isinstance(content.get("shapes"), list) or not {"imagePath", "imageData", "imageHeight"} & content.keys():
        return None
    marks = Marks("labelme", "LabelMe")
    verdicts, unsure = of_flags(content.get("flags"))
    labels = [*(_label(shape, "label") for shape in content["shapes"]), *verdicts]
    is_clean = not unsure and all(is_clean_label(label) for label in labels)
    marks.say(content.get("imagePath"), is_clean)
    own, path = image_stem(name.name), content.get("imagePath")
    is_own = not isinstance(path, str) or fold(PurePosixPath(plain_path(path)).stem) == fold(own)
    return (marks.clear(own) if is_clean and is_own else marks.mark(own)).file()


def _coco(_: PurePosixPath, content: _Object) -> AnnotationFile | None:
    images, annotations = content.get("images"), content.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        return None
    categories = content.get("categories")
    marks = Marks("coco", "COCO") if isinstance(categories, list) else Marks("", "COCO without categories")
    known = [item for item in categories or () if isinstance(item, dict)] if isinstance(categories, list) else []
    names = {str(item.get("id")): item.get("name") for item in known}
    marked = {str(item.get("image_id")) for item in annotations if _is_mark(item, names)}
    listed = {str(item.get("id")) for item in images if isinstance(item, dict)}
    dangling = bool(marked - listed)
    for item in images:
        if isinstance(item, dict):
            marks.say(item.get("file_name"), not dangling and str(item.get("id")) not in marked)
    return marks.file()


def _is_mark(item: Any, names: dict[str, Any]) -> bool:
    return not isinstance(item, dict) or not is_clean_label(names.get(str(item.get("category_id"))))


def _via(_: PurePosixPath, content: _Object) -> AnnotationFile | None:
    entries = via_entries.entries_of(content)
    if entries is None:
        is_third = isinstance(content.get("metadata"), dict) and {"project", "config", "file", "view"} <= content.keys()
        return Marks("", "VGG Image Annotator 3").file() if is_third else None
    marks = Marks("via", "VGG Image Annotator")
    for entry in entries:
        labels = [via_entries.label_of(region) for region in via_entries.regions_of(entry)]
        verdicts, unsure = via_entries.verdicts_of(entry)
        is_clean = not unsure and all(is_clean_label(label) for label in (*labels, *verdicts))
        marks.say(entry.get("filename"), is_clean)
    return marks.file()


def _supervisely(name: PurePosixPath, content: _Object) -> AnnotationFile | None:
    marks = Marks("supervisely", "Supervisely")
    if isinstance(content.get("objects"), list) and isinstance(content.get("size"), dict):
        verdicts, unsure = of_tags(content.get("tags"))
        labels = [*(_label(item, "classTitle") for item in content["objects"]), *verdicts]
        is_clean = not unsure and all(is_clean_label(label) for label in labels)
        stem = image_stem(name.name)  # `000.png.json`, or `000.json` as it was once
        return (marks.clear(stem) if is_clean else marks.mark(stem)).file()
    classes = content.get("classes")
    is_meta = (
        isinstance(classes, list) and "tags" in content and all("title" in c for c in classes if isinstance(c, dict))
    )
    return marks.file() if is_meta else None


def _foreign(_: PurePosixPath, content: _Object) -> AnnotationFile | None:
    """Formats without a reader: whatever they list is marked."""
    items = content.get("items")
    if isinstance(items, list) and "categories" in content:
        marks = Marks("", "Datumaro")
        for item in items:
            if isinstance(item, dict):
                marks.say(f"{item.get('id')}.png", item.get("annotations") == [])
        return marks.file()
    for keys, title in _TITLES.items():
        if all(key in content for key in keys):
            return Marks("", title).file()
    return None


_TITLES = {
    ("asset", "regions"): "VoTT",
    ("assets", "tags", "version"): "VoTT",
    ("data_row", "projects"): "Labelbox",
    ("item", "annotations", "version"): "V7 Darwin",
    ("metadata", "instances"): "SuperAnnotate",
    ("imgHeight", "imgWidth", "objects"): "Cityscapes",
}
_OBJECTS: tuple[Callable[[PurePosixPath, _Object], AnnotationFile | None], ...] = (
    _labelme,
    _coco,
    _via,
    _supervisely,
    _foreign,
)


def _of_list(content: list[Any]) -> AnnotationFile | None:
    entries = [item for item in content if isinstance(item, dict)]
    if not entries or len(entries) < len(content):
        return None
    if labelstudio_tasks.is_export(entries):
        marks = Marks("labelstudio", "Label Studio")
        for entry in entries:
            marks.say(*_label_studio(entry))
        return marks.file()
    if all("image" in item and isinstance(item.get("annotations"), list) for item in entries):
        marks = Marks("", "CreateML")
        for item in entries:
            marks.say(item["image"], item["annotations"] == [])
        return marks.file()
    if all({"External ID", "Label"} <= item.keys() for item in entries):
        return Marks("", "Labelbox").file()
    return None


def _label_studio(entry: _Object) -> tuple[Any, bool]:
    """The image of a task, and whether it is left unmarked for certain."""
    try:
        task = labelstudio_tasks.read_task(entry)
    except DatasetError:
        return labelstudio_tasks.image_of(entry), False
    labels = [*(region.label for region in task.regions), *task.verdicts]
    return task.image, not task.unsure and all(is_clean_label(label) for label in labels)


def _label(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, dict) else None
