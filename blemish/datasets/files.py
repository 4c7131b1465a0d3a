"""Files of data sets: written whole or not at all, read within limits, and never outside the folder they belong to."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from blemish.errors import DatasetError
from blemish.images import is_image_name

PARTIAL = ".partial"
_LONGEST_NAME = 200  # bytes; file systems allow 255, and an ending still has to fit
# What files may declare, and how it is read: Chinese encodings by the one that holds the others.
_TEXTS = {
    **dict.fromkeys(("gbk", "gb2312", "gb18030", "cp936", "hz-gb-2312"), "gb18030"),
    **{name: name for name in ("big5", "shift_jis", "euc-jp", "euc-kr", "cp949", "cp932", "latin-1")},
    **dict.fromkeys(("utf-8", "utf8", "utf-16", "unicode", "ascii", "us-ascii"), "utf-8"),  # UTF-16 shows itself
    **{f"iso-8859-{number}": f"iso-8859-{number}" for number in (1, 2, 5, 7, 9, 15)},
    **{f"windows-{number}": f"cp{number}" for number in range(1250, 1259)},
}
_MOST_YAML = 1 << 20
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def write_whole(file: Path, content: bytes, *, synced: bool = False) -> None:
    """Write under a temporary name, then rename: a file that is there is whole.

    With `synced` the content is on the disk before the rename, so that it survives a power failure too.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}{PARTIAL}")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            if synced:
                stream.flush()
                os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Clear away what a killed `write_whole` left behind."""
    for parent, _, files in os.walk(folder):
        for name in files:
            if name.startswith(".") and name.endswith(PARTIAL):
                Path(parent, name).unlink(missing_ok=True)


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a regular file; `DatasetError` if there is none, it cannot be read, or it exceeds the limit."""
    if not path.is_file():
        raise DatasetError("no such file")
    try:
        if path.stat().st_size > limit:
            raise DatasetError(f"has more than {limit >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror}") from None


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits; `OSError` where it cannot be read."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def decode_text(data: bytes, declared: str = "") -> str:
    """Text by its byte order mark, else as declared, else UTF-8, else as Chinese Windows writes it (GBK).

    `DatasetError` if it is none of these.
    """
    if declared and declared not in _TEXTS:
        raise DatasetError(f"declares the encoding {declared}, which is not known")
    marked = json.detect_encoding(data)
    chosen = (
        [marked] if marked != "utf-8" else [*([_TEXTS[declared]] if declared in _TEXTS else []), "utf-8", "gb18030"]
    )
    for encoding in chosen:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DatasetError(f"is not text in {' or '.join(chosen)}")


def parse_json(data: bytes) -> Any:
    """The content of JSON in any encoding that `decode_text` knows; `DatasetError` for what is damaged or too deep."""
    try:
        return json.loads(decode_text(data))
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DatasetError(f"is not readable JSON: {reason}") from None


def read_json(path: Path, limit: int) -> Any:
    """The content of a JSON file; `DatasetError` for one that is damaged, too large or nested too deeply."""
    return parse_json(read_file(path, limit))


def visible_files(folder: Path, *suffixes: str) -> list[Path]:
    """All files of these suffixes below a folder, in any case, sorted; hidden ones and their folders are left out."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name) for name in files if not name.startswith(".") and Path(name).suffix.lower() in suffixes
        ]
    return sorted(found)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name before the errors that come from within."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None


def inside(source: Path, folder: Path, name: str) -> Path:
    """The file `name`, as one in `folder` calls it, with links followed.

    Raises `DatasetError` if it would lie outside `source`: annotation files come from others.
    """
    try:
        path = (folder / name.replace("\\", "/")).resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a zero byte
        raise DatasetError(f"{name!r} is not a usable path") from None
    if not path.is_relative_to(source.resolve()):
        raise DatasetError(f"{name} leads out of the folder {source}")
    return path


def safe_name(text: str, otherwise: str) -> str:
    """`text` as the name of one file or folder on any system; `otherwise` if nothing is left of it."""
    name = _UNSAFE.sub("_", text).strip().lstrip(".")
    return os.fsencode(name)[:_LONGEST_NAME].decode(errors="ignore").rstrip(". ") or otherwise


def parse_yaml(data: bytes) -> Any:
    """The content of a YAML file of settings; `DatasetError` for one that is damaged, large or refers to its own parts.

    References let a few lines stand for gigabytes, and no tool writes them into such a file.
    """
    import yaml

    if len(data) > _MOST_YAML or re.search(rb"(?m)(?:^|[\s\[,:{-])[*&][^\s]", data):
        raise DatasetError("is too large for a file of settings, or refers to its own parts")
    try:
        return yaml.safe_load(decode_text(data))
    except Exception as error:  # what PyYAML raises at odd tags is not documented
        raise DatasetError(f"is not readable YAML: {type(error).__name__}") from None


def fold(text: str) -> str:
    """A name without regard to case and to how its accents are composed."""
    return unicodedata.normalize("NFC", text).casefold()


def image_stem(name: str) -> str:
    """The stem of the image that a file is named after: `000` of `000.txt`, and of `000.jpg.txt`."""
    stem = PurePosixPath(name).stem
    return PurePosixPath(stem).stem if is_image_name(stem) else stem


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
