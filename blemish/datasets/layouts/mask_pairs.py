"""Which mask is of which image."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from blemish.datasets.layouts.folder_roles import Folder, FolderRoles
from blemish.datasets.samples import GOOD
from blemish.datasets.stems import image_of_stem, mask_of_stem
from blemish.datasets.tree import File

_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jpg", ".jpeg")  # the first of them where several fit
_SIGNS = " _.-("


def before_sign(stem: str) -> str | None:
    """`000` of `000_m`: the stem up to its last sign."""
    place = max(stem.rfind(sign) for sign in _SIGNS)
    return stem[:place].rstrip(_SIGNS) if place > 0 else None


class MaskPairs:
    """The masks of a tree, found by the image that they are of."""

    def __init__(self, masks: dict[PurePosixPath, File], images: Sequence[File], roles: FolderRoles) -> None:
        self._roles = roles
        self._images = images
        self._by_stem: dict[str, list[tuple[Folder, bool, File]]] = defaultdict(list)
        stems = {file.stem.casefold() for file in images}
        shared = {file.folders[:depth] for file in images for depth in range(len(file.folders) + 1)}
        for file in masks.values():
            depth = next((n for n in range(1, len(file.folders) + 1) if file.folders[:n] not in shared), None)
            where = roles.telling(file.folders, without=depth)  # a folder of masks has any name
            base = mask_of_stem(file.stem) or (None if file.stem.casefold() in stems else before_sign(file.stem))
            if base is not None:
                self._by_stem[base.casefold()].append((where, True, file))
            self._by_stem[file.stem.casefold()].append((where, False, file))
            if file.folders:  # several masks in a folder that is called as the image
                outer = roles.telling(file.folders[:-1], without=depth)
                self._by_stem[f"{file.folders[-1].casefold()}/"].append((outer, True, file))

    def by_image(self) -> dict[PurePosixPath, tuple[PurePosixPath, ...]]:
        """The masks by the image. One that fits several is the defect's, then the test image's; of equals, nobody's."""
        found = {file.name: self._candidates(file) for file in self._images}
        ranks = {file.name: self._rank(file) for file in self._images if found[file.name]}
        claims: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
        for name, masks in found.items():
            for mask in masks:
                claims[mask].append(name)
        owned: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
        for mask, names in claims.items():
            best = min(ranks[name] for name in names)
            owners = [name for name in names if ranks[name] == best]
            if len(owners) == 1:
                owned[owners[0]].append(mask)
        return {name: tuple(sorted(masks)) for name, masks in owned.items()}

    def _rank(self, file: File) -> int:
        if self._roles.verdict(file)[0] != GOOD:
            return 0
        return 2 if self._roles.split(file) == "train" else 1

    def _candidates(self, image: File) -> tuple[PurePosixPath, ...]:
        where = self._roles.telling(image.folders)
        stem = image.stem.casefold()
        split = self._roles.split(image)
        several = [(folder, True, file) for folder, _, file in self._by_stem.get(f"{stem}/", ())]
        own = self._by_stem.get(stem) or self._by_stem.get(image_of_stem(stem), [])
        fitting = [
            (folder, marked, file)
            for folder, marked, file in [*several, *own]
            if _is_within(folder, where) and (self._roles.split(file) or split) == split
        ]
        if not fitting:
            return ()
        closest = max(len(folder) for folder, _, _ in fitting)
        best = [(marked, file) for folder, marked, file in fitting if len(folder) == closest]
        marked = [file for is_marked, file in best if is_marked] or [file for _, file in best]
        return tuple(file.name for file in _one_of_each(marked))


def _is_within(folder: Folder, where: Folder) -> bool:
    """Whether all names of a mask's folders are names of the image's."""
    return not Counter(folder) - Counter(where)


def _one_of_each(files: Iterable[File]) -> list[File]:
    """Without those of equal names but for the suffix."""
    first: dict[PurePosixPath, File] = {}
    for file in sorted(files, key=_preference):
        first.setdefault(file.name.with_suffix(""), file)
    return sorted(first.values(), key=lambda file: file.name)


def _preference(file: File) -> int:
    suffix = file.name.suffix.lower()
    return _SUFFIXES.index(suffix) if suffix in _SUFFIXES else len(_SUFFIXES)
