"""Finds the images of a folder by the names that annotation files give them.

Annotations travel: from Windows to Linux, from a server to a disk, from one folder to another. A name is taken as it
is where a file has it; else without regard to case; else the only image whose path ends like it, or that has its base
name. Two candidates are none: an annotation is never guessed onto an image.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from blemish.datasets.annotations.annotation import Reading
from blemish.datasets.files import fold, inside, some
from blemish.datasets.words import role
from blemish.errors import DatasetError
from blemish.images import list_images

_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an uploaded file


def plain_path(name: str) -> str:
    """The path in a name of any kind: with forward slashes, without drive, scheme, host and query."""
    text = name.strip().replace("\\", "/")
    if re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE) or text.startswith("/data/"):
        try:
            parts = urlsplit(text)
        except ValueError:  # no host that there can be; the last part of the path may still be a file's name
            return text.rpartition("/")[2]
        local = parse_qs(parts.query).get("d")  # Label Studio's files on its own disk: /data/local-files/?d=a/b.png
        text = local[0] if local else unquote(parts.path)
    return re.sub(r"^(?:[a-zA-Z]:)?/*", "", text)


class ImageIndex:
    """All images below a folder, by name, base name and stem."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.root = source.resolve()
        self.paths = list_images(self.root)
        self.names = [path.relative_to(self.root).as_posix() for path in self.paths]
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_base: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            base = PurePosixPath(name)
            self._by_name[fold(name)].append(name)
            self._by_base[fold(base.name)].append(name)
            self._by_stem[fold(base.stem)].append(name)
        self._asked: dict[Path, set[str]] = defaultdict(set)  # by image, the names that led to it
        self.masks: set[Path] = set()  # those that `find_mask` has found
        self._loose: set[Path] = set()  # images that were found by less than their path

    def find(self, name: object, beside: Path) -> Path | None:
        """The image that a file in the folder `beside` calls `name`, links followed; None if there is none.

        Raises `DatasetError` where several images could be meant, or the image lies outside the source.
        """
        if not isinstance(name, str) or not name.strip():
            raise DatasetError("names no image")
        for folder in (beside, self.root):
            path = self.exact(folder, name)
            if path is not None:
                return path
        wanted = plain_path(name)
        for folder in (beside, self.root):
            found = self._in_any_case(folder, wanted)
            if found is not None:
                return self.claim(inside(self.source, self.root, found))
        return self._by_its_end(name, wanted, beside)

    def peek(self, name: object, beside: Path) -> Path | None:
        """As `find`, for a list that only orders images: it lays no claim to the image."""
        asked, loose = self._asked, self._loose
        self._asked, self._loose = defaultdict(set), set()
        try:
            return self.find(name, beside)
        finally:
            self._asked, self._loose = asked, loose

    def find_mask(self, name: str, beside: Path) -> Path | None:
        """The file of a mask, by the end of its path; None if there is none for certain."""
        parts = PurePosixPath(fold(plain_path(name))).parts
        found = self._by_base.get(parts[-1], []) if parts else []
        longest = max((_common_end(list(parts), own) for own in found), default=0)
        found = [own for own in found if _common_end(list(parts), own) == longest]
        found = found if len(found) == 1 else [own for own in found if in_masks(own)]
        if len(found) != 1:
            return self.exact(beside, name)
        path = inside(self.source, self.root, found[0])
        self.masks.add(path)
        return path

    def locate(self, name: object, beside: Path) -> Path:
        """As `find`, but the path where the image ought to be if it is nowhere."""
        found = self.find(name, beside)
        return inside(self.source, beside, str(name)) if found is None else found

    def exact(self, folder: Path, name: str) -> Path | None:
        """The file of just this name in a folder, if there is one and it lies in the source."""
        try:
            path = inside(self.source, folder, name)
        except DatasetError:
            return None
        try:
            return self.claim(path) if path.is_file() else None
        except (OSError, ValueError):  # a name that is too long
            return None

    def claim(self, path: Path) -> Path:
        """Take note that an annotation is of this image for certain."""
        if path.is_relative_to(self.root):
            self._asked[path].add(fold(self.relative(path)))
        return path

    def by_stem(self, stem: str, folder: Path) -> Path | None:
        """The image of this stem in a folder, in any case; `DatasetError` if there are several."""
        found = [name for name in self.of_stem(stem) if (self.root / name).parent == folder]
        chosen = self._one(found, stem)
        return None if chosen is None else self.claim(inside(self.source, self.root, chosen))

    def by_stem_anywhere(self, stem: str, beside: Path) -> Path | None:
        """The image of this stem: the one in the folder that matches `beside`, else the only one there is."""
        found = nearest(self.of_stem(stem), self._folder(beside))
        return self._loosely(found, stem, (), beside) if found else None

    def of_stem(self, stem: str) -> list[str]:
        """The names of all images of a stem."""
        return self._by_stem.get(fold(stem), [])

    def relative(self, path: Path) -> str:
        """The name of a file within the source."""
        return path.relative_to(self.root).as_posix()

    def settle(self, reading: Reading) -> None:
        """Leave out images that several names lead to by their base alone: one of these is another's."""
        for path in self._loose:
            if len(self._asked[path]) > 1:
                names = some(sorted(self._asked[path]))
                reading.fail(f"{self.relative(path)}: annotations of several images fit it: {names}", path)

    def _in_any_case(self, folder: Path, wanted: str) -> str | None:
        if not folder.is_relative_to(self.root):
            return None
        path = posixpath.normpath((folder.relative_to(self.root) / wanted).as_posix())
        return self._one(self._by_name.get(fold(path), []), wanted)

    def _by_its_end(self, name: str, wanted: str, beside: Path) -> Path | None:
        """The only image whose path ends like the wanted one, unless its folder says another split or verdict."""
        parts = [part for part in PurePosixPath(fold(wanted)).parts if part not in ("..", ".")]
        if not parts:
            return None
        found = self._by_base.get(parts[-1]) or self._by_base.get(_UPLOADED.sub("", parts[-1]), [])
        longest = max((_common_end(parts, name) for name in found), default=0)
        found = nearest((name for name in found if _common_end(parts, name) == longest), self._folder(beside))
        if not found:
            return None
        if longest == len(parts) and longest > 1:
            return self.claim(inside(self.source, self.root, self._one(found, name) or ""))
        return self._loosely(found, name, tuple(parts[:-1]), beside)

    def _loosely(self, found: list[str], name: str, folders: tuple[str, ...], beside: Path) -> Path:
        """The image that is left, as long as nothing says that another one is meant."""
        chosen = self._one(found, name) or ""
        own = PurePosixPath(chosen).parts[:-1]
        if _contradict(folders[-1:], own[-1:]) or _contradict(PurePosixPath(self._folder(beside)).parts, own):
            raise DatasetError(f"{name} is not there, and {chosen} seems to be another image")
        path = inside(self.source, self.root, chosen)
        self._asked[path].add(fold("/".join((self._folder(beside), *folders, PurePosixPath(name).name))))
        self._loose.add(path)
        return path

    def _folder(self, path: Path) -> str:
        """The name of a folder within the source; empty for others and for the source itself."""
        name = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else ""
        return "" if name == "." else name

    def _one(self, names: list[str], what: str) -> str | None:
        if len(names) > 1:
            raise DatasetError(f"{what} is there several times: {some(names)}")
        return names[0] if names else None


def nearest(names: Iterable[str], folder: str) -> list[str]:
    """Of the images, those in the folder that differs from `folder` by one name (images/a for labels/a), else those
    that share the most folders with it. Folders of masks count only if there are no others.
    """
    found, here = list(names), PurePosixPath(fold(folder)).parts
    found = [name for name in found if not in_masks(name)] or found
    if len(found) < 2:
        return found
    folders = {name: PurePosixPath(fold(name)).parts[:-1] for name in found}
    same = [name for name in found if folders[name] == here]
    parallel = [name for name in found if _differ_by_one(folders[name], here)]
    shared = {name: len(posixpath.commonprefix([folders[name], here])) for name in found}
    most = max(shared.values())
    return same or parallel or [name for name in found if shared[name] == most]


def in_masks(name: str) -> bool:
    """Whether a file lies in a folder of masks or annotations."""
    roles = [role(part) for part in PurePosixPath(name).parts[:-1]]
    return any(one.mask or one.maybe_mask for one in roles)


def _differ_by_one(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1


def _common_end(parts: list[str], name: str) -> int:
    """How many names at the end of both paths are equal."""
    own = PurePosixPath(fold(name)).parts
    count = 1  # the base name, or what Label Studio made of it
    while count < min(len(parts), len(own)) and parts[-1 - count] == own[-1 - count]:
        count += 1
    return count


def _contradict(wanted: Sequence[str], found: Sequence[str]) -> bool:
    """Whether the folders of one say good, a defect or a split, and those of the other something else."""
    one, other = [role(name) for name in wanted], [role(name) for name in found]
    if any((a.good and b.bad) or (a.bad and b.good) for a in one for b in other):
        return True
    splits, others = {a.split for a in one if a.split}, {b.split for b in other if b.split}
    return bool(splits and others and not splits & others)
