"""The user's cache folder: what it holds can be made again at any time."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_home() -> Path:
    """`BLEMISH_CACHE_HOME`, or `blemish` in the user's cache folder (XDG); it need not exist."""
    own = os.environ.get("BLEMISH_CACHE_HOME")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blemish"


def keep(file: Path, content: bytes) -> None:
    """Write a file of the cache whole or not at all; `OSError` where it cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as stream:
        partial = Path(stream.name)
        try:
            stream.write(content)
            stream.close()
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
