"""The good images as a model sees them: read, checked and described once, then gone through as often as needed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.datasets import GoodImages
from blemish.datasets.files import file_hash
from blemish.errors import DatasetError, ImageError
from blemish.images import Frame, ImageRef, Inputs, SampleMeter, Span, expand, read_ahead
from blemish.metrics.rates import counted
from blemish.sample_range import SampleRange

Image = npt.NDArray[np.uint8]

log = logging.getLogger("blemish")

SIZE_SAMPLE = 16  # images whose sizes decide the model's aspect


class TrainingImages(Collection[Image]):
    """RGB images `(height, width, 3)` as `Frame.fit` gives them, without those that cannot be read.

    Attributes:
        root: the data set.
        learned: of what they are and what was left out, in one line.
        names: name of each image relative to it.
        failed: one line for each image that cannot be read.
        unread: names of the files of which no image can be read.
        left_out: names of the images that are left out because somebody named them.
        hashes: SHA-256 of each file by its name.
        sizes: how many images have a size, by `WxH`.
        original_sizes: width and height of each image.
        span: the samples of those of more than 8 bits, None where there are none.
    """

    def __init__(
        self,
        good: GoodImages,
        frame: Frame,
        bit_depth: SampleRange,
        memory: int,
        advance: Callable[[int, int], None],
    ) -> None:
        self.root, self.learned, self.frame, self.bit_depth = good.root, good.learned, frame, bit_depth
        self.left_out = list(good.left_out)
        self.names: list[str] = []
        self.failed: list[str] = []
        self.unread: list[str] = []
        self.hashes: dict[str, str] = {}
        self.sizes: Counter[str] = Counter()
        self._refs: list[ImageRef] = []
        self.original_sizes: list[tuple[int, int]] = []
        # None once the images do not fit into memory; they are then read again for every pass.
        self._held: list[Image] | None = []
        room = memory // (frame.geometry.width * frame.geometry.height * 3)
        self.span: Span | None = None
        self._read_all(good, room, advance)
        if not self._refs:
            first = f"can be read; the first: {self.failed[0]}" if self.failed else "is left: all pages are left out"
            raise DatasetError(f"{good.root}: none of {counted(len(good.paths), 'image')} {first}")

    def __len__(self) -> int:
        return len(self._refs)

    def __contains__(self, image: object) -> bool:
        return any(image is held for held in self._held or ())

    def __iter__(self) -> Iterator[Image]:
        if self._held is not None:
            yield from self._held
            return
        for _, image, _ in read_ahead(self._refs, self.bit_depth):
            if isinstance(image, ImageError):
                raise DatasetError(f"{image}; it was readable before. Do not change the images during training")
            yield self.frame.fit(image)

    @property
    def inputs(self) -> Inputs:
        """What the network takes of them."""
        return Inputs(self, self.frame, self.original_sizes)

    @property
    def files(self) -> list[Path]:
        """The file of each image; pages have the same."""
        return [Path(str(ref.input_path)) for ref in self._refs]

    def file_of(self, name: str) -> str:
        """The name of the file that an image, perhaps a page, is in."""
        return name if name in self.hashes else name.rpartition("[")[0]

    def original(self, index: int) -> Image:
        """An image `(H, W, 3)` in its own size, read again; `ImageError` if it can no longer be read."""
        return self._refs[index].read(self.bit_depth)

    def _read_all(self, good: GoodImages, room: int, advance: Callable[[int, int], None]) -> None:
        names, without = dict(zip(map(str, good.paths), good.names, strict=True)), set(good.left_out)
        meter = SampleMeter()
        read = read_ahead(expand([str(path) for path in good.paths]), self.bit_depth.metered(meter))
        for done, (ref, image, _) in enumerate(read, 1):
            advance(min(done, len(good.paths)), len(good.paths))
            if isinstance(image, ImageError):
                self.failed.append(str(image))
                self.unread.append(names[str(ref.input_path)])
                log.warning("left out: %s", image)
                continue
            name = names[str(ref.input_path)]
            shown = name if ref.page_index is None else f"{name}[{ref.page_index}]"
            if shown in without:
                continue
            if name not in self.hashes:  # all pages of a document are one file
                self.hashes[name] = _hash(str(ref.input_path))
            self.names.append(shown)
            height, width = image.shape[:2]
            reason = self.frame.refusal(width, height)
            if reason is not None:
                raise DatasetError(f"{ref.input_path} {reason}")
            self.sizes[f"{width}x{height}"] += 1
            self.original_sizes.append((width, height))
            self._refs.append(ref)
            self._hold(self.frame.fit(image), room)
        self.unread = [name for name in dict.fromkeys(self.unread) if name not in self.hashes]
        if self.unread and good.learned_but is not None:
            self.learned = good.learned_but(self.unread)
        self.span = meter.span
        clipped = self.span and self.span.clipped()
        if clipped:
            log.warning("%s: %s", good.root, clipped)

    def _hold(self, image: Image, room: int) -> None:
        """Keep an image in memory, or give up keeping any."""
        if self._held is not None and len(self._held) < room:
            self._held.append(image)
        else:
            self._held = None


def _hash(path: str) -> str:
    try:
        return file_hash(Path(path))
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}; do not change the images during training") from None


def typical_sizes(good: GoodImages, bit_depth: SampleRange) -> list[tuple[int, int]]:
    """Width and height of some images, evenly chosen; `DatasetError` if none of the images can be read."""
    step = -(-len(good.paths) // SIZE_SAMPLE)
    for paths in (good.paths[::step], good.paths):
        read = read_ahead(expand([str(path) for path in paths]), bit_depth)
        sizes = [image.shape[1::-1] for _, image, _ in read if not isinstance(image, ImageError)]
        if sizes:
            return [(int(width), int(height)) for width, height in sizes]
    raise DatasetError(f"{good.root}: none of {counted(len(good.paths), 'image')} can be read")
