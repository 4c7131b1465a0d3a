"""Verdicts on images whose folders say none: by lists, tables, names and masks; and what speaks against good ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath

from blemish.datasets.layouts.published import Said
from blemish.datasets.layouts.sorting import Found, Sorting
from blemish.datasets.samples import GOOD
from blemish.datasets.words import is_plain_defect, role

DEFECT = "defect"  # the type of a defect whose folder names none
TELLS_ALL = "DAGM's Labels.txt"


def by_lists(sorting: Sorting) -> None:
    """Verdicts of the lists that name every image, for the images beside the folder in which a list lies."""
    lists = {file.folders[:-1]: told for file, told in sorting.annotations if told.title == TELLS_ALL}

    def judge(one: Found) -> Found:
        told = lists.get(one.file.folders)
        if one.label is not None or told is None or one.stem not in told.marked | told.clean:
            return one
        return _judged(one, bad=one.stem in told.marked, kind=DEFECT)

    _each(sorting, judge)


def by_tables(sorting: Sorting) -> None:
    """Splits and verdicts of tables; where a folder and a table disagree, the image is a defect."""

    def judge(one: Found) -> Found:
        said = sorting.said.get(one.file.name, Said())
        split = one.split or said.split
        if said.label == "bad" and one.label != "bad":
            kind = one.kind if one.kind not in ("", GOOD) and one.label is None else _kind(said)
            return replace(one, split=split, label="bad", kind=kind)
        if said.label == GOOD and one.label is None:
            return replace(one, split=split, label="good", kind=GOOD)
        return replace(one, split=split)

    _each(sorting, judge)


def _kind(said: Said) -> str:
    return DEFECT if is_plain_defect(said.kind) else said.kind


def by_names(sorting: Sorting) -> None:
    """Verdicts of the names of files, where every image that has none yet is called good or a defect."""
    roles = [role(one.file.stem) for one in sorting.unlabelled]
    both = {found.good for found in roles}
    if all(found.is_labelled for found in roles) and both == {True, False}:
        _each(sorting, lambda one: one if one.label else _judged(one, role(one.file.stem).bad, DEFECT))


def by_masks(sorting: Sorting) -> None:
    """Verdicts of masks: where no folder says any, and every image of a split has one, an empty one is a good part's.

    Where folders name the good parts, one of whose images all are marked holds defects, and an empty mask is a mistake.
    """
    knows_good = any(one.label == GOOD for one in sorting.found)
    groups: dict[tuple[str | None, str], list[Found]] = defaultdict(list)
    for one in sorting.unlabelled:
        groups[one.split, one.place].append(one)
    bare = {one.split for one in sorting.unlabelled if not one.masks}
    marks = {
        one.file.name: sorting.marks(one)
        for (split, _), group in groups.items()
        if (all(one.masks for one in group) if knows_good else split not in bare)
        for one in group
    }

    def judge(one: Found) -> Found:
        if one.file.name not in marks:
            return one
        group = groups[one.split, one.place]
        are_marked = all(marks[each.file.name] for each in group)
        if knows_good and not are_marked:
            return one
        is_kind = one.kind and (knows_good or len(groups) > 1) and are_marked
        return _judged(one, marks[one.file.name], one.kind if is_kind else DEFECT)

    _each(sorting, judge)


def take_out_marked(sorting: Sorting) -> list[str]:
    """Images that are called good, but marked: what they are is unsure, so they are neither learned nor judged.

    Annotations and masks mark an image to learn from; so does a name that calls it a defect and not all others.
    """
    marked = _by_annotations(sorting) | _called_defects(sorting)
    sorting.found = [one for one in sorting.found if one.file.name not in marked]
    return sorted(map(str, marked))


def _by_annotations(sorting: Sorting) -> set[PurePosixPath]:
    """A file beside an image of a stem that it marks means that image; else every image of the stem may be meant."""
    beside: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for one in sorting.found:
        beside[one.file.folders].add(one.stem)
    near: set[tuple[tuple[str, ...], str]] = set()
    anywhere: set[str] = set()
    for file, told in sorting.annotations:
        if told.title != TELLS_ALL:
            own = told.marked & beside[file.folders]
            near |= {(file.folders, stem) for stem in own}
            anywhere |= told.marked - own
    learned = (one for one in sorting.found if one.label == GOOD and one.split in (None, "train"))
    return {
        one.file.name
        for one in learned
        if one.stem in anywhere or (one.file.folders, one.stem) in near or sorting.marks(one)
    }


def _called_defects(sorting: Sorting) -> set[PurePosixPath]:
    if "." in sorting.asked:
        return set()
    good = [one for one in sorting.found if one.label == GOOD]
    called = [one for one in good if role(one.file.stem).bad]
    return {one.file.name for one in called} if len(called) < len(good) else set()


def _judged(one: Found, bad: bool, kind: str) -> Found:
    return replace(one, label="bad" if bad else "good", kind=kind if bad else GOOD)


def _each(sorting: Sorting, judge: Callable[[Found], Found]) -> None:
    sorting.found = [judge(one) for one in sorting.found]
