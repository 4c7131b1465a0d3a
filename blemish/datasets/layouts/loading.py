"""Layouts of a data set, recognised by what is there, and the samples in them."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from blemish.datasets.files import some
from blemish.datasets.layouts.folder_roles import FolderRoles
from blemish.datasets.layouts.learned import learned
from blemish.datasets.layouts.published import companions
from blemish.datasets.layouts.recogniser import recognise
from blemish.datasets.layouts.sorting import Found
from blemish.datasets.leaving_out import BY_NAME, named_among
from blemish.datasets.lists.reading import LISTS, Refuse, read_listed
from blemish.datasets.samples import Dataset, GoodImages, Sample
from blemish.datasets.tree import folder_tree
from blemish.datasets.words import role
from blemish.errors import DatasetError
from blemish.images import unread_kind

log = logging.getLogger("blemish")


def load_dataset(
    folder: Path, refuse: Refuse | None = None, good: Sequence[str] = (), leave_out: Sequence[str] = ()
) -> Dataset:
    """The data set in a folder.

    - `list`: PaddleX's `train.txt` and `val.txt`, an image and a mask on every line. Blanks in a path need quotes, or
      a tab between the two paths. A line of one column is a good image; so is one whose mask is empty, or the image
      itself. A folder below `test/` names the type of the defect, otherwise it is `defect`.
    - `mvtec`: `train/good`, `test/good`, `test/<defect>` and masks in `ground_truth/<defect>`, by the words that
      people use for them (`words.py`), at any depth.
    - `folders`: good parts and defects in folders of their own, without a split. Good ones are for training.
    - `plain`: all images are good, since nothing speaks against it.

    `good` names folders that are good whatever they are called, by their name or their path in the data set.
    `leave_out` names images that do not count, as in `named_among`.

    A line of a list that cannot be read raises `DatasetError`, or is handed to `refuse` and left out. `DatasetError`
    also says what was recognised, what is missing, and the way out.
    """
    return _loaded(folder, refuse, good, leave_out, pages_too=False)


def _loaded(
    folder: Path, refuse: Refuse | None, good: Sequence[str], leave_out: Sequence[str], *, pages_too: bool
) -> Dataset:
    if not folder.is_dir():
        raise DatasetError(f"{folder}: {'is a file, not a folder' if folder.exists() else 'no such folder'}")
    if any((folder / name).is_file() for name in LISTS.values()):
        lists = read_listed(folder, refuse or _raise)
        listed = dict.fromkeys(sample.name for samples in lists.values() for sample in samples)
        named = named_among(folder, list(listed), leave_out, pages_too=pages_too)
        train, test = (
            tuple(sample for sample in lists[split] if sample.name not in named) for split in ("train", "test")
        )
        found = Dataset(folder, "list", train, test, {BY_NAME: named} if named else {})
    else:
        found = _recognised(folder, good, leave_out, pages_too=pages_too)
    if found.marked and not found.train and not found.test:
        raise DatasetError(
            f"{folder}: no good images to learn from: masks or annotations mark all {len(found.marked)} images "
            f"that a folder calls good, such as {found.marked[0]}"
        )
    if not found.train and not found.test:
        raise DatasetError(
            f"{folder}: no images found. Looked for {LISTS['train']} and {LISTS['test']}, for train/good and "
            f"test/<defect>, and for images in the folder itself; there is {_content(folder)}"
        )
    return found


def load_folders(folder: Path) -> Dataset:
    """The data set in a folder by its folders, whatever lists lie there too."""
    return _recognised(folder)


def find_good_images(
    folder: Path, good: Sequence[str] = (), leave_out: Sequence[str] = (), *, without: Sequence[str | Path] = ()
) -> GoodImages:
    """The good training images of a data set; `DatasetError` if it has none.

    Images that a list names for training together with a mask of a defect are left out, and so are all images in the
    folders `without`. `good` and `leave_out` as in `load_dataset`.
    """
    whole = _loaded(folder, None, good, leave_out, pages_too=True)
    _refuse_held_out(folder, whole.left_out.get(BY_NAME, ()), without)
    dataset = _less(whole, without)
    samples = [sample for sample in dataset.train if sample.is_good]
    if not samples:
        reason = (
            dataset.no_good
            or _no_good_listed(dataset)
            or (
                f"expected images in train/good, listed in {LISTS['train']}, or in the folder itself; there is "
                f"{_content(folder)}"
            )
        )
        raise DatasetError(f"{folder}: no good images to learn from: {reason}")
    odd = [*dataset.marked, *(sample.name for sample in dataset.train if not sample.is_good)]
    if odd:
        log.warning("left out, since they are marked as defects: %s", some(odd))
    return GoodImages(
        folder,
        tuple(sample.path for sample in samples),
        tuple(sample.name for sample in samples),
        learned(dataset),
        tuple(dataset.left_out.get(BY_NAME, ())),
        partial(learned, dataset),
    )


def folders_called(folder: Path, names: Sequence[str]) -> list[str]:
    """Those of the names of `good` that name a folder in a folder."""
    roles = FolderRoles(folder_tree(folder), names)
    return [name for name in names if roles.has(name)]


def _refuse_held_out(folder: Path, names: Sequence[str], held_out: Sequence[str | Path]) -> None:
    """Refuse to leave images out by name that are not learned but calibrate, as those of a held-out session."""
    for place in (Path(place).expanduser().resolve() for place in held_out):
        inside = [name for name in names if place in (folder / name).resolve().parents]
        if inside:
            raise DatasetError(
                f"{folder}: {inside[0]} is in the held-out folder {place}, whose images are not learned but calibrate; "
                "to leave it out, move it out of that folder"
            )


def _less(dataset: Dataset, folders: Sequence[str | Path]) -> Dataset:
    """The data set with what it would learn from in some folders taken out of the training."""
    places = [Path(folder).expanduser().resolve() for folder in folders]

    def is_out(sample: Sample) -> bool:
        return any(sample.path.resolve().is_relative_to(place) for place in places)

    out = [sample for sample in dataset.train if is_out(sample)] if places else []
    if not out:
        return dataset
    kept = tuple(sample for sample in dataset.train if sample not in out)
    no_good = dataset.no_good if kept else "all of them lie in folders that are held out"
    return replace(dataset, train=kept, test=(*dataset.test, *out), no_good=no_good)


def _no_good_listed(dataset: Dataset) -> str:
    """Why no line of a list for training is a good image; empty where there is no such list."""
    listed = dataset.train if dataset.layout == "list" else ()
    if not listed:
        return ""
    missing = [sample for sample in listed if sample.masks and not any(map(os.path.lexists, sample.masks))]
    if missing:
        return (
            f"{LISTS['train']} names a mask that is not there for {len(missing)} of its {len(listed)} images, such as "
            f"{missing[0].masks[0]} for {missing[0].name}; a good image stands alone on its line"
        )
    return f"all {len(listed)} images of {LISTS['train']} are defects by their masks or folders"


def find_categories(root: Path) -> list[Path]:
    """The sub-folders of a folder that are data sets with lists, or with good parts in a folder of their own.

    Empty where the folder is a data set itself.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: {'is a file, not a folder' if root.exists() else 'no such folder'}")
    children = sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))
    roles = [role(child.name) for child in children]
    if any((found.split or found.is_labelled) and not found.mixed for found in roles) or _is_one(root):
        return []
    return [child for child in children if (child / LISTS["train"]).is_file() or _is_category(child)]


def _is_one(root: Path) -> bool:
    """Whether a folder can be read as one data set."""
    try:
        recognise(folder_tree(root))
    except DatasetError:
        return False
    return True


def _is_category(folder: Path) -> bool:
    try:
        found = _recognised(folder)
    except DatasetError:
        return False
    return found.layout != "plain" and bool(found.train)


def _raise(source: Path, number: int, problem: str) -> None:
    raise DatasetError(f"{source}, line {number}: {problem}")


def _recognised(
    folder: Path, good: Sequence[str] = (), leave_out: Sequence[str] = (), *, pages_too: bool = False
) -> Dataset:
    tree = replace(folder_tree(folder), companions=companions(folder))
    named = named_among(folder, [str(file.name) for file in tree.images], leave_out, pages_too=pages_too)
    if named:  # before anything is concluded from what the images are called
        tree = replace(tree, images=tuple(file for file in tree.images if str(file.name) not in named))
    found = recognise(tree, good)
    left_out = dict(found.left_out) | ({BY_NAME: named} if named else {})
    for name in tree.others:
        kind = unread_kind(name.name)
        if kind:
            left_out[kind] = [*left_out.get(kind, ()), str(name)]
    return Dataset(
        folder,
        found.layout,
        tuple(_sample(folder, one, "train") for one in found.train),
        tuple(_sample(folder, one, "test") for one in found.test),
        left_out,
        no_good=found.no_good,
        question=found.question,
        marked=found.marked,
    )


def _sample(folder: Path, one: Found, split: str) -> Sample:
    return Sample(
        folder / one.file.name,
        one.file.name.as_posix(),
        split,
        one.kind,
        tuple(folder / mask for mask in one.masks),
        one.place,
    )


def _content(folder: Path) -> str:
    return some(sorted(child.name + "/" * child.is_dir() for child in folder.iterdir())) or "nothing in it"
