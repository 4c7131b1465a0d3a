"""Blemish learns what good parts look like from good images alone and finds what is anomalous in new ones.

The public names are loaded when they are first used, so that `import blemish` is immediate.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blemish.api import create_model, create_pipeline, list_models
    from blemish.errors import (
        BackboneError,
        BlemishError,
        DatasetError,
        DeviceError,
        ImageError,
        ModelError,
        UsageError,
    )
    from blemish.pipeline import PartResult, Result

__version__ = "0.1.0"

_HOMES = {
    "create_model": "blemish.api",
    "create_pipeline": "blemish.api",
    "list_models": "blemish.api",
    "PartResult": "blemish.pipeline",
    "Result": "blemish.pipeline",
    **dict.fromkeys(
        ("BackboneError", "BlemishError", "DatasetError", "DeviceError", "ImageError", "ModelError", "UsageError"),
        "blemish.errors",
    ),
}

__all__ = [
    "BackboneError",
    "BlemishError",
    "DatasetError",
    "DeviceError",
    "ImageError",
    "ModelError",
    "PartResult",
    "Result",
    "UsageError",
    "__version__",
    "create_model",
    "create_pipeline",
    "list_models",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
