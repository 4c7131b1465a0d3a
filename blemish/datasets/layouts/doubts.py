"""What speaks against taking images for good ones, in the words of a refusal: what is there, and the way out."""

from __future__ import annotations

from shlex import quote

from blemish.datasets.files import some
from blemish.datasets.layouts.folder_roles import HERE
from blemish.datasets.layouts.mask_finding import pictures_like_masks
from blemish.datasets.layouts.sorting import Sorting
from blemish.datasets.samples import GOOD
from blemish.datasets.words import names_defects_alone, role
from blemish.metrics.rates import counted

LISTS = ("train.txt", "val.txt")


def against_plain(sorting: Sorting) -> str:
    """What speaks against learning from all images alike; empty where nothing does."""
    doubts = [annotated, _lists, _masks]
    if "." not in sorting.asked:
        doubts += [_split, _unsure, _names, _looks]
    return next(filter(None, (doubt(sorting) for doubt in doubts)), "")


def unknown_beside(sorting: Sorting) -> str:
    """Images of which nothing tells what they are, beside others that are known."""
    tree = sorting.tree
    good, bad = ({one.place: None for one in sorting.found if one.label == label} for label in (GOOD, "bad"))
    places = list({one.place: None for one in sorting.unlabelled})
    known = "; ".join(
        f"{some(list(found))} {'holds' if len(found) == 1 else 'hold'} {what}"
        for found, what in ((good, "good parts"), (bad, "defects"))
        if found
    )
    first = next(iter(good), HERE)
    alone = "" if first == HERE else f"To learn from {first} alone: {quote(f'{tree.title}/{first}')}. "
    every = "" if bad else "; or say that all images are good: --good ."
    return annotated(sorting) or (
        f"{tree.title}: {known}, and nothing tells what is in {some(places)}. {alone}To say which folders are good, "
        f"once for each, so that all others are defects: --good {asked_name(next(iter(good), places[0]))}{every}"
    )


def asked_name(place: str) -> str:
    """What `--good` takes for a place."""
    return "." if place == HERE else quote(place.rpartition("/")[2])


def annotated(sorting: Sorting) -> str:
    """A folder as an annotation tool leaves it."""
    known = sorted(sorting.annotations, key=lambda each: not each[1].tool)
    if not known:
        return ""
    title, (file, told) = sorting.tree.title, known[0]
    said = f"{title} holds annotations of {told.title} ({file.name}), which may mark defects"
    if told.tool:
        return f"{said}. Turn them into a data set: blemish convert {quote(title)} --from {told.tool}"
    return f"{said}. Put the good parts into train/good, the defects into test/defect"


def _lists(sorting: Sorting) -> str:
    title = sorting.tree.title
    folders = sorted({file.name.parent.as_posix() for file in sorting.tree.texts if file.name.name in LISTS})
    if not folders:
        return ""
    return f"{title} holds data sets with lists ({some(folders)}); name one of them: {quote(f'{title}/{folders[0]}')}"


def _masks(sorting: Sorting) -> str:
    if not sorting.masks:
        return ""
    said = f"{sorting.tree.title}: {len(sorting.masks)} pictures are masks, such as {next(iter(sorting.masks))}"
    bare = [one.file.name for one in sorting.found if not one.masks]
    if bare:
        said += (
            f", and {counted(len(bare), 'image')} without, such as {bare[0]}, so nothing tells whether they are good"
        )
    first = next(iter(sorting.masks)).parent.name
    parts = f", or, if these are parts and no masks: --good {quote(first)}" if first else ""
    return f"{said}. Put the good parts into train/good{parts}"


def _split(sorting: Sorting) -> str:
    places = {one.split_place: one.split or "" for one in sorting.found if one.split}
    if not places:
        return ""
    first = max(sorted(places), key=lambda place: places[place] == "train")
    return (
        f"{sorting.tree.title} is split ({some(sorted(places))}), but no folder says which images are good. Expected "
        f"train/good, test/good and test/<defect>; or name the folder of the good ones: --good {asked_name(first)}"
    )


def _unsure(sorting: Sorting) -> str:
    unsure = sorted({one.unsure for one in sorting.found if one.unsure})
    if not unsure:
        return ""
    return (
        f"{sorting.tree.title}: {some(unsure)} may mean good or defective. Name the folder of the good ones: --good "
        f"{asked_name(unsure[0])}; or say that all images are good: --good ."
    )


def _names(sorting: Sorting) -> str:
    """Images that are called defects, and a whole folder that is."""
    title = sorting.tree.title
    called = [str(one.file.name) for one in sorting.found if role(one.file.name.stem).bad]
    if called:
        return (
            f"{title}: {len(called)} of {len(sorting.found)} images are named as defects: {some(called, 20)}. Put the "
            "good ones into train/good, leave the others out (--leave-out NAME), or say that all are good: --good ."
        )
    if names_defects_alone(sorting.tree.own_name):
        return f"{title} is named as a folder of defects or masks. If its images are good parts: --good ."
    return ""


def _looks(sorting: Sorting) -> str:
    looking = pictures_like_masks([one.file for one in sorting.found])
    if not looking:
        return ""
    return (
        f"{sorting.tree.title}: {len(looking)} of {len(sorting.found)} images look like masks, of two levels of grey, "
        f"such as {looking[0].name}. Move them into ground_truth, or say that all images are good: --good ."
    )
