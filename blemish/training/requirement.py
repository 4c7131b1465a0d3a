"""What training needs beyond the base package."""

from __future__ import annotations

from importlib.util import find_spec

from blemish.errors import UsageError, install_command

PACKAGES = ("torch", "timm", "safetensors")


def require_torch(detector: str) -> None:
    """Raise `UsageError` with the command that installs what is missing, before any work."""
    missing = [name for name in PACKAGES if not is_installed(name)]
    if missing:
        raise UsageError(
            f"{detector} learns by gradient and needs {', '.join(missing)}: {install_command('train')}. "
            "What it has learned then predicts without."
        )


def is_installed(name: str) -> bool:
    """Whether a package can be imported; nothing is imported to see it."""
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False
