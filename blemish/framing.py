"""What a run's model is to see of its images: the input size, the tiles, the area."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.config.sections import ModelSection
from blemish.datasets import read_mask
from blemish.errors import UsageError
from blemish.images import Area, Frame, InputGeometry, Sides, Tiling, area_of, draw_polygons

Mask = npt.NDArray[np.bool_]
Sizes = list[tuple[int, int]]

LONGEST_SIDE = 4096
PIXELS = {"fast": 256 * 256, "balanced": 320 * 320, "accurate": 448 * 448}
# Images are stretched where letterboxing would mirror more than this part of the input for this share of them.
MIRRORED, MANY = 0.05, 0.25
# All tiles together may have this many more pixels than the images: multiples of 32 seldom meet exactly.
_ENLARGED = 1.1


def check_sides(section: ModelSection, sides: Sides) -> None:
    """Raise `UsageError` where `Model.width` or `Model.height` is none that the backbone takes."""
    for key in ("width", "height"):
        given = getattr(section, key)
        if given is not None and sides.only is None and given % sides.step:
            raise UsageError(
                f"Model.{key} is {given}, but should be a multiple of {sides.step}, as this backbone needs."
            )
    if sides.only is not None:
        _only_size(sides.only, section.width, section.height)


def frame_of(section: ModelSection, sizes: Sizes, sides: Sides) -> Frame:
    """The frame for images of these (width, height), as the run file's `Model` section has it.

    `sides` are those that the backbone takes. Raises `UsageError` for others, for tiles that would enlarge the images,
    and for a region of interest that does not fit them or leaves nothing.
    """
    columns, rows = section.tile_grid()
    across, down = (1 + (count - 1) * (1 - section.overlap) for count in (columns, rows))
    tile = _input_size(section, [(width / across, height / down) for width, height in sizes], sides)
    tiling = Tiling.of(*tile, columns, rows, section.overlap)
    whole = InputGeometry(*tiling.size, _aspect(section, sizes))
    size = _median_size(sizes)
    if tiling.count > 1:
        _check_tiles(tiling, size)
    return Frame(whole, tiling, _area(section, whole, size))


def _aspect(section: ModelSection, sizes: Sizes) -> float | None:
    """The aspect that fills the input, None for any.

    Mirrored content says nothing of the part and takes room from what does; so where images have many aspects, they
    are stretched. A region of interest is drawn on images of one aspect, which is kept.
    """
    aspect = _median_aspect(sizes)
    framing = section.framing
    if framing == "auto":
        aspects = np.array([width / height for width, height in sizes])
        mirrored = 1 - np.minimum(aspects / aspect, aspect / aspects)
        has_area = section.roi is not None or section.ignore is not None
        framing = "stretch" if (mirrored > MIRRORED).mean() >= MANY and not has_area else "letterbox"
    return None if framing == "stretch" else aspect


def _input_size(section: ModelSection, sizes: list[tuple[float, float]], sides: Sides) -> tuple[int, int]:
    """Width and height of the input that was asked for, the backbone's only ones, or the preset's."""
    check_sides(section, sides)
    width, height = section.width, section.height
    if sides.only is not None:
        return _only_size(sides.only, width, height)
    typical = InputGeometry.for_images(sizes, PIXELS[section.preset], sides.step)
    aspect = _median_aspect(sizes)
    if width is not None and height is None:
        height = _side(width / aspect, sides.step)
    elif height is not None and width is None:
        width = _side(height * aspect, sides.step)
    return width or typical.width, height or typical.height


def _only_size(size: tuple[int, int], width: int | None, height: int | None) -> tuple[int, int]:
    """Width and height of a backbone that takes one size only; `UsageError` if another was asked for."""
    if width not in (None, size[1]) or height not in (None, size[0]):
        raise UsageError(
            f"this backbone takes images of {size[1]}x{size[0]} only (width x height); leave out Model.width and "
            "Model.height, or export it with a dynamic size"
        )
    return size[1], size[0]


def _side(length: float, step: int) -> int:
    """The nearest side that a model may have."""
    return min(max(1, round(length / step)), LONGEST_SIDE // step) * step


def _median_aspect(sizes: Sequence[tuple[float, float]]) -> float:
    return float(np.median([width / height for width, height in sizes]))


def _median_size(sizes: Sizes) -> tuple[int, int]:
    """The (width, height) of the image in the middle by its number of pixels."""
    return sorted(sizes, key=lambda size: size[0] * size[1])[len(sizes) // 2]


def _check_tiles(tiling: Tiling, size: tuple[int, int]) -> None:
    (width, height), (image_width, image_height) = tiling.size, size
    if width * height > _ENLARGED * image_width * image_height:
        raise UsageError(
            f"Model.tiles is {tiling.columns}x{tiling.rows}: tiles of {tiling.width}x{tiling.height} pixels show "
            f"{width}x{height} together, but the images have {image_width}x{image_height} only; take fewer tiles, or "
            "smaller ones by Model.width and Model.height"
        )
    if max(width, height) > 4 * LONGEST_SIDE:
        raise UsageError(
            f"Model.tiles: all tiles together may have {4 * LONGEST_SIDE} pixels a side, not {width}x{height}"
        )


def _area(section: ModelSection, whole: InputGeometry, size: tuple[int, int]) -> Area | None:
    """The region of interest less what is ignored; None where neither is given."""
    roi, ignored = (_mask(key, getattr(section, key), whole, size) for key in ("roi", "ignore"))
    if roi is None and ignored is None:
        return None
    try:
        return area_of(roi, ignored, whole.width, whole.height)
    except UsageError as error:
        raise UsageError(f"Model.roi and Model.ignore: {error}") from None


def _mask(
    key: str, given: str | list[list[list[float]]] | None, whole: InputGeometry, size: tuple[int, int]
) -> Mask | None:
    """A mask file or polygons over images of this (width, height)."""
    import cv2

    if given is None:
        return None
    if not isinstance(given, str):
        return draw_polygons(given, *size)
    path = Path(given).expanduser()
    if not path.is_file():
        raise UsageError(f"Model.{key}: there is no file {path}")
    mask = read_mask(path)  # (H, W)
    height, width = mask.shape
    if not whole.is_filled_by(width, height):
        raise UsageError(
            f"Model.{key}: {path} has {width}x{height} pixels, the training images {size[0]}x{size[1]}; the mask needs "
            "their size, or at least their aspect"
        )
    if (width, height) == size:
        return mask
    return cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT).view(np.bool_)
