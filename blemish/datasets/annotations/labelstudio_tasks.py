"""Label Studio's tasks, one an image: its regions and what is chosen for the whole image.

Format: its exports JSON and JSON-MIN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from blemish.datasets.annotations.image_index import plain_path
from blemish.errors import DatasetError
from blemish.images import is_image_name

_OUTLINES = frozenset(("x", "points", "rle", "vertices"))  # a region has one of these
_ABOUT = frozenset(("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"))


@dataclass(frozen=True)
class Region:
    """A region in percent of the image: its name, its kind such as `rectangle`, and its numbers."""

    label: str
    kind: str
    value: dict[str, Any]
    size: tuple[int, int] | None
    is_turned: bool


@dataclass(frozen=True)
class Task:
    """An image and what is said of it; `unsure` says why it may not be good without regions."""

    image: str
    regions: tuple[Region, ...]
    verdicts: tuple[str, ...]
    unsure: str


def is_export(entries: list[dict[str, Any]]) -> bool:
    """Whether a list of objects is one of Label Studio's exports."""
    full = all(isinstance(entry.get("data"), dict) for entry in entries)
    least = all(_ABOUT & entry.keys() and image_of(entry) for entry in entries)
    return (full and any({"annotations", "completions", "predictions"} & entry.keys() for entry in entries)) or least


def image_of(entry: dict[str, Any]) -> str | None:
    """The only image of a task; None if there is none, or several."""
    data = entry.get("data") if isinstance(entry.get("data"), dict) else entry
    texts = [value for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []
    images = {text for text in texts if is_image_name(PurePosixPath(plain_path(text)).name)}
    return images.pop() if len(images) == 1 else None


def read_task(entry: dict[str, Any]) -> Task:
    """A task of either export; `DatasetError` for what cannot be understood."""
    image = image_of(entry)
    if image is None:
        raise DatasetError("has a task without an image, or with several")
    if "data" not in entry:
        return _least(image, entry)
    annotations = entry.get("annotations", entry.get("completions"))
    if not isinstance(annotations, list) or not all(isinstance(item, dict) for item in annotations):
        annotations = []
    done = [item for item in annotations if not item.get("was_cancelled") and not item.get("skipped")]
    if not done:
        return Task(image, (), (), "with no annotation that was submitted")
    results = [result for item in done for result in _list(item.get("result"))]
    return _task(image, results)


def _task(image: str, results: list[Any]) -> Task:
    """Results of one id belong together: an outline and its label, or what is chosen for that outline."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for number, result in enumerate(results):
        if not isinstance(result, dict):
            raise DatasetError("has a result that is not an object")
        if result.get("type") != "relation":
            groups.setdefault(str(result.get("id", f"#{number}")), []).append(result)
    regions, verdicts, unsure = [], [], ""
    for group in groups.values():
        outline = next((result for result in group if _OUTLINES & _value(result).keys()), None)
        chosen = [text for result in group for text in _chosen(_value(result), str(result.get("type")))]
        labels = [text for result in group for text in _labels(_value(result))]
        if outline is not None:
            regions.append(_region((labels or chosen or [""])[0], outline, str(outline.get("type"))))
        elif chosen or labels:
            verdicts += chosen + labels
        else:
            unsure = "with a result that is neither an outline nor a choice"
    return Task(image, tuple(regions), tuple(verdicts), unsure)


def _least(image: str, entry: dict[str, Any]) -> Task:
    """JSON-MIN: every question is a key, with its regions or its choices."""
    regions, verdicts, unsure = [], [], ""
    for key, answer in entry.items():
        if key in _ABOUT or answer == image or answer in (None, [], ""):
            continue
        for item in answer if isinstance(answer, list) else [answer]:
            if isinstance(item, dict) and _OUTLINES & item.keys():
                labels = list(_labels(item))
                kind = next((name for name in item if name.endswith("labels")), "")
                regions.append(_region((labels or [""])[0], {"value": item, **item}, kind))
            elif isinstance(item, dict) and "choices" in item:
                verdicts += _chosen(item, "choices")
            elif isinstance(item, str) and key not in ("image", "img"):
                verdicts.append(item)
            else:
                unsure = "with a result that is neither an outline nor a choice"
    return Task(image, tuple(regions), tuple(verdicts), unsure)


def _region(label: str, result: dict[str, Any], kind: str) -> Region:
    width, height = result.get("original_width"), result.get("original_height")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    turned = result.get("image_rotation") not in (None, 0)
    return Region(label, kind.removesuffix("labels"), _value(result), size, turned)


def _value(result: dict[str, Any]) -> dict[str, Any]:
    value = result.get("value")
    return value if isinstance(value, dict) else {}


def _labels(value: dict[str, Any]) -> Iterator[str]:
    """The names under `rectanglelabels`, `labels` and the like."""
    for key, names in value.items():
        if key.endswith("labels"):
            yield from (str(name) for name in _list(names))


def _chosen(value: dict[str, Any], kind: str) -> list[str]:
    """The choices, or the last words of a taxonomy's paths."""
    if kind == "taxonomy":
        return [str(path[-1]) for path in _list(value.get("taxonomy")) if isinstance(path, list) and path]
    return [str(name) for name in _list(value.get("choices"))]


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
