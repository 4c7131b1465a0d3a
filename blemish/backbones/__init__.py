"""Frozen feature extractors as ONNX layers, each with the origin and the licence of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from blemish.backbones.efficientnet_lite import efficientnet_lite0
from blemish.backbones.record import EMBEDDED, TIMM, Backbone, Choice, Tap
from blemish.errors import BackboneError, did_you_mean

if TYPE_CHECKING:
    from blemish.config.sections import ModelSection

__all__ = ["EMBEDDED", "Backbone", "Choice", "Tap", "available_backbones", "chosen_backbone", "load_backbone"]

_EMBEDDED = {EMBEDDED: efficientnet_lite0}


def available_backbones() -> list[str]:
    """The names that `load_backbone` knows without a file and without timm."""
    return sorted(_EMBEDDED)


def chosen_backbone(section: ModelSection) -> Choice:
    """The backbone that a run file's `Model` section asks for."""
    weights = section.backbone_weights
    return Choice(
        section.backbone, None if weights is None else Path(weights), tuple(section.taps), section.accept_licence
    )


def load_backbone(asked: str | PathLike[str] | Choice = EMBEDDED, taps: Sequence[str] = ()) -> Backbone:
    """An embedded backbone by its name, the network in an ONNX file by its path, or a model of timm by its name.

    `taps`, or those of the choice, limit the record to these taps; in an ONNX file they may be any tensors or nodes
    (see `onnx_backbone`), of timm's models they are modules (see `timm_backbone`). Raises `BackboneError` for an
    unknown name, for missing or changed weights, for a licence that is not accepted and for a file that is refused.
    """
    choice = Choice.of(asked)
    choice = replace(choice, taps=tuple(taps) or choice.taps)
    if choice.name in _EMBEDDED:
        _refuse_weights(choice, "which has its own")
        backbone = _EMBEDDED[choice.name]()
        named = tuple(map(backbone.tap, choice.taps))
        return replace(backbone, taps=named, read=()) if named else backbone
    path = Path(choice.name)
    if path.suffix.lower() == ".onnx" or path.is_file():
        from blemish.backbones.onnx_file import onnx_backbone

        _refuse_weights(choice, "which holds its own")
        return onnx_backbone(path, choice.taps)
    return _of_timm(choice)


def _of_timm(choice: Choice) -> Backbone:
    from blemish.backbones.timm_networks import known_names, missing_packages

    named = choice.name.startswith(TIMM)
    if named or choice.network in known_names():
        from blemish.backbones.timm_model import timm_backbone

        return timm_backbone(choice)
    known = [*available_backbones(), *known_names()]
    extra = "" if not missing_packages() else f", once {' and '.join(missing_packages())} is installed"
    raise BackboneError(
        f"no backbone `{choice.name}`.{did_you_mean(choice.name, known)} Known: {', '.join(available_backbones())}, "
        f"the path of an ONNX file, or a model of timm by its name{extra}"
    )


def _refuse_weights(choice: Choice, why: str) -> None:
    if choice.weights is not None:
        raise BackboneError(
            f"Model.backbone_weights is for a model of timm, not for {choice.name}, {why}: leave it out"
        )
