"""Whether a tree holds several products, of which one has to be named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from shlex import quote

from blemish.datasets.files import some
from blemish.datasets.layouts.doubts import asked_name
from blemish.datasets.layouts.folder_roles import Folder, FolderRoles
from blemish.datasets.layouts.sorting import Found, Sorting
from blemish.datasets.samples import GOOD
from blemish.datasets.words import product_words
from blemish.errors import DatasetError


class SeveralProductsError(DatasetError):
    """A tree of several products."""


def refuse_several(sorting: Sorting, roles: FolderRoles) -> None:
    """`SeveralProductsError` where the tree holds several products, each with folders of its own.

    Days, lots, cameras and numbers are of one product, unless each has a split of its own.
    """
    splits = any(one.split for one in sorting.found)
    telling = [one for one in sorting.found if (one.split if splits else one.label)]
    bases = sorted(_bases(telling, roles))
    if len(bases) < 2 or (not splits and (sorting.asked or _are_one(bases))):
        return
    if not (splits or sorting.masks or any(one.label == "bad" for one in telling)):
        return
    names = list(dict.fromkeys(base[0] if base else "." for base in bases))
    names = names if len(names) > 1 else ["/".join(base) for base in bases]
    title = sorting.tree.title
    first = next(name for name in names if name != ".")
    good = next((one.place for one in telling if one.label == GOOD), "")
    raise SeveralProductsError(
        f"{title} holds several products ({some(names)}); name one of them, such as {quote(f'{title}/{first}')}"
        + ("" if splits or not good else f", or say which folders are good in all of them: --good {asked_name(good)}")
    )


def _bases(telling: Iterable[Found], roles: FolderRoles) -> set[Folder]:
    """The folders of products. One that the masks make a kind of defects, or good as a whole, is none."""
    labels: dict[str, set[str | None]] = defaultdict(set)
    telling = list(telling)
    for one in telling:
        labels[one.place].add(one.label)
    bases = set()
    for one in telling:
        label, kind, _ = roles.verdict(one.file)
        is_kind = label is None and len(labels[one.place]) == 1
        bases.add(roles.base(one.file, kind if is_kind else ""))
    return bases


def _are_one(bases: Iterable[Folder]) -> bool:
    return len({tuple(word for name in base for word in product_words(name)) for base in bases}) == 1
