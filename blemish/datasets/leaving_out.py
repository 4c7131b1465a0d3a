"""Images that are left out because somebody named them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from blemish.datasets.files import decode_text, naming, read_file
from blemish.errors import DatasetError, UsageError, did_you_mean

BY_NAME = "by name"  # of what is left out
_MOST = 16 << 20  # bytes of a file of names
_PAGE = re.compile(r"(.+)\[\d+\]")


def read_names(given: Sequence[str]) -> list[str]:
    """The names that a person gives: each as it is, or those in a file where it is `@FILE` or a `.txt` file.

    A text file has a name a line; blank lines and those that begin with `#` are skipped. Of a training's
    `train_result.json` they are the images that stand apart. Raises `DatasetError` for a file that cannot be read, and
    `UsageError` for one without names.
    """
    names: list[str] = []
    for one in given:
        if one.startswith("@") or one.lower().endswith(".txt"):
            names += _names_in(Path(one.removeprefix("@")).expanduser())
        else:
            names.append(one)
    return names


def named_among(place: Path, names: Sequence[str], asked: Sequence[str], *, pages_too: bool = False) -> list[str]:
    """The `names` of images, as paths relative to their folder, that somebody `asked` to leave out.

    Asked for is a path, a file name that one image has, or a pattern of either with `*` and `?`. With `pages_too` it
    may be a page of a document, `doc.tif[2]`: whoever reads the document leaves that out. Raises `UsageError` for what
    no image is called and for a file name that several have, `DatasetError` where nothing would be left.
    """
    found: dict[str, None] = {}
    for one in asked:
        page = _PAGE.fullmatch(one)
        matched = _matching(names, one)
        if not matched and pages_too and page:
            matched = [f"{name}{one[len(page[1]) :]}" for name in _matching(names, page[1])]
        if not matched:
            known = [text for name in names for text in (name, _file_name(name))]
            raise UsageError(
                f"--leave-out, Global.leave_out: no image of {place} is called `{one}`.{did_you_mean(one, known)}"
            )
        found |= dict.fromkeys(matched)
    if names and set(names) <= set(found):
        raise DatasetError(f"{place}: all {len(names)} images are left out by name")
    return list(found)


def _matching(names: Sequence[str], one: str) -> list[str]:
    asked = one.replace("\\", "/").removeprefix("./")
    if asked in names:
        return [asked]
    called = [name for name in names if _file_name(name) == asked]
    if len(called) > 1:
        raise UsageError(
            f"--leave-out, Global.leave_out: {len(called)} images are called `{one}`; name one by its path, such as "
            f"{called[0]}, or all of them: '*/{one}'"
        )
    if called or not {"*", "?"} & set(asked):
        return called
    return [name for name in names if fnmatchcase(name, asked) or fnmatchcase(_file_name(name), asked)]


def _file_name(name: str) -> str:
    return name.rpartition("/")[2]


def _names_in(path: Path) -> list[str]:
    with naming(path):
        text = decode_text(read_file(path, _MOST))
    if path.suffix.lower() == ".json":
        names = _outliers_in(path, text)
    else:
        lines = (line.strip() for line in text.splitlines())
        names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise UsageError(f"--leave-out: {path} names no image")
    return names


def _outliers_in(path: Path, text: str) -> list[str]:
    try:
        names = json.loads(text)["outliers"]
    except (ValueError, TypeError, KeyError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"--leave-out: {path} is not the train_result.json of a training")
    return names
