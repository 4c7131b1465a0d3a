"""Decoding ahead of use, in threads: OpenCV releases the interpreter while it decodes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from blemish.errors import ImageError
from blemish.images.sources import ImageRef
from blemish.sample_range import FULL, BitDepth

if TYPE_CHECKING:
    from concurrent.futures import Future

# Bytes of decoded images that wait: images of a few megapixels are read eight ahead, of fifty one ahead.
WAITING = 1 << 28

Read = tuple[ImageRef, npt.NDArray[np.uint8] | ImageError, float]
_Given = TypeVar("_Given")
_Done = TypeVar("_Done")


def read_ahead(
    refs: Iterable[ImageRef], bit_depth: BitDepth = FULL, workers: int = 2, depth: int = 8
) -> Iterator[Read]:
    """Every reference in order, with its RGB image or the `ImageError` in its place, and the seconds it took to read.

    At most `depth` images are read and not yet taken, fewer where they are large. Closing the generator drops what was
    not begun.
    """
    return work_ahead(partial(read, bit_depth=bit_depth), refs, _size, workers, depth)


def work_ahead(
    work: Callable[[_Given], _Done],
    given: Iterable[_Given],
    size: Callable[[_Done], int],
    workers: int = 2,
    depth: int = 8,
) -> Iterator[_Done]:
    """What `work` makes of each, in order, done in threads ahead of use; bounds and end as `read_ahead` has them.

    `size` tells how many bytes a result holds. The first result waits for two of the given at most, however slowly they
    come. One alone needs no thread.
    """
    remaining = iter(given)
    first = list(islice(remaining, 2))
    if len(first) < 2:
        yield from map(work, first)
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(workers, thread_name_prefix="blemish-read")
    try:
        remaining = chain(first, remaining)
        waiting: deque[Future[_Done]] = deque(pool.submit(work, one) for one in islice(remaining, min(2, depth)))
        while waiting:
            done = [waiting.popleft().result()]
            room = max(1, min(depth, WAITING // max(1, size(done[0])))) - len(waiting)
            yield done.pop()  # keeps no reference: the caller may be done with it long before the next one is there
            waiting.extend(pool.submit(work, one) for one in islice(remaining, min(2, max(0, room))))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def read(ref: ImageRef, bit_depth: BitDepth = FULL) -> Read:
    """One reference with its RGB image or the `ImageError` in its place, and the seconds it took to read."""
    start = time.perf_counter()
    try:
        image: npt.NDArray[np.uint8] | ImageError = ref.read(bit_depth)
    except ImageError as error:
        image = error
    return ref, image, time.perf_counter() - start


def _size(done: Read) -> int:
    """Bytes of a decoded image."""
    return 0 if isinstance(done[1], ImageError) else done[1].nbytes
