"""Reading files that may be hostile, and writing files that survive a crash."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path

from blemish.errors import ModelError


def read_plain_file(path: Path, limit: int, stated: int | None = None) -> bytes:
    """The bytes of a regular file that is no link, of at most `limit` bytes and of exactly `stated` if given.

    The size is checked before anything is read. Raises `ModelError` naming the file.
    """
    if path.is_symlink():
        raise ModelError(f"{path.name} is a link; a model folder holds plain files")
    try:
        # without O_NONBLOCK, opening a named pipe would wait for ever
        descriptor = os.open(path, os.O_RDONLY | _flag("O_NOFOLLOW") | _flag("O_NONBLOCK") | _flag("O_BINARY"))
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ModelError(f"{path.name} is not a plain file")
            _check_size(path.name, found.st_size, limit, stated)
            content = file.read(found.st_size + 1)
    except FileNotFoundError:
        raise ModelError(f"{path.name} is missing") from None
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read: {error.strerror}") from error
    _check_size(path.name, len(content), limit, stated)
    return content


def sha256(content: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sibling(path: Path, ending: str) -> Path:
    """A new hidden name beside `path`, on the same file system, so that a rename is atomic."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{ending}")


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file and wait until it is on the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system has such a thing."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flag(name: str) -> int:
    return int(getattr(os, name, 0))


def _check_size(name: str, size: int, limit: int, stated: int | None) -> None:
    if size > limit:
        raise ModelError(f"{name} has {size} bytes; at most {limit} are allowed")
    if stated is not None and size != stated:
        raise ModelError(f"{name} has {size} bytes, but model.json states {stated}; the file is truncated or changed")
