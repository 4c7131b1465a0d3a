"""Frozen feature extractors as ONNX layers, each with the origin and the licence of its weights."""

from __future__ import annotations

from blemish.backbones.efficientnet_lite import efficientnet_lite0
from blemish.backbones.record import Backbone, Tap
from blemish.errors import BackboneError, did_you_mean

__all__ = ["Backbone", "Tap", "available_backbones", "load_backbone"]

_EMBEDDED = {"efficientnet_lite0": efficientnet_lite0}


def available_backbones() -> list[str]:
    """The names that `load_backbone` knows without a file."""
    return sorted(_EMBEDDED)


def load_backbone(name: str = "efficientnet_lite0") -> Backbone:
    """An embedded backbone by name; raises `BackboneError` if unknown."""
    if name not in _EMBEDDED:
        known = available_backbones()
        raise BackboneError(f"no backbone `{name}`.{did_you_mean(name, known)} Known: {', '.join(known)}")
    return _EMBEDDED[name]()
