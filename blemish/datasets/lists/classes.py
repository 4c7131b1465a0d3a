"""Lists for classification, as PaddleClas and PaddleX have them: an image and the number of its class a line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from blemish.datasets.files import decode_text, naming, read_file, safe_name
from blemish.datasets.lists.lines import Line
from blemish.datasets.samples import GOOD
from blemish.datasets.words import is_good
from blemish.errors import DatasetError

_NAMES = ("label.txt", "labels.txt", "label_list.txt", "classes.txt")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class ClassNames:
    """The names of the classes by number, one of which is good."""

    names: dict[str, str]

    def kind(self, number: str) -> str:
        """`good`, or the name of the defect's type."""
        name = self.names[_number(number)]
        return GOOD if is_good(name) else safe_name(name, f"class_{number}")

    def problem(self, line: Line) -> str:
        """What is wrong with a line of such a list."""
        if len(line.columns) != 2 or not _is_number(line.columns[1]):
            return "expected an image and the number of its class"
        return "" if _number(line.columns[1]) in self.names else f"class {line.columns[1]} has no name"


def is_class_list(folder: Path, lines: list[Line]) -> bool:
    """Whether second columns are class numbers: whole numbers that are no files."""
    seconds = {line.columns[1] for line in lines if len(line.columns) == 2}
    return any(_is_number(column) and not (folder / column).is_file() for column in seconds)


def read_class_names(folder: Path, source: Path) -> ClassNames:
    """The names beside a list, where they say which one class is good; else `DatasetError` asks for that."""
    file = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    names = {} if file is None else _names(file)
    if sum(is_good(name) for name in names.values()) == 1:
        return ClassNames(names)
    known = ", ".join(f"{number} {name}" for number, name in list(names.items())[:8])
    stated = f"{file.name} has {known}" if file is not None and known else f"there is no {_NAMES[0]}"
    raise DatasetError(
        f"{source} is a classification list: its second column is a class number, not a mask. Which class is good? "
        f"{stated}; name it `good` in {file.name if file else _NAMES[0]} (a line `0 good` for each class)"
    )


def _names(file: Path) -> dict[str, str]:
    """`0 good` a line, or a name a line, counted from 0."""
    with naming(file):
        lines = [line.strip() for line in decode_text(read_file(file, _MOST_BYTES)).splitlines() if line.strip()]
    numbered = [re.fullmatch(r"(\d{1,9})[\s,:]+(\S.*)", line) for line in lines]
    if all(numbered):
        return {_number(match[1]): match[2].strip() for match in numbered if match}
    turned = [re.fullmatch(r"(\S.*?)[\s,:]+(\d{1,9})", line) for line in lines]
    if all(turned):
        return {_number(match[2]): match[1].strip() for match in turned if match}
    return {str(number): line for number, line in enumerate(lines)}


def _is_number(column: str) -> bool:
    return re.fullmatch(r"[+-]?\d{1,9}", column) is not None


def _number(text: str) -> str:
    return str(int(text))
