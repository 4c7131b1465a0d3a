"""The images of a folder, and what in it is a picture but is not read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blemish.images.kinds import image_format, other_format
from blemish.images.names import is_image_name, suffix_of, unread_kind

# Not opened to see whether they are images: what lies beside pictures by the thousand, and what is still being written.
_OTHERS = "cfg conf csv db htm html ini js json jsonl log md onnx parquet py rst sqlite toml tsv txt xml yaml yml"
_UNFINISHED = "crdownload download filepart part partial swp tmp"
_NO_IMAGES = frozenset(f"{_OTHERS} {_UNFINISHED}".split())
_FIRST_BYTES = 132
_IMAGE_FORMATS = ("HEIC", "JPEG XL", "DICOM", "Photoshop", "OpenEXR", "JPEG XR", "QOI", "FITS", "BPG", "PAM", "PFM")


@dataclass(frozen=True)
class Folder:
    """What a folder holds: the images, sorted, and what is left out, by `left_out_kind`."""

    images: list[Path]
    left_out: Counter[str]


def list_images(folder: Path) -> list[Path]:
    """Paths of all image files under a folder, recursive, sorted.

    Hidden files and folders are left out, and so are pictures of results, which have their JSON file beside them. Links
    to folders are followed, and every folder is looked through once.
    """
    return sorted(path for path in all_files(folder) if is_image_name(path.name))


def look_through(folder: Path) -> Folder:
    """The images as `list_images` finds them, and what else is a picture."""
    files = list(all_files(folder))
    kinds = (left_out_kind(path) for path in files)
    return Folder(sorted(path for path in files if is_image_name(path.name)), Counter(kind for kind in kinds if kind))


def left_out_kind(path: Path) -> str | None:
    """What is said of a file that is a picture by its name or its content, but is not read; None for any other."""
    if is_image_name(path.name) or suffix_of(path.name) in _NO_IMAGES:
        return None
    unread = unread_kind(path.name)
    if unread is None and _begins_like_an_image(path):
        return f"{path.suffix.lower() or 'without a suffix'} (images by their content; rename them)"
    return unread


def left_out_line(kinds: Counter[str]) -> str:
    """What is left out, in one line, as in "3 .heic, 2 .gif"; empty if nothing."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])))


def all_files(folder: Path) -> Iterator[Path]:
    """All files below a folder but hidden ones and results; folders as `list_images` says."""
    yield from (Path(parent, name) for parent, names in file_names(folder) for name in names)


def file_names(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder that can be read, with the names of its files as `all_files` has them."""
    for parent, files in _folders(folder):
        results = {Path(name).stem for name in files if name.endswith("_res.json")}
        names = [name for name in files if name[0] != "."]
        yield parent, [name for name in names if Path(name).stem not in results] if results else names


def _folders(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder with the names of its files: the real ones first, then those that links lead to, each once.

    A link to a folder around the given one would lead back into it, past what was asked for; it is not followed.
    """
    around = {os.path.realpath(parent) for parent in (folder, *Path(os.path.realpath(folder)).parents)}
    seen: set[str] = set()
    waiting = [str(folder)]
    while waiting:
        start = waiting.pop(0)
        if start != str(folder) and os.path.realpath(start) in around:
            continue
        links = list[str]()
        for parent, folders, files in os.walk(start):
            real = os.path.realpath(parent)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            links += (str(path) for path in (Path(parent, name) for name in folders) if path.is_symlink())
            yield parent, files
        waiting += links


def _begins_like_an_image(path: Path) -> bool:
    """Whether the first bytes are those of a picture, read or not; a file that cannot be opened is none."""
    try:
        with path.open("rb") as file:
            first = file.read(_FIRST_BYTES)
    except OSError:
        return False
    # two letters are too few to tell a bitmap from a text
    if first.startswith(b"BM") or image_format(first) == "PDF":
        return first[6:10] == bytes(4) and len(first) > 26
    other = other_format(first) or ""
    return image_format(first) is not None or any(kind in other for kind in _IMAGE_FORMATS)
