"""The user's cache folder: what it holds can be made again at any time."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """`BLEMISH_CACHE_HOME`, or `blemish` in the user's cache folder (XDG); it need not exist."""
    own = os.environ.get("BLEMISH_CACHE_HOME")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blemish"
