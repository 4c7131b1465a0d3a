"""What a frozen backbone says of images: computed once and kept, where memory allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

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

    The maps are computed once and kept in 16 bits if `room` bytes hold them, and again at every call otherwise. `form`
    makes of them what is wanted. `advance(done, total)` hears how far the first computation is.
    """

    def __init__(
        self,
        teacher: Teacher,
        images: Any,
        device: Any,
        room: int,
        *,
        advance: Callable[[int, int], None] | None = None,
        form: Callable[[Levels], Levels] = in_float32,
    ) -> None:
        import torch

        self._teacher, self._device, self._form = teacher, device, form
        self._pixels = torch.from_numpy(np.stack(list(images)) if len(images) else np.empty((0, 1, 1, 3), np.uint8))
        self._kept: Levels | None = None
        self._keep(room, advance)

    def __len__(self) -> int:
        return len(self._pixels)

    def chunks(self) -> Iterator[npt.NDArray[np.int64]]:
        """The numbers of all images, a few at a time."""
        for start in range(0, len(self), CHUNK):
            yield np.arange(start, min(start + CHUNK, len(self)))

    def planes(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """These images as the network takes them, `(n, 3, H, W)`."""
        import torch

        planes = normalised_planes(self._pixels[rows].to(self._device), self._teacher.record)
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
        import torch

        kept: list[Levels] = []
        for rows in self.chunks():
            levels = self.take(rows)
            if 2 * sum(level[0].numel() for level in levels) * len(self) > room:
                return
            kept.append([level.half().cpu() for level in levels])
            if advance is not None:
                advance(int(rows[-1]) + 1, len(self))
        if kept:
            self._kept = [torch.cat(level) for level in zip(*kept, strict=True)]
