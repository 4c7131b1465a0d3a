"""Frozen feature extractors as ONNX layers, each with the origin and the licence of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from blemish.backbones.efficientnet_lite import efficientnet_lite0
from blemish.backbones.record import Backbone, Tap
from blemish.errors import BackboneError, did_you_mean

__all__ = ["Backbone", "Tap", "available_backbones", "load_backbone"]

_EMBEDDED = {"efficientnet_lite0": efficientnet_lite0}


def available_backbones() -> list[str]:
    """The names that `load_backbone` knows without a file."""
    return sorted(_EMBEDDED)


def load_backbone(name: str | PathLike[str] = "efficientnet_lite0", taps: Sequence[str] = ()) -> Backbone:
    """An embedded backbone by its name, or the network in an ONNX file by its path.

    `taps` limits the record to these taps; in an ONNX file they may be any tensors or nodes (see `onnx_backbone`).
    Raises `BackboneError` for an unknown name, for missing or changed weights and for a file that is refused.
    """
    if str(name) in _EMBEDDED:
        backbone = _EMBEDDED[str(name)]()
        return replace(backbone, taps=tuple(map(backbone.tap, taps))) if taps else backbone
    path = Path(name)
    if path.suffix.lower() == ".onnx" or path.is_file():
        from blemish.backbones.onnx_file import onnx_backbone

        return onnx_backbone(path, taps)
    known = available_backbones()
    raise BackboneError(
        f"no backbone `{name}`.{did_you_mean(str(name), known)} Known: {', '.join(known)}, or the path of an ONNX file"
    )
