"""What tools say of an image as a whole, by flags, choices and tags: good, a defect, or nothing for certain."""

from __future__ import annotations

from blemish.datasets.words import is_bad, is_good, role


def of_flags(flags: object) -> tuple[tuple[str, ...], str]:
    """The names of LabelMe's image flags that are set, and why no flag does not mean a good image.

    A flag such as `NG` that is not set says as much as no flag. One such as `OK` that is not set says that the image
    is not good, or that nobody has decided.
    """
    if flags in (None, {}, []):
        return (), ""
    if not isinstance(flags, dict) or not all(isinstance(value, bool) for value in flags.values()):
        return (), "with flags that cannot be understood"
    on = tuple(str(name) for name, value in flags.items() if value)
    if not on and any(is_good(str(name)) for name in flags):
        return (), "with a flag for good parts that is not set"
    return on, ""


def of_tags(tags: object) -> tuple[tuple[str, ...], str]:
    """What Supervisely's image tags say, and why they leave open whether an image without marks is good.

    A tag, or its value, says good or a defect by its word. One of a split says nothing; any other may mean anything.
    """
    verdicts, unsure = [], ""
    for tag in tags if isinstance(tags, list) else ():
        said = [str(tag.get(key)) for key in ("value", "name") if tag.get(key)] if isinstance(tag, dict) else [""]
        word = next((text for text in said if is_good(text) or is_bad(text)), None)
        is_denied = isinstance(tag, dict) and word == tag.get("name") and said[0] != word
        if word is not None and not is_denied:
            verdicts.append(word)
        elif word is not None or not any(role(text).split for text in said):
            unsure = "with a tag of unknown meaning"
    return tuple(verdicts), unsure


def split_of_tags(tags: object) -> str | None:
    """The split that image tags say, `train` or `test`."""
    names = [tag.get("name") for tag in tags if isinstance(tag, dict)] if isinstance(tags, list) else []
    splits = [role(name).split for name in names if isinstance(name, str)]
    found = next((split for split in splits if split), None)
    return found if found in (None, "train") else "test"
