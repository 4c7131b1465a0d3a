"""Layouts of a data set, recognised by what is there, and the good images in them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from blemish.errors import DatasetError
from blemish.images import list_images

LIST_FILE = "train.txt"
# Folders of a data set that hold anything but good training images.
_NOT_TRAINING = ("test", "val", "ground_truth", "annotations", "masks")


@dataclass(frozen=True)
class GoodImages:
    """The good images of a data set: absolute or given paths, and their names relative to `root`, in order."""

    root: Path
    paths: tuple[Path, ...]
    names: tuple[str, ...]


def find_good_images(folder: Path) -> GoodImages:
    """The good training images of a folder, in one of three layouts.

    - `train.txt`: PaddleX's list file, an image and a mask on every line. Blanks in a path need quotes, or a tab
      between the two paths.
    - `train/good/`: the layout of MVTec AD.
    - otherwise all images in it, in sub-folders too.

    Raises `DatasetError` that says what was expected and what was found.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: {'is a file, not a folder' if folder.exists() else 'no such folder'}")
    if (folder / LIST_FILE).is_file():
        paths = _listed(folder)
    elif (folder / "train" / "good").is_dir():
        paths = list_images(folder / "train" / "good")
    else:
        paths = _plain(folder)
    if not paths:
        raise DatasetError(
            f"{folder}: no good images found. Expected images in the folder itself, in train/good, "
            f"or listed in {LIST_FILE}; there is {_content(folder)}"
        )
    return GoodImages(folder, tuple(paths), tuple(_name(path, folder) for path in paths))


def _plain(folder: Path) -> list[Path]:
    """All images of a folder; refused if sub-folders say that they are not all good images of one product."""
    categories = [child.name for child in sorted(folder.iterdir()) if (child / "train" / "good").is_dir()]
    if categories:
        raise DatasetError(
            f"{folder} holds several products ({_some(categories)}); name one of them, such as {folder / categories[0]}"
        )
    other = [name for name in _NOT_TRAINING if (folder / name).is_dir()]
    if other:
        raise DatasetError(
            f"{folder} has {_some(other)} but neither train/good nor {LIST_FILE}; put the good images into train/good, "
            "or name a folder that holds good images only"
        )
    return list_images(folder)


def _listed(folder: Path) -> list[Path]:
    """The first column of `train.txt`."""
    source = folder / LIST_FILE
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{source} cannot be read as UTF-8 text: {error}") from None
    lines = enumerate(text.splitlines(), 1)
    return [folder / _columns(line, f"{source}, line {number}")[0] for number, line in lines if line.strip()]


def _columns(line: str, where: str) -> list[str]:
    """An image, or an image and its mask."""
    try:
        columns = [_unquoted(part.strip()) for part in line.split("\t")] if "\t" in line else _split(line)
    except ValueError as error:
        raise DatasetError(f"{where}: {error}; quote paths with blanks") from None
    if not 1 <= len(columns) <= 2 or not columns[0]:
        raise DatasetError(
            f"{where}: expected an image and its mask, found {len(columns)} columns; "
            "quote paths with blanks, or put a tab between the two"
        )
    return columns


def _split(line: str) -> list[str]:
    """The columns between blanks; quotes hold a path together, and a backslash is a part of it."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    return list(lexer)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _name(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _content(folder: Path) -> str:
    return _some(sorted(child.name + "/" * child.is_dir() for child in folder.iterdir())) or "nothing in it"


def _some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
