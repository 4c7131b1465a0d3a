"""What good looks like: the places of good images that the rows of a memory bank were taken from, as small pictures."""

from __future__ import annotations

import logging
from collections import defaultdict

from blemish.detectors import Detector, Progress
from blemish.images import Inputs, cut_patch
from blemish.models import MOST_ROWS, GoodPatches, encode_patch, pack_patches, patch_side

log = logging.getLogger("blemish")


def cut_good_patches(
    detector: Detector, inputs: Inputs, grid: tuple[int, int], progress: Progress, before: bytes | None = None
) -> bytes | None:
    """The file of patches of a fitted or extended detector, None where it has no memory bank, or a very large one.

    `inputs` are those of `fit` or `extend`, `grid` is the (h, w) of the network's map. `before` is the
    file of the bank that was extended, whose rows come first.
    Raises `ModelError` where that is damaged.
    """
    origins = detector.row_origins  # (rows, 3)
    if origins is None:
        return None
    if len(origins) > MOST_ROWS:
        log.warning("no patches of good images are stored: %d rows, more than %d", len(origins), MOST_ROWS)
        return None
    known = [] if before is None else _all(GoodPatches(before))
    if len(known) != int((origins[:, 0] < 0).sum()):
        return None  # they are of another bank
    patches: list[bytes] = known + [b""] * (len(origins) - len(known))
    tiling, rows_of = inputs.frame.tiling, defaultdict(list)
    for row, (number, *_) in enumerate(origins[len(known) :].tolist(), len(known)):
        rows_of[number // tiling.count].append(row)
    side = patch_side(len(origins))
    for number, image in enumerate(inputs.images):
        for row in rows_of[number]:
            tile, *cell = origins[row].tolist()
            x, y = tiling.centre_of(tile % tiling.count, cell, grid)
            patches[row] = encode_patch(cut_patch(image, x, y, side))
        progress("good patches", number + 1, len(inputs.sizes))
    return pack_patches(patches)


def _all(patches: GoodPatches) -> list[bytes]:
    return [patches.encoded(row) for row in range(len(patches))]
