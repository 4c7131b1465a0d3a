"""Errors with one clear line each: what is wrong, with which input, and the way out.

Every error that a user can cause derives from `BlemishError`. The command line prints its text
without a traceback and leaves with exit code 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BlemishError(Exception):
    """Base of all errors that a user can cause and mend."""


class UsageError(BlemishError):
    """A wrong argument, key or value."""


class BusyError(UsageError):
    """A folder in which another process is at work."""


class ImageError(BlemishError):
    """An image that cannot be read; the message names it."""


class DatasetError(BlemishError):
    """A folder that is not the data set it should be."""


class BackboneError(BlemishError):
    """Weights or a network file that are refused."""


class ModelError(BlemishError):
    """A model folder that is refused."""


class DeviceError(BlemishError):
    """A device or engine that is not there."""


class StoreError(BlemishError):
    """A store that cannot be opened, read or written."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean `x`?' for the closest known word, or an empty string."""
    known = list(known)
    lower = {k.lower(): k for k in known}
    close = get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return f" Did you mean `{lower[close[0]]}`?" if close else ""


def install_command(extra: str) -> str:
    """What adds an extra to the Blemish that is running. pip takes the installed one and looks for no other."""
    return f'pip install "blemish[{extra}]"'
