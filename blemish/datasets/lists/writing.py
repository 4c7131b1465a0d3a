"""Writing `train.txt` and `val.txt`: both or, after a kill, both at the next call; the old ones are kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path

from blemish.datasets.files import PARTIAL, naming, read_json, write_whole
from blemish.datasets.lists.reading import LISTS
from blemish.datasets.samples import Sample, relative_name
from blemish.errors import DatasetError

JOURNAL = ".blemish-lists.json"  # the new lists, from the moment on when they count until both are in place
_MOST_BYTES = 1 << 28


def list_text(root: Path, samples: Iterable[Sample]) -> str:
    """A line a sample, sorted by name: the image and its mask, relative to `root`.

    A good image without a mask is its own mask, which is PaddleX's way to say so; a defect without one stands alone.
    Raises `DatasetError` for a name that no list file can hold.
    """
    return "".join(sorted(f"{' '.join(map(_quoted, _columns(root, sample)))}\n" for sample in samples))


def write_lists(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write the list files `{name: text}`; returns the backups `<name>.bak`, `<name>.bak2`, ... of changed ones.

    A list that stays the same is left alone. A kill leaves either the old lists or a journal, from which
    `finish_lists` completes the new ones.
    """
    old = {name: _content(folder / name) for name in texts}
    if all(old[name] == text.encode() for name, text in texts.items()):
        return []
    write_whole(folder / JOURNAL, json.dumps(dict(texts)).encode(), synced=True)
    return finish_lists(folder)


def finish_lists(folder: Path) -> list[Path]:
    """Complete what a killed `write_lists` began; does nothing where there is nothing to complete."""
    for name in (*LISTS.values(), JOURNAL):
        for partial in folder.glob(f".{name}.*{PARTIAL}"):
            partial.unlink(missing_ok=True)
    journal = folder / JOURNAL
    if not journal.exists():
        return []
    with naming(journal):
        texts = read_json(journal, _MOST_BYTES)
        if not isinstance(texts, dict) or not all(isinstance(texts.get(name, ""), str) for name in LISTS.values()):
            raise DatasetError("is damaged; delete it")
    backups = [_replace(folder / name, texts[name].encode()) for name in LISTS.values() if name in texts]
    journal.unlink()
    return [backup for backup in backups if backup is not None]


def _replace(file: Path, content: bytes) -> Path | None:
    old = _content(file)
    if old == content:
        return None
    backup = None if old is None else _back_up(file, old)
    write_whole(file, content, synced=True)
    return backup


def _back_up(file: Path, content: bytes) -> Path:
    """A copy under the first free name; the last one if that is such a copy already, made before a kill."""
    last: Path | None = None
    for number in count(1):
        backup = file.with_name(f"{file.name}.bak{number if number > 1 else ''}")
        if not backup.exists():
            break
        last = backup
    if last is not None and _content(last) == content:
        return last
    write_whole(backup, content, synced=True)
    return backup


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _columns(root: Path, sample: Sample) -> list[str]:
    if len(sample.masks) > 1:
        raise DatasetError(f"{sample.name} has {len(sample.masks)} masks, and a list holds one; merge them")
    if sample.masks:
        return [sample.name, relative_name(sample.masks[0].absolute(), root.absolute())]  # elsewhere, its whole path
    return [sample.name] * (2 if sample.is_good else 1)


def _quoted(name: str) -> str:
    """In quotes where blanks, tabs or quotes would part it; plain names stay plain, for readers that know no quotes."""
    if any(sign in name for sign in "\t\r\n\0") or not _is_text(name):
        raise DatasetError(f"{name!r} holds a character that no list file can hold; rename it")
    if not any(sign in name for sign in " '\""):
        return name
    if "'" not in name:
        return f"'{name}'"
    return '"' + name.replace('"', '"\'"\'"') + '"'


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
