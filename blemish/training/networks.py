"""Backbones as torch networks with their weights: the frozen teachers of detectors that learn.

A network takes normalised planes `(n, 3, H, W)` and gives the feature maps of its taps, finest first; nothing behind
the last tap is computed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from blemish.backbones import EMBEDDED, Backbone, Choice, Tap
from blemish.backbones.efficientnet_lite import append_lite0
from blemish.backbones.licences import accepted_licence
from blemish.backbones.timm_networks import (
    SIDE,
    channels_of,
    check_maps,
    check_patches,
    new_module,
    tap_indices,
)
from blemish.backbones.timm_weights import embedded_names, load_state, read_state
from blemish.errors import BackboneError, UsageError, did_you_mean
from blemish.graph import GraphBuilder

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("blemish")


@dataclass(frozen=True)
class Teacher:
    """A frozen network with its weights, and the record of where they come from."""

    record: Backbone
    module: nn.Module
    strides: tuple[int, ...]


def check_network(choice: Choice, weights: Path | None) -> None:
    """Refuse, before any work, an unknown backbone, a licence not accepted and a weight file that is not there."""
    import timm

    name = choice.network
    if weights is not None and not weights.is_file():
        raise BackboneError(f"Train.pretrain_weight_path: there is no file {weights}")
    if choice.taps:
        raise UsageError("Model.taps is for PatchCore; this detector reads the feature maps at its own strides")
    if name == EMBEDDED:
        return
    if not timm.is_model(name):
        known = [EMBEDDED, *timm.list_models()]
        raise BackboneError(
            f"no backbone `{name}`.{did_you_mean(name, known)} Known: {EMBEDDED} and every model of timm by its name"
        )
    accepted_licence(name, choice.accepted)


def load_teacher(
    asked: str | Choice, weights: Path | None, strides: Sequence[int], size: tuple[int, int] | None = None
) -> Teacher:
    """The backbone with taps at `strides`, frozen, and its weights, for images of `size` (height, width).

    The embedded backbone needs no download. Others take `weights`, a local file in safetensors, torch's or Paddle's
    format, or timm's from its hub; what is fetched is said. Raises `BackboneError` with the way out for anything that
    is missing or does not fit.
    """
    choice = Choice.of(asked)
    check_network(choice, weights)
    name = choice.network
    module = new_network(name, strides, size)
    state, record = read_state(name, weights)
    log.info("backbone %s: %s, licence %s", name, record.source, record.licence)
    load_state(module, state, name)
    module.eval().requires_grad_(False)
    taps = tuple(Tap(f"stride{s}", s, c) for s, c in zip(strides, channels_of(module), strict=True))
    if size is not None:
        check_maps(module, name, taps, size)
    return Teacher(replace(record, taps=taps, read=()), module, tuple(strides))


def new_network(name: str, strides: Sequence[int], size: tuple[int, int] | None = None) -> nn.Module:
    """A network with random weights that gives its last feature maps at `strides`.

    Of a vision transformer, whose position embeddings are made for one `size` (height, width), the block at two thirds
    of its depth.
    """
    indices = tap_indices(name, strides)
    if size is not None:
        check_patches(name, size, SIDE)
    return new_module(name, indices, size)


def normalised_planes(pixels: Tensor, record: Backbone) -> Tensor:
    """uint8 RGB `(n, H, W, 3)` as the float32 planes `(n, 3, H, W)` that the backbone's weights expect."""
    import torch

    mean, std = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in (record.mean, record.std))
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


def append_network(
    graph: GraphBuilder, module: nn.Module, record: Backbone, pixels: str, size: tuple[int, int]
) -> list[str]:
    """Append a network to a graph with uint8 `pixels` of a size (height, width); returns its taps."""
    taps = [tap.name for tap in record.taps]
    if record.name == EMBEDDED:
        names = {ours: theirs for theirs, ours in embedded_names().items()}
        weights = {names[name]: value.detach().cpu().numpy() for name, value in module.state_dict().items()}
        return append_lite0(weights, graph, pixels, *size, taps)
    from blemish.backbones.torch_export import append_planes, exported

    return append_planes(graph, exported(module, size), pixels, record)
