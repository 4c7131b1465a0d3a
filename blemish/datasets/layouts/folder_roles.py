"""What the folders of a tree say of the images below them, each folder seen among the others."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal

from blemish.datasets.samples import GOOD
from blemish.datasets.tree import File, Tree
from blemish.datasets.words import Role, are_opposite, class_number, is_plain_defect, product_words, role

Label = Literal["good", "bad"]
Folder = tuple[str, ...]
HERE = "the folder itself"
# folders of classes, of which nobody can tell which is good
_CLASSES = ({"0", "1"}, {"0", "1", "2"}, {"0", "1", "2", "3"}, {"a", "b"})
_RGB = "rgb"


class FolderRoles:
    """The roles of all folders of a tree.

    A word speaks only where it tells images apart: a folder that holds good parts and defects, or training and test
    images, in folders of their own says nothing by its own name. `good` names folders that are good whatever they are
    called: by their own name, by their path in the tree, or `.` for the tree's own images.
    """

    def __init__(self, tree: Tree, good: Sequence[str] = ()) -> None:
        self._good = {_plain(name.strip("/")) for name in good}
        counts = Counter(folder for file in tree.images for folder in _path(file.folders))
        self._common = sum(1 for folder, count in counts.items() if count == len(tree.images))
        own = {folder: role(folder[-1]) for folder in counts}
        below: dict[Folder, list[Role]] = defaultdict(list)
        for folder, found in own.items():
            for outer in _path(folder[:-1]):
                below[outer].append(found)
        self._roles = {
            folder: _telling(found, below[folder], whole=counts[folder] == len(tree.images))
            for folder, found in own.items()
        }
        self._direct = {file.folders for file in tree.images}
        children: dict[Folder, set[str]] = defaultdict(set)
        for folder in counts:
            children[folder[:-1]].add(folder[-1])
        self._with_rgb = {outer for outer, names in children.items() if _RGB in map(str.casefold, names)}
        self._classes = {folder for outer, names in children.items() for folder in _classes(outer, names)}
        self._above = {outer for folder, found in own.items() if found.is_labelled for outer in _path(folder[:-1])}

    def has(self, name: str) -> bool:
        """Whether there is a folder of this name, at any depth, or at this path; `.` is always there."""
        return name == "." or any(
            {_plain(folder[-1]), _plain("/".join(folder))} & {_plain(name.strip("/"))} for folder in self._roles
        )

    def split(self, file: File) -> str | None:
        """`train`, `val` or `test` by the outermost folder that says so."""
        return next((self._roles[folder].split for folder in self._splits(file)), None)

    def split_folder(self, file: File) -> str:
        """The folder that says so, as messages name it."""
        return shown(next(iter(self._splits(file)), ()))

    def in_masks(self, file: File) -> bool:
        """Whether a folder says that its files are masks."""
        return any(found.mask and not found.mixed for _, found in self._unasked(file))

    def in_maybe_masks(self, file: File) -> bool:
        """Whether a folder says so by a word that may mean something else, or beside one that does."""
        return any(found.maybe_mask or found.mask for _, found in self._unasked(file))

    def is_asked(self, file: File) -> bool:
        """Whether the user has said that a folder on the way is good."""
        return any(map(self._is_asked, [(), *_path(file.folders)]))

    def only_beside(self, file: File) -> bool:
        """Whether the words that call it bad all have others beside them, so that it may be a product's name."""
        bad = [found for _, found in self._on_the_way(file) if found.bad]
        return bool(bad) and all(found.mixed for found in bad)

    def beside_rgb(self, file: File) -> bool:
        """Whether a folder `rgb` lies beside the file's own: then the file is depth, or another view of no camera."""
        return any(folder[:-1] in self._with_rgb and folder[-1].casefold() != _RGB for folder in _path(file.folders))

    def verdict(self, file: File) -> tuple[Label | None, str, str]:
        """Good or bad, the type of defect that the folders name, and the folder that messages name.

        One bad word on the way is enough for bad: what one folder calls good and another bad is never good.
        """
        folders = _path(file.folders)
        asked = [folder for folder in folders if self._is_asked(folder)]
        bad = [
            folder for folder in folders if self._roles[folder].bad and len(folder) > len(asked[-1] if asked else ())
        ]
        if bad:
            return "bad", self._kind(bad[0], file), shown(bad[0])
        good = [folder for folder in folders if self._roles[folder].good] or asked
        if good or self._is_asked(file.folders):
            return "good", GOOD, shown(good[-1] if good else ())
        named = self._kinds_below_split(file)
        return None, named[0][-1] if named else "", shown(named[0] if named else self._before_kinds(file))

    def unsure(self, file: File) -> str:
        """The folder whose word may mean good or bad; empty where there is none."""
        for folder in _path(file.folders):
            if (self._roles[folder].unsure or folder in self._classes) and not self._is_asked(folder):
                return shown(folder)
        return ""

    def base(self, file: File, kind: str = "") -> Folder:
        """The folders before the first that says anything, or is the kind: the product, or the set within the tree."""
        named = []
        for folder, found in self._on_the_way(file):
            said = found.split or found.is_labelled or found.mask or found.maybe_mask or self._is_asked(folder)
            if said or folder[-1] == kind:
                break
            named += [] if found.pictures else [folder[-1]]
        return tuple(named)

    def telling(self, folders: Folder, without: int | None = None) -> Folder:
        """The folders that tell one part or defect from another: without splits, masks and plain pictures, and without
        the one at a depth.
        """
        return tuple(_plain(folder[-1]) for folder in _path(folders) if self._tells(folder) and len(folder) != without)

    def _on_the_way(self, file: File) -> list[tuple[Folder, Role]]:
        return [(folder, self._roles[folder]) for folder in _path(file.folders)]

    def _unasked(self, file: File) -> list[tuple[Folder, Role]]:
        """The folders of whose words the user has said nothing."""
        return [(folder, found) for folder, found in self._on_the_way(file) if not self._is_asked(folder)]

    def _splits(self, file: File) -> list[Folder]:
        """The folders that say a split; `test tubes` that the user calls good is a product."""
        named = [(folder, found) for folder, found in self._on_the_way(file) if found.split]
        return [folder for folder, found in named if not (found.mixed and self._is_asked(folder))]

    def _is_asked(self, folder: Folder) -> bool:
        """Whether the user has said that the folder is good."""
        if not folder:
            return "." in self._good
        return bool({_plain(folder[-1]), _plain("/".join(folder))} & self._good)

    def _tells(self, folder: Folder) -> bool:
        found = self._roles[folder]
        return found.is_labelled or not (found.split or found.mask or found.maybe_mask or found.pictures)

    def _kinds_below_split(self, file: File) -> list[Folder]:
        """The folders that may name a type of defect: below the split, or where the tree branches."""
        start = len(self._before_kinds(file))
        return [f for f in _path(file.folders)[start:] if self._tells(f) and f not in self._above]

    def _before_kinds(self, file: File) -> Folder:
        split = next(iter(self._splits(file)), ())
        return split or file.folders[: self._common]

    def _kind(self, bad: Folder, file: File) -> str:
        """The folder's own name, or one below where it only says `defect` and every image lies deeper.

        Days, cameras and numbers are no types of defects.
        """
        if bad in self._direct or not is_plain_defect(bad[-1]):
            return bad[-1]
        deeper = (folder for folder in _path(file.folders)[len(bad) :] if self._tells(folder))
        return next((folder[-1] for folder in deeper if product_words(folder[-1])), bad[-1])


def _classes(outer: Folder, names: set[str]) -> list[Folder]:
    """Folders beside each other that are called by numbers of classes."""
    if {name.casefold() for name in names if not role(name).mask} in _CLASSES:
        return [(*outer, name) for name in names]
    opposite = [(*outer, name) for name in names if any(are_opposite(name, other) for other in names)]
    if opposite:
        return opposite
    numbered = [(*outer, name) for name in names if class_number(name)]
    return numbered if len(numbered) > 1 else []


def _telling(own: Role, below: Sequence[Role], whole: bool) -> Role:
    """A folder's role without what the folders below it tell apart; `whole` where nothing lies beside the folder."""
    labels = {found.good for found in below if found.is_labelled}
    splits = {found.split for found in below if found.split}
    is_outer = whole and bool(labels or splits)
    judged = len(labels) == 2 or (whole and bool(splits))
    return Role(
        split=None if len(splits) > 1 or (whole and splits) else own.split,
        good=own.good and not judged,
        bad=own.bad and not judged,
        unsure=own.unsure and not labels and not is_outer,
        mask=own.mask and not is_outer,
        maybe_mask=own.maybe_mask and not is_outer,
        pictures=own.pictures,
        mixed=own.mixed,
    )


def shown(folder: Folder) -> str:
    """A folder of the tree as messages name it."""
    return PurePosixPath(*folder).as_posix() if folder else HERE


def _path(folder: Folder) -> list[Folder]:
    """The folders on the way, the outermost first."""
    return [folder[: number + 1] for number in range(len(folder))]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
