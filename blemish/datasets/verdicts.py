"""What tools say of an image as a whole, by flags, choices and tags: good, a defect, or nothing for certain."""

from __future__ import annotations

from blemish.datasets.words import is_good


def of_flags(flags: object) -> tuple[tuple[str, ...], str]:
    """The names of LabelMe's image flags that are set, and why no flag does not mean a good image.

    A flag such as `NG` that is not set says as much as no flag. One such as `OK` that is not set says that the image
    is not good, or that nobody has decided.
    """
    if flags in (None, {}, []):
        return (), ""
    if not isinstance(flags, dict) or not all(isinstance(value, bool) for value in flags.values()):
        return (), "images have flags that cannot be understood"
    on = tuple(str(name) for name, value in flags.items() if value)
    if not on and any(is_good(str(name)) for name in flags):
        return (), "images have a flag for good parts that is not set"
    return on, ""
