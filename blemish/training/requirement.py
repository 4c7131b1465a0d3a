"""What training needs beyond the base package."""

from __future__ import annotations

from blemish.backbones.timm_networks import missing_packages
from blemish.errors import UsageError, install_command


def require_torch(detector: str) -> None:
    """Raise `UsageError` with the command that installs what is missing, before any work."""
    missing = missing_packages()
    if missing:
        raise UsageError(
            f"{detector} learns by gradient and needs {', '.join(missing)}: {install_command('train')}. "
            "What it has learned then predicts without."
        )
