"""The images of a folder, and what in it is a picture but is not read."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blemish.images.kinds import image_format, other_format
from blemish.images.names import is_image_name, suffix_of, unread_kind

# Not opened to see whether they are images: what lies beside pictures by the thousand, and what is still being written.
_OTHERS = "cfg conf csv db htm html ini js json jsonl log md onnx parquet py rst sqlite toml tsv txt xml yaml yml"
_UNFINISHED = "crdownload download filepart part partial swp tmp"
_NO_IMAGES = frozenset(f"{_OTHERS} {_UNFINISHED}".split())
_FIRST_BYTES = 132
_SHOWN = 8
_IMAGE_FORMATS = ("HEIC", "JPEG XL", "DICOM", "Photoshop", "OpenEXR", "JPEG XR", "QOI", "FITS", "BPG", "PAM", "PFM")


@dataclass(frozen=True)
class Folder:
    """What a folder holds.

    Attributes:
        images: paths of the images, sorted.
        unread: paths of pictures that are not read, by the suffix that their names have.
        misnamed: paths of files that begin like an image but have no suffix of one, by their suffix or "".
    """

    images: list[Path]
    unread: dict[str, list[Path]] = field(default_factory=dict)
    misnamed: dict[str, list[Path]] = field(default_factory=dict)

    def left_out_line(self) -> str:
        """What is left out, as in "3 .heic, 2 without a suffix that are images (rename them)"; empty if nothing."""
        unread = [f"{len(paths)} {suffix}" for suffix, paths in _most_first(self.unread)]
        misnamed = [
            f"{len(paths)} {suffix or 'without a suffix'} that {'begins' if len(paths) == 1 else 'begin'} like an image"
            for suffix, paths in _most_first(self.misnamed)
        ]
        return ", ".join([*unread, *misnamed])


def list_images(folder: Path) -> list[Path]:
    """Paths of all image files under a folder, recursive, sorted.

    Hidden files and folders are left out, and so are pictures of results, which have their JSON file beside them. Links
    to folders are followed, and every folder is looked through once.
    """
    return sorted(path for path in _files(folder) if is_image_name(path.name))


def look_through(folder: Path, known: Collection[Path] = ()) -> Folder:
    """The images as `list_images` finds them, and what is left out; those that are `known` are not opened again."""
    images, unread, misnamed = list[Path](), dict[str, list[Path]](), dict[str, list[Path]]()
    for path in _files(folder):
        if is_image_name(path.name):
            images.append(path)
        elif (suffix := unread_kind(path.name)) is not None:
            unread.setdefault(suffix, []).append(path)
        elif path not in known and suffix_of(path.name) not in _NO_IMAGES and _begins_like_an_image(path):
            misnamed.setdefault(path.suffix.lower(), []).append(path)
    return Folder(sorted(images), unread, misnamed)


def _files(folder: Path) -> Iterator[Path]:
    """All files but hidden ones and results."""
    for parent, files in _folders(folder):
        results = {Path(name).stem for name in files if name.endswith("_res.json")}
        yield from (Path(parent, name) for name in files if name[0] != "." and Path(name).stem not in results)


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


def _most_first(groups: dict[str, list[Path]]) -> list[tuple[str, list[Path]]]:
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))[:_SHOWN]
