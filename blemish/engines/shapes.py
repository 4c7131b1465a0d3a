"""What every engine checks of the images it is given and of what its network gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from blemish.errors import ModelError, UsageError

Shape = tuple[int | None, ...]  # None: a dimension that may vary


def check_images(image: npt.NDArray[np.uint8], expected: Shape) -> None:
    """`UsageError` unless the batch is uint8 and of the network's input shape."""
    if image.dtype != np.uint8:
        raise UsageError(f"the network takes uint8 pixels, got {image.dtype}")
    if not _fits(image.shape, expected):
        raise UsageError(f"the network takes images of shape {describe(expected)}, got {describe(image.shape)}")


def check_outputs(values: Mapping[str, npt.NDArray[np.float32]], declared: Mapping[str, Shape], images: int) -> None:
    """`ModelError` unless each output has one entry for each of so many images, and else the declared shape."""
    for name, shape in declared.items():
        if not _fits(values[name].shape, (images, *shape[1:])):
            raise ModelError(
                f"the network gave `{name}` of shape {describe(values[name].shape)} for {images} images, "
                f"not {describe(shape)} as it declares"
            )


def describe(shape: Sequence[int | None]) -> str:
    """The shape in brackets; a dimension that may vary is `any`."""
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    return len(shape) == len(expected) and all(e is None or s == e for s, e in zip(shape, expected, strict=True))
