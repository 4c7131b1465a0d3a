"""VGG Image Annotator's entries, one an image: where they are, what their regions and images are called.

Format: its JSON of versions 1 and 2, as a project and as annotations alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from blemish.datasets.words import is_bad, is_good, role

_LONGEST = 60  # letters of a text that can be the name of a defect's type
_CLASS = ("label", "class", "category", "defect", "type", "name", "kind")


def entries_of(content: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The images' entries of a project or of annotations alone; None for JSON of another kind."""
    inner = content.get("_via_img_metadata", content)
    if not isinstance(inner, dict) or (inner is content and not inner):
        return None
    entries = list(inner.values())
    known = all(isinstance(entry, dict) and {"filename", "regions"} <= entry.keys() for entry in entries)
    return entries if known else None


def regions_of(entry: dict[str, Any]) -> list[Any]:
    """The regions of an image: a list, in version 1 an object by number."""
    regions = entry.get("regions")
    if isinstance(regions, dict):
        return list(regions.values())
    return regions if isinstance(regions, list) else [None] * (regions is not None)


def label_of(region: Any) -> str:
    """The class of a region: its attribute that is called so, else the first that has a text; empty if none has."""
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    if not isinstance(attributes, dict):
        return ""
    texts = {str(name).casefold(): text for name, value in attributes.items() for text in _texts(value)}
    return next((texts[name] for name in _CLASS if name in texts), next(iter(texts.values()), ""))


def verdicts_of(entry: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    """What the attributes of an image say of it, by their words, and why it may not be good without regions."""
    attributes = entry.get("file_attributes")
    if attributes in (None, {}, "", []):
        return (), ""
    if not isinstance(attributes, dict):
        return (), "with attributes that cannot be understood"
    texts = [text for value in attributes.values() for text in _texts(value)]
    verdicts = tuple(text[:_LONGEST] for text in texts if is_good(text) or is_bad(text))
    unsure = any(role(text).unsure for text in texts)
    return verdicts, "with an attribute that may mean good or not" if unsure and not verdicts else ""


def _texts(value: Any) -> Iterator[str]:
    """The texts of a value: itself, or the boxes that are ticked."""
    if isinstance(value, dict):
        yield from (str(name) for name, ticked in value.items() if ticked is True)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
        yield str(value).strip()
