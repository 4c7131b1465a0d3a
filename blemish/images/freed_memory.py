"""Memory that an image leaves behind stays with the process, for the next one; what a model leaves behind does not."""

from __future__ import annotations

import ctypes
import sys

import numpy as np

_BLOCK = 16 << 20  # bytes; what is larger goes back to the system as before


def keep_freed_memory() -> None:
    """Let the C library keep freed buffers of up to 16 MB, in each thread up to twice as much, instead of handing them
    back to the system.

    Handed back and fetched again for every image, each page of it is cleared and mapped anew: 1 to 3 ms for 900x900
    pixels and a map. glibc adapts its limits to the largest block that was ever freed, so one that nobody writes to,
    and that costs no memory, is freed here. Other C libraries, and limits that the user has set, stay as they are.
    """
    np.empty(_BLOCK, np.uint8)


def return_freed_memory() -> None:
    """Hand what is free back to the system, as after a model was closed: `keep_freed_memory` keeps its weights too.

    It takes milliseconds, and the next images fetch again what they need. Only glibc has to be asked.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
