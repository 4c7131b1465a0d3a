"""Arrays that are held in memory up to a bound, and beyond it in a file that has no name.

The file is written and read, not mapped: a full disk is then an error with a reason, where a map would kill the
process, and what was read counts as memory only for as long as somebody holds it. Having no name, the file goes with
the process, however that ends.
"""

from __future__ import annotations

import math
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError

Array = npt.NDArray[Any]


class Scratch:
    """Keeps arrays: those that fit into `room` bytes together in memory, all others in a file.

    The file lies in `folder`, or where the system has its temporary files.
    """

    def __init__(self, room: int, folder: Path | None = None) -> None:
        self._room, self._folder = room, folder
        self._file: _File | None = None
        self._end = 0

    def keep(self, array: Array) -> Kept:
        """Keep an array, which must not change afterwards: in memory it is held as it is, without a copy.

        Raises `UsageError` where the disk refuses it.
        """
        if array.nbytes <= self._room:
            self._room -= array.nbytes
            return Kept(array.shape, array.dtype, array)
        start = self._end
        try:
            if self._file is None:
                self._file = _File(self._folder)
            self._file.write(start, array)
        except OSError as error:
            place = self._folder or tempfile.gettempdir()
            raise UsageError(
                f"{place}: {error.strerror or error}: what does not fit into memory is put there, {start / 1e9:.1f} GB "
                "so far; make room"
            ) from error
        self._end += array.nbytes
        return Kept(array.shape, array.dtype, self._file, start)


@dataclass(frozen=True, eq=False)
class Kept:
    """An array that a `Scratch` keeps."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    _place: Array | _File
    _start: int = 0  # bytes, in a file

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    def read(self) -> Array:
        """The whole array."""
        return self._part(0, self.size).reshape(self.shape) if isinstance(self._place, _File) else self._place

    def blocks(self, size: int) -> Iterator[Array]:
        """Its numbers in order, at most `size` at a time, `(n,)`."""
        for start in range(0, self.size, size):
            yield self._part(start, min(start + size, self.size))

    def _part(self, start: int, end: int) -> Array:
        """The numbers from `start` to `end`, flat."""
        if not isinstance(self._place, _File):
            return self._place.reshape(-1)[start:end]
        part = np.empty(end - start, self.dtype)
        try:
            self._place.read(self._start + start * self.dtype.itemsize, part)
        except OSError as error:
            raise UsageError(f"a temporary file cannot be read any more: {error.strerror or error}") from error
        return part


class _File:
    """A file without a name, closed with the last array that is in it."""

    def __init__(self, folder: Path | None) -> None:
        # unbuffered: what a full disk refuses is refused at once, and nothing of it is left to be written at the end
        self._file = tempfile.TemporaryFile(prefix="blemish-", dir=folder, buffering=0)  # noqa: SIM115 - closed below
        weakref.finalize(self, self._file.close)

    def write(self, start: int, array: Array) -> None:
        left = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        self._file.seek(start)
        while left:
            left = left[self._file.write(left) :]

    def read(self, start: int, array: Array) -> None:
        """Fill a flat array."""
        left = array.view(np.uint8).data
        self._file.seek(start)
        while left:
            count = self._file.readinto(left)
            if not count:
                raise OSError("it has become shorter")
            left = left[count:]
