"""What a frozen backbone says of images: computed once and kept, where memory allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from blemish.scratch import Scratch
from blemish.training.networks import normalised_planes

if TYPE_CHECKING:
    from torch import Tensor

    from blemish.training.networks import Teacher

Levels = list["Tensor"]  # feature maps (n, C, h, w), finest first

CHUNK = 8  # images that the backbone takes at once


def in_float32(levels: Levels) -> Levels:
    """Feature maps as they are, in float32."""
    return [level.float() for level in levels]


class Features:
    """Images on a device, and a frozen network's feature maps of them.

    Half of `budget` bytes may hold the maps, in 16 bits, and a quarter the images. Maps that do not fit are computed
    again at every call, and images that do not fit are in a file in `folder`. `form` makes of the maps what is wanted.
    `advance(done, total)` hears how far the first computation is.
    """

    def __init__(
        self,
        teacher: Teacher,
        images: Any,
        device: Any,
        budget: int,
        *,
        folder: Path | None = None,
        advance: Callable[[int, int], None] | None = None,
        form: Callable[[Levels], Levels] = in_float32,
    ) -> None:
        self._teacher, self._device, self._form = teacher, device, form
        scratch = Scratch(budget // 4, folder)
        self._pixels = [scratch.keep(image) for image in images]
        self._kept: Levels | None = None
        self._keep(budget // 2, advance)

    def __len__(self) -> int:
        return len(self._pixels)

    @property
    def held(self) -> int:
        """Bytes of memory that the maps take."""
        return sum(level.nbytes for level in self._kept or ())

    def chunks(self) -> Iterator[npt.NDArray[np.int64]]:
        """The numbers of all images, a few at a time."""
        for start in range(0, len(self), CHUNK):
            yield np.arange(start, min(start + CHUNK, len(self)))

    def planes(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """These images as the network takes them, `(n, 3, H, W)`."""
        import torch

        pixels = torch.from_numpy(np.stack([self._pixels[row].read() for row in rows]))  # (n, H, W, 3)
        planes = normalised_planes(pixels.to(self._device), self._teacher.record)
        return planes.contiguous(memory_format=torch.channels_last)

    def take(self, rows: npt.NDArray[np.int64]) -> Levels:
        """The feature maps of these images."""
        import torch

        if self._kept is not None:
            kept = (level[rows].to(self._device).float() for level in self._kept)
            return [level.contiguous(memory_format=torch.channels_last) for level in kept]
        with torch.inference_mode():
            levels = self._form(self._teacher.module(self.planes(rows)))
        # a tensor of the inference mode cannot enter a loss
        return [level.clone(memory_format=torch.channels_last) for level in levels]

    def _keep(self, room: int, advance: Callable[[int, int], None] | None) -> None:
        """Compute the maps of all images, if they fit into the room."""
        import torch

        kept: Levels = []
        for rows in self.chunks():
            levels = self.take(rows)
            if not kept:
                shapes = [(len(self), *level.shape[1:]) for level in levels]
                if 2 * sum(map(math.prod, shapes)) > room:
                    return
                form = {"dtype": torch.float16, "memory_format": torch.channels_last}
                kept = [torch.empty(shape, **form) for shape in shapes]  # type: ignore[call-overload]
            for whole, level in zip(kept, levels, strict=True):
                whole[rows[0] : rows[-1] + 1] = level.half().cpu()
            if advance is not None:
                advance(int(rows[-1]) + 1, len(self))
        self._kept = kept or None
