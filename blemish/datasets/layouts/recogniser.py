"""What each image of a data set is, told from names, masks and annotations; refused where that is not certain.

Names of folders say split and verdict. Masks are told from images. Images without a verdict get one from their masks,
or from the list that came with them. Of what is left without one, figures are made only where nothing speaks against
it: a folder is plain, and all its images good, if no name, mask or annotation says otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from blemish.datasets.annotations.label_tables import BOXES
from blemish.datasets.annotations.recognising import AnnotationFile, annotation_file
from blemish.datasets.files import fold, some
from blemish.datasets.layouts.doubts import against_plain, annotated, asked_name, unknown_beside
from blemish.datasets.layouts.folder_roles import FolderRoles
from blemish.datasets.layouts.judging import DEFECT, by_lists, by_masks, by_names, by_tables, take_out_marked
from blemish.datasets.layouts.mask_finding import find_masks, pictures_like_masks
from blemish.datasets.layouts.mask_pairs import MaskPairs, before_sign
from blemish.datasets.layouts.products import refuse_several
from blemish.datasets.layouts.published import read_tables, tabled_masks
from blemish.datasets.layouts.sorting import Found, Sorting
from blemish.datasets.layouts.views import camera_views
from blemish.datasets.samples import GOOD
from blemish.datasets.tree import File, Tree
from blemish.errors import DatasetError

NONE = "none"  # as the name of good folders: there are none
KINDS = ("masks", "masks of no image", "pictures of other sensors", "marked images")  # of what is left out
_NAMED = "./none"  # said of a folder that is called so


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
    views = camera_views(tree, roles)
    asked = frozenset(name for name in good if name != NONE or not roles.has(NONE))
    sorting = _sorted_out(tree, views, roles, asked | ({_NAMED} if roles.has(NONE) and NONE in good else frozenset()))
    for judge in (by_lists, by_tables, by_names, by_masks):
        judge(sorting)
    if any(one.label == GOOD for one in sorting.found):
        sorting.annotations = _annotations(tree, sorting.tables)
    marked = take_out_marked(sorting)
    _refuse_annotated(sorting, marked)
    refuse_several(sorting, roles)
    result = _result(sorting, bool(marked))
    used = {one.file.name for one in (*result.train, *result.test)}
    return replace(result, left_out=_left_out(sorting, used, views, marked), marked=tuple(marked))


def _sorted_out(tree: Tree, views: Sequence[File], roles: FolderRoles, asked: frozenset[str]) -> Sorting:
    """The images and their masks, with what folders and tables say of them."""
    told = any(roles.verdict(file)[0] or roles.split(file) for file in views)
    said, tables = read_tables(tree)
    tabled = tabled_masks(said, tree)
    masks = find_masks([file for file in views if file.name not in tabled], roles)
    masks |= {file.name: file for file in views if file.name in tabled}
    if told or said:
        rest = [file for file in views if file.name not in masks and _may_be_learned(file, roles)]
        masks |= {file.name: file for file in pictures_like_masks(rest)}
    images = [file for file in views if file.name not in masks]
    paired = MaskPairs(masks, images, roles).by_image()
    for mask, image in tabled.items():
        paired.setdefault(image, (mask,))
    found = [
        Found(
            file,
            roles.split(file),
            *roles.verdict(file),
            roles.unsure(file),
            paired.get(file.name, ()),
            roles.split_folder(file),
            roles.only_beside(file),
        )
        for file in images
    ]
    files = {file.name: file for file in views}
    annotations = _annotations(tree, tables, one_is_enough=not told)
    return Sorting(tree, found, files, annotations, masks, asked, said, frozenset(tables))


def _may_be_learned(file: File, roles: FolderRoles) -> bool:
    """Whether a picture of two levels would be learned if it were no mask; a defect may well have two levels."""
    return not (roles.is_asked(file) or roles.split(file) in ("test", "val") or roles.verdict(file)[0] == "bad")


def _refuse_annotated(sorting: Sorting, marked: Sequence[str]) -> None:
    """`DatasetError` where annotations mark images, and nothing says which images are good."""
    if not marked and not any(one.label == GOOD for one in sorting.found) and (text := annotated(sorting)):
        raise DatasetError(text)


def _result(sorting: Sorting, is_marked: bool) -> Recognised:
    labels = {one.label for one in sorting.found} - {None}
    only_asked = sorting.asked == {"."} and labels <= {GOOD} and not is_marked
    if only_asked and (any(one.label is None for one in sorting.found) or not any(one.split for one in sorting.found)):
        return _plain(sorting)
    if not labels and not is_marked:
        return _plain(sorting)
    return _with_splits(sorting) if any(one.split for one in sorting.found) else _without_splits(sorting)


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


def _annotations(
    tree: Tree, tables: Collection[PurePosixPath], *, one_is_enough: bool = False
) -> list[tuple[File, AnnotationFile]]:
    """The annotation files but for `tables`; one is enough where nothing else could tell good parts from defects.

    `DatasetError` where one cannot be read: nobody knows which images it marks.
    """
    known = []
    stems = {stem for image in tree.images for stem in (fold(image.stem), before_sign(fold(image.stem)))}
    for file in tree.texts:
        told = None if file.name in tables else annotation_file(file.name, file.read)
        if told is not None and told.unreadable:
            raise DatasetError(
                f"{tree.title}: {file.name} seems to hold annotations, but is damaged. Mend or remove it"
            )
        if told is not None and (told.title != BOXES or told.marked & stems):
            known.append((file, told))
            if told.tool and one_is_enough:
                break
    return known


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
    """The test images, and what is not known of them: which folder holds the good ones.

    Beside good ones, a folder of any name is a type of defects. Images outside of such folders are not judged.
    """
    unknown = sorted({one.place for one in judged if one.label is None})
    unsure = sorted({one.unsure for one in judged if one.label is None and one.unsure})
    has_good = any(one.label == GOOD for one in judged)
    said_none = NONE in sorting.asked
    test = tuple(
        one if one.label else replace(one, label="bad", kind=one.kind or DEFECT)
        for one in judged
        if one.label or one.kind or said_none
    )
    if said_none or not unknown or (has_good and (sorting.asked or not unsure)):
        return test, _products_or_defects(sorting, test)
    places = unsure or unknown
    return test, (
        f"{sorting.tree.title}: nothing tells whether {some(places)} "
        f"{'holds' if len(places) == 1 else 'hold'} good parts or defects. Name the good ones: --good "
        f"{asked_name(places[0])}" + ("" if has_good else ", or --good none if none of them is good")
    )


def _no_good(learned: Sequence[Found]) -> str:
    """Why there is nothing to learn from."""
    unknown = sorted({one.place for one in learned if one.label is None})
    if unknown:
        first = unknown[0] if len(unknown) == 1 else learned[0].split_place
        return f"nothing says that {some(unknown)} {_holds(unknown)} good parts; if so: --good {asked_name(first)}"
    return _defects_alone(learned)


def _defects_alone(found: Sequence[Found]) -> str:
    places = sorted({one.place for one in found})
    if not places:
        return ""
    text = f"{some(places)} {_holds(places)} defects alone"
    is_beside = all(one.only_beside for one in found)
    return f"{text}. If that is the name of good parts: --good {asked_name(places[0])}" if is_beside else text


def _holds(places: Sequence[str]) -> str:
    return "holds" if len(places) == 1 else "hold"


def _products_or_defects(sorting: Sorting, test: Sequence[Found]) -> str:
    """What has to be known where all that calls images defects may be the name of a product."""
    if sorting.asked or not test or not all(one.only_beside and one.label == "bad" for one in test):
        return ""
    places = sorted({one.place for one in test})
    return (
        f"{sorting.tree.title}: {some(places)} may be the name of defects or of good parts. If they are good: --good "
        f"{asked_name(places[0])}, or --good none if none of them is"
    )


def _without_splits(sorting: Sorting) -> Recognised:
    """Good images are learned from; defects are for the test."""
    if sorting.unlabelled and not sorting.asked:
        raise DatasetError(unknown_beside(sorting))
    train = tuple(one for one in sorting.found if one.label == GOOD)
    rest = (one for one in sorting.found if one.label != GOOD)
    test = tuple(one if one.label else replace(one, label="bad", kind=one.kind or DEFECT) for one in rest)
    if train:
        return Recognised("folders", train, test)
    question = _products_or_defects(sorting, test)
    return Recognised("folders", train, test, no_good=_defects_alone(test), question=question)


def _plain(sorting: Sorting) -> Recognised:
    """All images are good, if nothing speaks against it."""
    against = against_plain(sorting)
    if against:
        raise DatasetError(against)
    return Recognised("plain", tuple(replace(one, label="good", kind=GOOD) for one in sorting.found), ())
