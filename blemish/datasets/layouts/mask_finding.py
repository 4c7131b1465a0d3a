"""Which pictures of a tree are masks: by their folders, by their names beside others, and by their pixels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import PurePosixPath

from blemish.datasets.layouts.folder_roles import FolderRoles
from blemish.datasets.layouts.mask_pairs import before_sign
from blemish.datasets.layouts.mask_pictures import looking, looks_like_mask, suspects
from blemish.datasets.stems import image_of_stem, mask_of_stem
from blemish.datasets.tree import File

Masks = dict[PurePosixPath, File]


def find_masks(images: Sequence[File], roles: FolderRoles) -> Masks:
    """The masks by name.

    A folder that is called so holds masks; by a word that may mean something else, where its pictures look like it.
    Pictures that look like it are masks too where they are named for another picture (`000_GT` or `000_m` beside
    `000`), lie beside one of their own name, or fill a folder with names of another folder's photographs.
    """
    masks = {file.name: file for file in images if roles.in_masks(file)}
    rest = [file for file in images if file.name not in masks]
    masks |= _by_name(rest, roles)
    for find in (_same_stem, _extended):
        masks |= find([file for file in rest if file.name not in masks])
    # what a folder calls good or a defect is an image, however few its levels are
    return masks | _parallel([file for file in rest if file.name not in masks and roles.verdict(file)[0] is None])


def pictures_like_masks(files: Sequence[File]) -> list[File]:
    """The pictures of two levels among photographs; none where all are such."""
    found = looking(suspects(files))
    return found if len(found) < len(files) else []


def _by_name(files: Sequence[File], roles: FolderRoles) -> Masks:
    stems = Counter(stem for file in files for stem in {file.stem.casefold(), image_of_stem(file.stem.casefold())})
    named, maybe = [], []
    for file in files:
        base = mask_of_stem(file.stem)
        if base is not None and stems[base.casefold()] > 0:
            named.append(file)
        elif roles.in_maybe_masks(file):
            maybe.append(file)
    found = [file for file in named if looks_like_mask(file, alone=False)]
    for folder in _grouped(maybe, lambda file: file.folders).values():
        found += looking(folder, alone=False)
    return {file.name: file for file in found}


def _same_stem(files: Sequence[File]) -> Masks:
    """Masks among the files of one folder that differ in their suffix alone."""
    groups = _grouped(files, lambda file: (file.folders, file.stem.casefold()))
    masks: Masks = {}
    for group in groups.values():
        if len(group) > 1:
            found = [file for file in group if looks_like_mask(file, alone=False)]
            masks |= {file.name: file for file in found} if len(found) < len(group) else {}
    return masks


def _extended(files: Sequence[File]) -> Masks:
    """Masks that are called as another picture of their folder and a little more, all of the same ending."""
    known = {(file.folders, file.stem.casefold()) for file in files}
    longer = [file for file in files if (file.folders, before_sign(file.stem.casefold())) in known]
    worth = {file.name for file in suspects(files)}
    masks: Masks = {}
    for group in _grouped(longer, _ending).values():
        if all(file.name in worth for file in group) and _are_masks(group):
            masks |= {file.name: file for file in group}
    return masks


def _ending(file: File) -> Hashable:
    return file.stem[len(before_sign(file.stem) or "") :].casefold()


def _parallel(files: Sequence[File]) -> Masks:
    """The pictures of folders that hold masks alone, each called as a photograph in another folder."""
    stems: dict[str, set[Hashable]] = defaultdict(set)
    for file in files:
        stems[file.stem.casefold()].add(file.folders)
    folders = _grouped(files, lambda file: file.folders)
    found = [
        group
        for group in folders.values()
        if all(len(stems[file.stem.casefold()]) > 1 for file in group) and _are_masks(group)
    ]
    masks = {file.name: file for group in found for file in group}
    photographs = {file.stem.casefold() for file in files if file.name not in masks}
    return masks if all(file.stem.casefold() in photographs for file in masks.values()) else {}


def _are_masks(files: Sequence[File]) -> bool:
    """Whether all look like masks, and one of them marks something."""
    return all(looks_like_mask(file, alone=False) for file in files) and any(map(looks_like_mask, files))


def _grouped(files: Iterable[File], key: Callable[[File], Hashable]) -> dict[Hashable, list[File]]:
    groups: dict[Hashable, list[File]] = defaultdict(list)
    for file in files:
        groups[key(file)].append(file)
    return groups
