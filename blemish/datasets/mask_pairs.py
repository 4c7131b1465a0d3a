"""Which pictures of a tree are masks, and of which images."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from blemish.datasets.folder_roles import Folder, FolderRoles
from blemish.datasets.mask_pictures import looks_like_mask, suspects
from blemish.datasets.samples import GOOD
from blemish.datasets.tree import File
from blemish.datasets.words import mask_of_stem

_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jpg", ".jpeg")  # the first of them where several fit


def find_masks(images: Sequence[File], roles: FolderRoles) -> dict[PurePosixPath, File]:
    """The masks by name.

    A folder called so holds masks; by a word that may mean something else, where its pictures look like it. So may a
    picture that is named for another (`000_GT` beside `000`), or lies beside one of its own name.
    """
    masks = {file.name: file for file in images if roles.in_masks(file)}
    rest = [file for file in images if file.name not in masks]
    stems = Counter(file.stem.casefold() for file in rest)
    for file in rest:
        base = mask_of_stem(file.stem)
        named = base is not None and stems[base.casefold()] > 0
        if (named or roles.in_maybe_masks(file)) and looks_like_mask(file, alone=False):
            masks[file.name] = file
    for group in _same_stem(file for file in rest if file.name not in masks):
        looking = [file for file in group if looks_like_mask(file, alone=False)]
        if 0 < len(looking) < len(group):
            masks |= {file.name: file for file in looking}
    return masks


def pictures_like_masks(files: Sequence[File]) -> list[File]:
    """The pictures of two levels among photographs; none where all are such."""
    looking = [file for file in suspects(list(files)) if looks_like_mask(file)]
    return looking if len(looking) < len(files) else []


class MaskPairs:
    """The masks of a tree, found by the image that they are of."""

    def __init__(self, masks: dict[PurePosixPath, File], roles: FolderRoles) -> None:
        self._roles = roles
        self._by_stem: dict[str, list[tuple[Folder, bool, File]]] = defaultdict(list)
        for file in masks.values():
            where = roles.telling(file.folders)
            base = mask_of_stem(file.stem)
            if base is not None:
                self._by_stem[base.casefold()].append((where, True, file))
            self._by_stem[file.stem.casefold()].append((where, False, file))
            if where:  # several masks in a folder that is called as the image
                self._by_stem[f"{where[-1]}/"].append((where[:-1], True, file))

    def of(self, images: Sequence[File]) -> dict[PurePosixPath, tuple[PurePosixPath, ...]]:
        """The masks by the image. One that fits several is the defect's, then the test image's; of equals, nobody's."""
        found = {file.name: self._candidates(file) for file in images}
        ranks = {file.name: self._rank(file) for file in images if found[file.name]}
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
        fitting = [
            (folder, marked, file)
            for folder, marked, file in [*several, *self._by_stem.get(stem, ())]
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


def _one_of_each(files: list[File]) -> list[File]:
    """Without those of equal names but for the suffix."""
    first: dict[PurePosixPath, File] = {}
    for file in sorted(files, key=_preference):
        first.setdefault(file.name.with_suffix(""), file)
    return sorted(first.values(), key=lambda file: file.name)


def _preference(file: File) -> int:
    suffix = file.name.suffix.lower()
    return _SUFFIXES.index(suffix) if suffix in _SUFFIXES else len(_SUFFIXES)


def _same_stem(files: Iterable[File]) -> list[list[File]]:
    """Files of one folder that differ in their suffix alone."""
    groups: dict[tuple[Folder, str], list[File]] = defaultdict(list)
    for file in files:
        groups[file.folders, file.stem.casefold()].append(file)
    return [group for group in groups.values() if len(group) > 1]
