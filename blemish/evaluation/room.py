"""What the pixel figures of an evaluation will take, said before the work."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from blemish.datasets import Sample
from blemish.errors import UsageError
from blemish.images.headers import image_size
from blemish.images.kinds import image_format
from blemish.metrics.pixel import MEMORY

BYTES_PER_PIXEL = 4
_HEADER = 1 << 16  # bytes of a file in which its size stands


def has_pixel_figures(samples: Sequence[Sample]) -> bool:
    """Whether there can be any: they need a defective image with a mask, and a good pixel is in every image."""
    return any(sample.masks and not sample.is_good for sample in samples)


def check_room(samples: Sequence[Sample], output: Path, say: Callable[[str], None]) -> None:
    """Say how much of the disk the pixel figures will take, where the scores of all pixels do not fit into memory.

    Raises `UsageError` where the disk of the output folder has not as much.
    """
    if not has_pixel_figures(samples):
        return
    counted = [sample for sample in samples if sample.is_good or sample.masks]
    pixels = sum(map(_pixels, counted))
    beyond = BYTES_PER_PIXEL * pixels - MEMORY
    if beyond <= 0:
        return
    what = f"The pixel figures of {len(counted)} images, {pixels / 1e6:,.0f} megapixels together, take"
    free = shutil.disk_usage(output).free
    if free < beyond:
        raise UsageError(
            f"{what} {beyond / 1e9:.1f} GB of the disk for as long as the evaluation runs. {output} has "
            f"{free / 1e9:.1f} GB free: make room, or name a folder on another disk with --output"
        )
    say(f"{what} {beyond / 1e9:.1f} GB of the disk in {output} until the evaluation ends.")


def _pixels(sample: Sample) -> int:
    """Pixels of an image by its header; 0 where that does not tell, or the file cannot be read."""
    try:
        with sample.path.open("rb") as file:
            data = file.read(_HEADER)
        kind = image_format(data)
        width, height = image_size(data, kind) if kind not in (None, "PDF") else (0, 0)
    except (OSError, ValueError, KeyError):
        return 0
    return width * height
