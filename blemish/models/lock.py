"""A lock that ends with its process, however it ends, so that one process at a time writes to a place."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from blemish.errors import BusyError

_POLL_S = 0.02


@contextmanager
def locked(file: Path, busy: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock `file` during the block; `BusyError` with the text `busy` where another has it for `wait` seconds.

    The file is there while it is held, and after its process was killed; then it locks nothing. File systems without
    locks, and folders in which no file can be made, have no lock.
    """
    descriptor = _taken(file, busy, wait)
    try:
        yield
    finally:
        if descriptor is not None:
            _release(descriptor, file)


def _taken(file: Path, busy: str, wait: float) -> int | None:
    """The open lock file; None where there are no locks."""
    deadline = time.monotonic() + wait
    while (descriptor := _opened(file)) is not None:
        try:
            is_ours = _lock(descriptor)
        except OSError:  # this file system has no locks
            _release(descriptor, file)
            return None
        # whoever had it before may have removed the file that was opened here
        if is_ours and _is_at(descriptor, file):
            return descriptor
        os.close(descriptor)
        if not is_ours:
            if time.monotonic() >= deadline:
                raise BusyError(busy)
            time.sleep(_POLL_S)
    return None


def _opened(file: Path) -> int | None:
    """Open for writing, which network file systems need for a lock; another user's for reading."""
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        with suppress(OSError):
            return os.open(file, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
    return None


def _lock(descriptor: int) -> bool:
    """Whether the lock is ours now; `OSError` where there are none."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except OSError:
        return False


def _release(descriptor: int, file: Path) -> None:
    """Remove the file while it is still ours; Windows removes no open file, and none that another has open."""
    is_posix = os.name == "posix"
    if is_posix:
        with suppress(OSError):
            file.unlink()
    os.close(descriptor)
    if not is_posix:
        with suppress(OSError):
            file.unlink()
