"""Layouts of a data set, recognised by what is there, and the samples in them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from blemish.datasets.files import some
from blemish.datasets.listed import LISTS, Refuse, read_listed
from blemish.datasets.samples import GOOD, Dataset, GoodImages, Sample, relative_name
from blemish.errors import DatasetError
from blemish.images import list_images

log = logging.getLogger("blemish")

_MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")
# Folders of a data set that hold anything but good training images.
_NOT_TRAINING = ("test", "val", "ground_truth", "annotations", "masks")
# Folders of these names say that what lies beside them is not good.
_GOOD_NAMES = (GOOD, "ok", "normal", "gut")


def load_dataset(folder: Path, refuse: Refuse | None = None) -> Dataset:
    """The data set in a folder, in one of three layouts.

    - `list`: PaddleX's `train.txt` and `val.txt`, an image and a mask on every line. Blanks in a path need quotes, or
      a tab between the two paths. A line of one column is a good image; so is one whose mask is empty, or the image
      itself. A folder below `test/` names the type of the defect, otherwise it is `defect`.
    - `mvtec`: `train/good`, `test/good`, `test/<defect>` and the masks `ground_truth/<defect>/<stem>_mask.png`, or
      `<stem>.png`, also as BMP, TIFF or JPEG. Other folders in `train` are not used.
    - `plain`: all images in the folder, in sub-folders too; they are all good. A sub-folder named good, ok, normal or
      gut beside others says that they are not, and is refused.

    A line of a list that cannot be read raises `DatasetError`, or is handed to `refuse` and left out. `DatasetError`
    also tells which layouts were looked for, and what was found instead.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: {'is a file, not a folder' if folder.exists() else 'no such folder'}")
    if any((folder / name).is_file() for name in LISTS.values()):
        found = Dataset(folder, "list", **read_listed(folder, refuse or _raise))
    elif (folder / "train" / GOOD).is_dir() or _defect_folders(folder):
        found = load_mvtec(folder)
    else:
        found = Dataset(folder, "plain", tuple(_plain(folder)), ())
    if not found.train and not found.test:
        raise DatasetError(
            f"{folder}: no images found. Looked for {LISTS['train']} and {LISTS['test']}, for train/good and "
            f"test/<defect>, and for images in the folder itself; there is {_content(folder)}"
        )
    return found


def load_mvtec(folder: Path) -> Dataset:
    """The MVTec layout in a folder, whatever lists lie there too; without samples if there is no such layout."""
    return Dataset(folder, "mvtec", tuple(_mvtec_train(folder)), tuple(_mvtec_test(folder)))


def find_good_images(folder: Path) -> GoodImages:
    """The good training images of a data set; `DatasetError` if it has none.

    Images that a list names for training together with a mask of a defect are left out, with a warning.
    """
    dataset = load_dataset(folder)
    good = [sample for sample in dataset.train if sample.is_good]
    if len(good) < len(dataset.train):
        odd = [sample.name for sample in dataset.train if not sample.is_good]
        log.warning("left out, since they are marked as defects: %s", some(odd))
    if not good:
        raise DatasetError(
            f"{folder}: no good images found. Expected images in train/good, listed in {LISTS['train']}, or in the "
            f"folder itself; there is {_content(folder)}"
        )
    return GoodImages(folder, tuple(sample.path for sample in good), tuple(sample.name for sample in good))


def find_categories(root: Path) -> list[Path]:
    """The sub-folders of a folder that are data sets with lists or with `train/good`, sorted by name."""
    if not root.is_dir():
        raise DatasetError(f"{root}: {'is a file, not a folder' if root.exists() else 'no such folder'}")
    children = (child for child in root.iterdir() if not child.name.startswith("."))
    return sorted(
        child for child in children if (child / LISTS["train"]).is_file() or (child / "train" / GOOD).is_dir()
    )


def _mvtec_train(folder: Path) -> Iterator[Sample]:
    for path in list_images(folder / "train" / GOOD):
        yield Sample(path, relative_name(path, folder), "train", GOOD)


def _mvtec_test(folder: Path) -> Iterator[Sample]:
    for kind in _defect_folders(folder):
        masks = _masks(folder / "ground_truth" / kind)
        for path in list_images(folder / "test" / kind):
            key = path.relative_to(folder / "test" / kind).with_suffix("").as_posix()
            mask = masks.get(f"{key}_mask") or masks.get(key)
            yield Sample(path, relative_name(path, folder), "test", kind, () if mask is None else (mask,))


def _defect_folders(folder: Path) -> list[str]:
    """The sub-folders of `test` that hold images, `good` among them."""
    test = folder / "test"
    names = sorted(child.name for child in test.iterdir() if child.is_dir()) if test.is_dir() else []
    return [name for name in names if not name.startswith(".") and list_images(test / name)]


def _masks(folder: Path) -> dict[str, Path]:
    """Masks by their path in the folder without suffix; the first suffix of the list where there are several."""
    paths = [path for path in list_images(folder) if path.suffix.lower() in _MASK_SUFFIXES] if folder.is_dir() else []
    paths.sort(key=lambda path: -_MASK_SUFFIXES.index(path.suffix.lower()))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def _plain(folder: Path) -> list[Sample]:
    """All images of a folder; refused if sub-folders say that they are not all good images of one product."""
    categories = [child.name for child in find_categories(folder)]
    if categories:
        raise DatasetError(
            f"{folder} holds several products ({some(categories)}); name one of them, such as {folder / categories[0]}"
        )
    other = [name for name in _NOT_TRAINING if (folder / name).is_dir()]
    if other:
        raise DatasetError(
            f"{folder} has {some(other)} but neither train/good nor {LISTS['train']}; put the good images into "
            "train/good, or name a folder that holds good images only"
        )
    samples = [Sample(path, relative_name(path, folder), "train", GOOD) for path in list_images(folder)]
    kinds = sorted({PurePosixPath(sample.name).parts[0] for sample in samples if "/" in sample.name})
    good = [kind for kind in kinds if kind.lower() in _GOOD_NAMES]
    if good and len(kinds) > 1:
        raise DatasetError(
            f"{folder} holds {some(kinds)}, which cannot all be good. To learn, name the folder of the good ones, "
            f"{folder / good[0]}; to check or evaluate, lay them out as train/good, test/good and test/<defect>"
        )
    return samples


def _raise(source: Path, number: int, problem: str) -> None:
    raise DatasetError(f"{source}, line {number}: {problem}")


def _content(folder: Path) -> str:
    return some(sorted(child.name + "/" * child.is_dir() for child in folder.iterdir())) or "nothing in it"
