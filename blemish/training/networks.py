"""Backbones as torch networks with their weights: the frozen teachers of detectors that learn.

A network takes normalised planes `(n, 3, H, W)` and gives the feature maps of its taps, finest first; nothing behind
the last tap is computed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.backbones import Backbone, Tap
from blemish.backbones.efficientnet_lite import append_lite0
from blemish.errors import BackboneError, did_you_mean
from blemish.graph import GraphBuilder
from blemish.training.weights import EMBEDDED, TIMM_EMBEDDED, embedded_names, load_state, read_state

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("blemish")

SIDE = 32  # an input's sides are multiples of it
# Of a transformer's blocks, those up to the map that is read: the 8th of 12, as FastFlow's authors read DeiT.
DEPTH = 2 / 3


@dataclass(frozen=True)
class Teacher:
    """A frozen network with its weights, and the record of where they come from."""

    record: Backbone
    module: nn.Module
    strides: tuple[int, ...]


def check_network(name: str, weights: Path | None) -> None:
    """Refuse an unknown backbone or a weight file that is not there, before any work."""
    import timm

    if weights is not None and not weights.is_file():
        raise BackboneError(f"Train.pretrain_weight_path: there is no file {weights}")
    if name != EMBEDDED and not timm.is_model(name):
        known = [EMBEDDED, *timm.list_models()]
        raise BackboneError(
            f"no backbone `{name}`.{did_you_mean(name, known)} Known: {EMBEDDED} and every model of timm by its name"
        )


def load_teacher(
    name: str, weights: Path | None, strides: Sequence[int], size: tuple[int, int] | None = None
) -> Teacher:
    """The backbone `name` with taps at `strides`, frozen, and its weights, for images of `size` (height, width).

    The embedded backbone needs no download. Others take `weights`, a local file in safetensors, torch's or Paddle's
    format, or timm's from its hub; what is fetched is said. Raises `BackboneError` with the way out for anything that
    is missing or does not fit.
    """
    check_network(name, weights)
    module = new_network(name, strides, size)
    state, record = read_state(name, weights)
    log.info("backbone %s: %s, licence %s", name, record.source, record.licence)
    load_state(module, state, name)
    module.eval().requires_grad_(False)
    if size is not None:
        _check_maps(module, name, strides, size)
    taps = tuple(Tap(f"stride{s}", s, c) for s, c in zip(strides, channels_of(module), strict=True))
    return Teacher(replace(record, taps=taps), module, tuple(strides))


def patch_stride(name: str) -> int | None:
    """The one stride of all feature maps of a vision transformer; None for a network of several strides."""
    strides = {level["reduction"] for level in _levels(name)}
    return strides.pop() if len(strides) == 1 else None


def check_strides(name: str, strides: Sequence[int]) -> None:
    """Refuse a backbone without feature maps at `strides`, before any work."""
    _tap_indices(name, strides)


def new_network(name: str, strides: Sequence[int], size: tuple[int, int] | None = None) -> nn.Module:
    """A network with random weights that gives its last feature maps at `strides`.

    Of a vision transformer, whose position embeddings are made for one `size` (height, width), the block at two thirds
    of its depth.
    """
    import timm

    indices, patch = _tap_indices(name, strides), patch_stride(name)
    if patch is not None and size is not None and any(side % patch for side in size):
        raise BackboneError(
            f"backbone {name} cuts images into patches of {patch} pixels: Model.width and Model.height must be "
            f"multiples of {math.lcm(patch, SIDE)}, not {size[1]}x{size[0]}"
        )
    options: dict[str, Any] = {} if patch is None or size is None else {"img_size": size}
    try:
        network = timm.create_model(
            _timm_name(name), pretrained=False, features_only=True, out_indices=indices, **options
        )
    except _NO_FEATURES as error:
        raise _without_features(name, error) from None
    _drop_unused(network)
    return network


def channels_of(network: Any) -> list[int]:
    """Channels of each tap."""
    return list(network.feature_info.channels())


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
    from blemish.training.export import append_exported

    return append_exported(graph, module, record, pixels, size)


@lru_cache
def _levels(name: str) -> list[dict[str, Any]]:
    """What timm says of the feature maps of a network, finest first; of a transformer, of its last blocks."""
    import timm
    import torch

    try:
        with torch.device("meta"):  # its shape alone, no weights
            network: Any = timm.create_model(_timm_name(name), pretrained=False, features_only=True)
    except _NO_FEATURES as error:
        raise _without_features(name, error) from None
    return list(network.feature_info.get_dicts())


def _tap_indices(name: str, strides: Sequence[int]) -> list[int]:
    """Which feature maps of the network lie at `strides`."""
    levels = _levels(name)
    found = {level["reduction"]: int(level["index"]) for level in levels}
    if not set(strides) <= set(found):
        wanted, there = (", ".join(map(str, each)) for each in (strides, found))
        raise BackboneError(
            f"backbone {name} has no feature maps at strides {wanted}, only at {there}: choose a convolutional one, "
            f"such as {EMBEDDED} or resnet18"
        )
    if len(found) == 1 < len(levels):
        return [round(DEPTH * (levels[-1]["index"] + 1)) - 1]
    return [found[stride] for stride in strides]


def _check_maps(module: nn.Module, name: str, strides: Sequence[int], size: tuple[int, int]) -> None:
    """Refuse a network that does not take such images, or gives no maps `(n, C, h, w)` of them."""
    import torch

    height, width = size
    try:
        with torch.inference_mode():
            shapes = [tuple(level.shape) for level in module(torch.zeros(1, 3, height, width))]
    except Exception as error:  # whatever a network asserts of its input
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise BackboneError(f"backbone {name} does not take images of {width}x{height}: {said}") from None
    expected = [(1, c, height // s, width // s) for s, c in zip(strides, channels_of(module), strict=True)]
    if shapes != expected:
        raise BackboneError(f"backbone {name} gives feature maps of the shapes {shapes} instead of {expected}")


_NO_FEATURES = (RuntimeError, ValueError, AttributeError, TypeError, AssertionError)  # as timm refuses


def _without_features(name: str, error: Exception) -> BackboneError:
    return BackboneError(f"backbone {name} gives no feature maps ({str(error)[:200]})")


def _timm_name(name: str) -> str:
    return TIMM_EMBEDDED if name == EMBEDDED else name


def _drop_unused(network: Any) -> None:
    """timm's EfficientNets compute all stages whatever is asked for; those behind the last tap are cut off."""
    import torch

    stages = getattr(network, "_stage_out_idx", None)
    if stages and isinstance(getattr(network, "blocks", None), torch.nn.Sequential):
        network.blocks = network.blocks[: max(stages)]
