"""Masks: where a defect is, from any file that an annotation tool writes, and what is odd about it.

`check` and `evaluate` both read masks by `read_masks_of`: they compute with the same pixels and say the same of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.datasets.masks.levels import Marked, marked_of
from blemish.datasets.masks.orientation import file_orientation, swaps_sides, turned
from blemish.datasets.masks.pixels import MaskPixels, read_pixels
from blemish.datasets.samples import Sample
from blemish.errors import DatasetError

Mask = npt.NDArray[np.bool_]  # (H, W), True where the defect is

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jpg", ".jpeg")  # the surest first
MOST_MARKED = 0.5  # a mask that marks more, and all four corners, is taken to be inverted
_UNUSABLE = ("missing_file", "unreadable_mask", "mask_size")


@dataclass(frozen=True)
class MaskRemark:
    """What is odd about masks: a code of the check's findings, a sentence without its full stop, the files."""

    code: str
    message: str
    paths: tuple[Path, ...]

    @property
    def is_problem(self) -> bool:
        """Whether the masks of the image cannot be used."""
        return self.code in _UNUSABLE


@dataclass(frozen=True, eq=False)
class MaskReading:
    """What the masks of an image mark together `(H, W)`, None where they cannot be used, and what is odd about them."""

    marked: Mask | None
    remarks: tuple[MaskRemark, ...]

    @property
    def share(self) -> float:
        """The marked part of the area."""
        return 0.0 if self.marked is None else float(self.marked.mean())


def read_mask(path: Path) -> Mask:
    """What a mask marks, `(H, W)`, as it is shown; `DatasetError` that names the file if it cannot be read."""
    return _marked(read_pixels(path)).pixels


def mask_of(sample: Sample, size: tuple[int, int]) -> Mask:
    """What the masks of an image mark, `(H, W)`.

    `size` is the image's (height, width) as it is read, as in `image.shape[:2]`. Raises `DatasetError` if a mask cannot
    be read or fits another size only.
    """
    reading = read_masks_of(sample, size)
    if reading.marked is None:
        raise DatasetError(next(f"{some.paths[0]}: {some.message}" for some in reading.remarks if some.is_problem))
    return reading.marked


def read_masks_of(sample: Sample, size: tuple[int, int] | None) -> MaskReading:
    """The masks of an image; `size` is its (height, width) as it is read, None where it cannot be read.

    A mask that fits the pixels as they are stored only, before the image is turned by its EXIF orientation, is turned
    with it.
    """
    marked, remarks = None, []
    for path in sample.masks:
        mask, found = _read_one(path, sample.path, size if marked is None else marked.shape)
        remarks += found
        if mask is not None:
            marked = mask if marked is None else marked | mask
    if any(remark.is_problem for remark in remarks):
        return MaskReading(None, tuple(remarks))
    if marked is not None:
        remarks += _of_all(sample, marked)
    return MaskReading(marked, tuple(remarks))


def _read_one(path: Path, image: Path, size: tuple[int, ...] | None) -> tuple[Mask | None, list[MaskRemark]]:
    """One mask as the image is shown, None if it cannot be used."""
    if not path.is_file():
        return None, [MaskRemark("missing_file", "the mask is listed, but not there", (path,))]
    try:
        pixels = read_pixels(path)
    except DatasetError as error:
        return None, [MaskRemark("unreadable_mask", str(error).removeprefix(f"{path}: "), (path,))]
    found = _marked(pixels)
    remarks = [MaskRemark(code, message, (path,)) for code, message in _of_values(pixels, found)]
    if size is None:
        return found.pixels, remarks
    mask, placed = _placed(found.pixels, image, (size[0], size[1]), pixels.is_turned)
    return mask, [*remarks, *(MaskRemark(code, message, (path,)) for code, message in placed)]


def _marked(pixels: MaskPixels) -> Marked:
    return marked_of(pixels.levels, is_lossy=pixels.is_lossy)


def _of_values(pixels: MaskPixels, found: Marked) -> Iterator[tuple[str, str]]:
    """How the values of one mask were taken, where that may be wrong."""
    if pixels.doubt:
        yield "mask_background", pixels.doubt
    top = pixels.levels.max()
    if found.cut is not None:
        yield "mask_not_binary", f"the mask has soft edges; what is above {found.cut:.4g} of {top:.4g} counts as marked"
    elif not found.is_sure:
        values = len(np.unique(pixels.levels[found.pixels]))
        yield "mask_not_binary", f"the mask has {values} values beside 0, soft edges or classes; all count as marked"


def _placed(
    mask: Mask, image: Path, size: tuple[int, int], is_turned: bool
) -> tuple[Mask | None, list[tuple[str, str]]]:
    """A mask over its image of (height, width) as shown; None if it does not fit."""
    orientation = 1 if is_turned else file_orientation(image)
    if mask.shape == size:
        # as stored it would fit too: nothing tells which of them the tool has shown
        both = orientation != 1 and (not swaps_sides(orientation) or size[0] == size[1])
        doubt = f"the mask fits the image before and after its EXIF orientation {orientation}; the latter is taken"
        return mask, [("oriented_image", doubt)] if both else []
    if swaps_sides(orientation) and mask.shape == size[::-1]:
        said = f"the mask fits the image only before its EXIF orientation {orientation}; it is turned like the image"
        return turned(mask, orientation), [("turned_mask", said)]
    sizes = f"the mask has {mask.shape[1]}x{mask.shape[0]} pixels, its image {size[1]}x{size[0]}"
    return None, [("mask_size", sizes)]


def _of_all(sample: Sample, marked: Mask) -> Iterator[MaskRemark]:
    """What all masks of an image mark together."""
    share = float(marked.mean())
    if sample.is_good and share:
        yield MaskRemark("good_image_with_mask", "a good image has a mask that marks a defect", sample.masks)
    if not sample.is_good and not share:
        yield MaskRemark("empty_mask", "the mask of a defect marks nothing", sample.masks)
    if share > MOST_MARKED and marked[:: max(1, len(marked) - 1), :: max(1, marked.shape[1] - 1)].all():
        message = f"the mask marks {share:.0%} of the image and all its corners; black and white swapped?"
        yield MaskRemark("inverted_mask", message, sample.masks)
