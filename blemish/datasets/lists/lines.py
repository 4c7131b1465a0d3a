"""PaddleX's list files: an image, or an image and its mask, a line."""

from __future__ import annotations

import codecs
import shlex
from dataclasses import dataclass
from pathlib import Path

from blemish.errors import DatasetError

MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class Line:
    """One line that is not blank: the columns, or what keeps it from being read."""

    number: int  # from 1
    columns: tuple[str, ...] = ()
    problem: str = ""


def read_list(source: Path) -> list[Line]:
    """The lines of a list file without the blank ones; those that cannot be read say why.

    UTF-8 with or without a byte order mark, or UTF-16 with one. Two columns are parted by a tab, or by blanks; then a
    path with blanks stands in quotes. Raises `DatasetError` if the file itself cannot be read.
    """
    try:
        if source.stat().st_size > MOST_BYTES:
            raise DatasetError(f"{source} has more than {MOST_BYTES >> 20} MiB; that is no list of images")
        content = source.read_bytes()
    except OSError as error:
        raise DatasetError(f"{source} cannot be read: {error.strerror}") from None
    lines = _utf8(content).replace(b"\r\n", b"\n").split(b"\n")
    return [_line(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _utf8(content: bytes) -> bytes:
    """The content as UTF-8 without a byte order mark: Notepad and PowerShell may write UTF-16."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16").encode()
        except UnicodeError:
            return content  # its lines say what is wrong
    return content.removeprefix(codecs.BOM_UTF8)


def _line(number: int, content: bytes) -> Line:
    try:
        columns = _columns(content.decode())
    except UnicodeDecodeError:
        return Line(number, problem="is not UTF-8 text")
    except ValueError as error:
        return Line(number, problem=f"{str(error).lower()}; quote paths with blanks, or put a tab between the two")
    if not 1 <= len(columns) <= 2 or not columns[0]:
        return Line(
            number,
            problem=f"expected an image and its mask, found {len(columns)} columns; "
            "quote paths with blanks, or put a tab between the two",
        )
    if any("\0" in column for column in columns):
        return Line(number, problem="holds a zero byte")
    return Line(number, tuple(column for column in columns if column))


def _columns(line: str) -> list[str]:
    if "\t" in line:
        return [_unquoted(part.strip()) for part in line.split("\t")]
    words = shlex.shlex(line, posix=True, punctuation_chars=False)
    words.whitespace_split, words.commenters, words.escape = True, "", ""  # a backslash is part of a name
    return list(words)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
