"""Image files by OpenCV, which decodes most kinds and releases the interpreter while it does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from blemish.images.limits import refusal
from blemish.images.scaling import Samples

_SILENT = 0
_quiet_lock = threading.Lock()
_quiet = {"users": 0, "level": 0}


def decode_by_opencv(data: bytes, name: str) -> Samples | None:
    """BGR samples (H, W, 3) as stored, with the EXIF orientation applied; None where OpenCV gives up."""
    import cv2

    with quiet_opencv():
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        except MemoryError as error:
            raise refusal(name, "is too large for the memory") from error
        except cv2.error:
            return None
    return None if pixels is None or pixels.dtype not in (np.uint8, np.uint16) else pixels  # type: ignore[return-value]


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV's log off stderr while any thread decodes, and give the user's level back after the last."""
    import cv2

    log = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 keeps these functions at the top
    with _quiet_lock:
        if not _quiet["users"]:
            _quiet["level"] = log.getLogLevel()
            log.setLogLevel(_SILENT)
        _quiet["users"] += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet["users"] -= 1
            if not _quiet["users"]:
                log.setLogLevel(_quiet["level"])
