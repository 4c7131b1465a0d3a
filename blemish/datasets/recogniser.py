"""What each image of a data set is, told from names, masks and annotations; refused where that is not certain.

Names of folders say split and verdict. Masks are told from images. Images without a verdict get one from their masks,
or from the list that came with them. Of what is left without one, figures are made only where nothing speaks against
it: a folder is plain, and all its images good, if no name, mask or annotation says otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from blemish.datasets.annotation_files import AnnotationFile, annotation_file
from blemish.datasets.doubts import against_plain, asked_name, unknown_beside
from blemish.datasets.files import some
from blemish.datasets.folder_roles import FolderRoles
from blemish.datasets.mask_pairs import MaskPairs, find_masks
from blemish.datasets.samples import GOOD
from blemish.datasets.sorting import Found, Sorting
from blemish.datasets.tree import File, Tree
from blemish.errors import DatasetError

DEFECT = "defect"  # the type of a defect whose folder names none
NONE = "none"  # as the name of good folders: there are none
KINDS = ("masks", "masks of no image", "pictures of other sensors", "marked images")  # of what is left out
_TELLS_ALL = "DAGM's Labels.txt"


@dataclass(frozen=True)
class Recognised:
    """What a tree of files is.

    Attributes:
        layout: `mvtec` with splits, `folders` of good parts and of defects without, or `plain`.
        train: the good images to learn from.
        test: the images to judge, with their truth.
        left_out: names of the files that are neither, by their folder or one of `KINDS`.
        no_good: why there is nothing to learn from; empty where there is.
        question: what has to be answered before figures of the test images mean anything; empty where nothing.
        marked: names of images that a folder calls good while an annotation or a mask marks them; they are left out.
    """

    layout: str
    train: tuple[Found, ...]
    test: tuple[Found, ...]
    left_out: dict[str, list[str]] = field(default_factory=dict)
    no_good: str = ""
    question: str = ""
    marked: tuple[str, ...] = ()


def recognise(tree: Tree, good: Sequence[str] = ()) -> Recognised:
    """Sort the images of a tree; `good` names folders that are good whatever they are called, `.` the tree itself.

    Raises `DatasetError` that says what was recognised, what is missing, and the way out.
    """
    roles = FolderRoles(tree, good)
    missing = [name for name in good if name != NONE and not roles.has(name)]
    if missing:
        raise DatasetError(f"{tree.title} has no folder {some(missing)}; --good takes the name of a folder in it")
    views = [file for file in tree.images if not roles.beside_rgb(file) or roles.in_masks(file)]
    masks = find_masks(views, roles)
    images = [file for file in views if file.name not in masks]
    paired = MaskPairs(masks, roles).of(images)
    found = [
        Found(file, roles.split(file), *roles.verdict(file), roles.unsure(file), paired.get(file.name, ()))
        for file in images
    ]
    told = any(one.label or one.split for one in found)
    files = {file.name: file for file in views}
    sorting = Sorting(tree, found, files, _annotations(tree, all_of_them=told), masks, bool(good))
    _by_lists(sorting)
    _by_masks(sorting)
    marked = _take_out_marked(sorting)
    _refuse_several(sorting, roles)
    if any(one.split for one in sorting.found) and (marked or any(one.label for one in sorting.found)):
        result = _with_splits(sorting)
    elif marked or any(one.label for one in sorting.found):
        result = _without_splits(sorting)
    else:
        result = _plain(sorting)
    used = {one.file.name for one in (*result.train, *result.test)}
    return replace(result, left_out=_left_out(sorting, used, views, marked), marked=tuple(marked))


def _left_out(
    sorting: Sorting, used: set[PurePosixPath], views: Sequence[File], marked: Sequence[str]
) -> dict[str, list[str]]:
    """The files that are neither learned nor judged, by their folder or kind."""
    left: dict[str, list[str]] = defaultdict(list)
    for one in sorting.found:
        if one.file.name not in used:
            left[one.place].append(str(one.file.name))
    paired = {mask for one in sorting.found if one.file.name in used for mask in one.masks}
    seen = {file.name for file in views}
    kinds = (
        [str(name) for name in sorting.masks if name in paired],
        [str(name) for name in sorting.masks if name not in paired],
        [str(file.name) for file in sorting.tree.images if file.name not in seen],
        list(marked),
    )
    return left | {kind: names for kind, names in zip(KINDS, kinds, strict=True) if names}


def _annotations(tree: Tree, *, all_of_them: bool) -> list[tuple[File, AnnotationFile]]:
    """The annotation files; one is enough where nothing else could tell good parts from defects."""
    known = []
    for file in tree.texts:
        told = annotation_file(file.name, file.read)
        if told is not None:
            known.append((file, told))
            if told.tool and not all_of_them:
                break
    return known


def _by_lists(sorting: Sorting) -> None:
    """Verdicts of the lists that name every image, for the images beside the folder in which a list lies."""
    lists = {file.folders[:-1]: told for file, told in sorting.annotations if told.title == _TELLS_ALL}
    for number, one in enumerate(sorting.found):
        told = lists.get(one.file.folders)
        if one.label is None and told is not None and one.stem in told.marked | told.clean:
            sorting.found[number] = _judged(one, bad=one.stem in told.marked, kind=DEFECT)


def _by_masks(sorting: Sorting) -> None:
    """Verdicts of masks: where every image of a split that has none yet has a mask, an empty one is a good part's.

    In a tree that knows good images already, the same holds for each folder by itself.
    """
    knows_good = any(one.label == GOOD for one in sorting.found)
    splits: dict[str | None, list[Found]] = defaultdict(list)
    places: dict[tuple[str | None, str], list[Found]] = defaultdict(list)
    for one in sorting.unlabelled:
        splits[one.split].append(one)
        places[one.split, one.place].append(one)
    whole = {split for split, group in splits.items() if all(one.masks for one in group)}
    marks = {
        one.file.name: sorting.marks(one)
        for (split, _), group in places.items()
        if split in whole or (knows_good and all(one.masks for one in group))
        for one in group
    }
    for number, one in enumerate(sorting.found):
        if one.file.name in marks:
            group = places[one.split, one.place]
            is_kind = one.kind and (knows_good or len(places) > 1) and all(marks[each.file.name] for each in group)
            sorting.found[number] = _judged(one, marks[one.file.name], one.kind if is_kind else DEFECT)


def _judged(one: Found, bad: bool, kind: str) -> Found:
    return replace(one, label="bad" if bad else "good", kind=kind if bad else GOOD)


def _take_out_marked(sorting: Sorting) -> list[str]:
    """Images to learn from that are called good, but marked: what they are is unsure, so they are left out."""
    stems = {stem for _, told in sorting.annotations if told.tool for stem in told.marked}
    learned = (one for one in sorting.found if one.label == GOOD and one.split in (None, "train"))
    marked = {one.file.name for one in learned if one.stem in stems or sorting.marks(one)}
    sorting.found = [one for one in sorting.found if one.file.name not in marked]
    return sorted(map(str, marked))


def _refuse_several(sorting: Sorting, roles: FolderRoles) -> None:
    """`DatasetError` where the tree holds several products, each with folders of its own."""
    splits = any(one.split for one in sorting.found)
    telling = [one for one in sorting.found if (one.split if splits else one.label)]
    bases = sorted({roles.base(one.file) for one in telling})
    if len(bases) < 2 or not (splits or sorting.masks or any(one.label == "bad" for one in telling)):
        return
    if sorting.asked and not splits:
        return
    names = list(dict.fromkeys(base[0] if base else "." for base in bases))
    names = names if len(names) > 1 else ["/".join(base) for base in bases]
    first = next(name for name in names if name != ".")
    raise DatasetError(
        f"{sorting.tree.title} holds several products ({some(names)}); name one of them, such as "
        f"{sorting.tree.title}/{first}" + ("" if splits else ", or say with --good NAME which folders are good in all")
    )


def _with_splits(sorting: Sorting) -> Recognised:
    """Training images are the good ones of `train`; test images those of `test`, or of `val` where there is no test."""
    by_split: dict[str | None, list[Found]] = defaultdict(list)
    for one in sorting.found:
        by_split[one.split].append(one)
    learned = by_split["train"] or [one for one in by_split[None] if one.label == GOOD]
    train = tuple(one for one in learned if one.label == GOOD)
    judged = by_split["test"] or by_split["val"]
    test, question = _test(sorting, judged)
    return Recognised("mvtec", train, test, no_good="" if train else _no_good(learned), question=question)


def _test(sorting: Sorting, judged: Sequence[Found]) -> tuple[tuple[Found, ...], str]:
    """The test images, and what is not known of them: which folder holds the good ones."""
    unknown = sorted({one.place for one in judged if one.label is None})
    unsure = sorted({one.unsure for one in judged if one.label is None and one.unsure})
    has_good = any(one.label == GOOD for one in judged)
    test = tuple(replace(one, label="bad") if one.label is None else one for one in judged if one.label or one.kind)
    if sorting.asked or not unknown or (has_good and not unsure):
        return test, ""
    places = unsure or unknown
    return test, (
        f"{sorting.tree.title}: nothing tells whether {some(places)} "
        f"{'holds' if len(places) == 1 else 'hold'} good parts or defects. Name the good ones: --good "
        f"{asked_name(places[0])}" + ("" if has_good else ", or --good none if none of them is good")
    )


def _no_good(learned: Sequence[Found]) -> str:
    """Why there is nothing to learn from."""
    places = sorted({one.place for one in learned})
    if any(one.label is None for one in learned):
        unknown = sorted({one.place for one in learned if one.label is None})
        return f"nothing says that {some(unknown)} holds good parts; if it does: --good {asked_name(unknown[0])}"
    return f"{some(places)} holds defects alone" if places else ""


def _without_splits(sorting: Sorting) -> Recognised:
    """Good images are learned from; defects are for the test."""
    if sorting.unlabelled and not sorting.asked:
        raise DatasetError(unknown_beside(sorting))
    train = tuple(one for one in sorting.found if one.label == GOOD)
    rest = (one for one in sorting.found if one.label != GOOD)
    test = tuple(one if one.label else replace(one, label="bad", kind=one.kind or DEFECT) for one in rest)
    places = sorted({one.place for one in test})
    return Recognised("folders", train, test, no_good="" if train else f"{some(places)} holds defects alone")


def _plain(sorting: Sorting) -> Recognised:
    """All images are good, if nothing speaks against it."""
    against = against_plain(sorting)
    if against:
        raise DatasetError(against)
    return Recognised("plain", tuple(replace(one, label="good", kind=GOOD) for one in sorting.found), ())
