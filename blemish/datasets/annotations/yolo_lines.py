"""Lines of YOLO's label files: a class and a box or an outline, in shares of the image's width and height."""

from __future__ import annotations

import math

from blemish.errors import DatasetError

_SLACK = 0.01  # by which outlines may lie outside the image


def parse_line(line: str) -> tuple[int, tuple[float, ...]]:
    """The class number and the four or more shares; `DatasetError` for anything else."""
    words = line.split()
    try:
        number, shares = float(words[0]), tuple(float(word) for word in words[1:])
    except ValueError:
        raise DatasetError(f"the line {line[:40]!r} is not a class and shares of the image") from None
    if len(shares) < 4 or not number.is_integer() or not 0 <= number < 2**31:
        raise DatasetError(f"the line {line[:40]!r} is not a class and four shares of the image, or more")
    if not all(math.isfinite(share) and -_SLACK <= share <= 1 + _SLACK for share in shares):
        raise DatasetError(f"the line {line[:40]!r} has numbers that are no shares of the image, from 0 to 1")
    return int(number), shares


def label_lines(text: str) -> list[str] | None:
    """The lines that are not blank, if all of them are of a label file; else None."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        for line in lines:
            parse_line(line)
    except DatasetError:
        return None
    return lines
