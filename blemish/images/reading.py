"""Decoding ahead of use, in threads: OpenCV releases the interpreter while it decodes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.errors import ImageError
from blemish.images.sources import ImageRef

if TYPE_CHECKING:
    from concurrent.futures import Future

# Bytes of decoded images that wait: images of a few megapixels are read eight ahead, of fifty one ahead.
WAITING = 1 << 28

Read = tuple[ImageRef, npt.NDArray[np.uint8] | ImageError, float]


def read_ahead(refs: Iterable[ImageRef], bit_depth: int = 16, workers: int = 2, depth: int = 8) -> Iterator[Read]:
    """Every reference in order, with its RGB image or the `ImageError` in its place, and the seconds it took to read.

    At most `depth` images are read and not yet taken, fewer where they are large. Closing the generator drops what was
    not begun.
    """
    from concurrent.futures import ThreadPoolExecutor

    remaining = iter(refs)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="blemish-read")
    try:
        waiting: deque[Future[Read]] = deque(pool.submit(_read, ref, bit_depth) for ref in islice(remaining, 1))
        while waiting:
            read = waiting.popleft().result()
            size = 1 if isinstance(read[1], ImageError) else read[1].nbytes
            room = max(1, min(depth, WAITING // size)) - len(waiting)
            waiting.extend(pool.submit(_read, ref, bit_depth) for ref in islice(remaining, max(0, room)))
            yield read
            del read  # the caller may be done with it long before the next one is there
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read(ref: ImageRef, bit_depth: int) -> Read:
    start = time.perf_counter()
    try:
        image: npt.NDArray[np.uint8] | ImageError = ref.read(bit_depth)
    except ImageError as error:
        image = error
    return ref, image, time.perf_counter() - start
