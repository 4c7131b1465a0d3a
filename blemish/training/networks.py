"""Backbones as torch networks with their weights: the frozen teachers of detectors that learn.

A network takes normalised planes `(n, 3, H, W)` and gives the feature maps of its taps, finest first; nothing behind
the last tap is computed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.backbones import Backbone, Tap, load_backbone
from blemish.backbones.efficientnet_lite import append_lite0, read_lite0
from blemish.errors import BackboneError, did_you_mean
from blemish.graph import GraphBuilder

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("blemish")

EMBEDDED = "efficientnet_lite0"
_TIMM_EMBEDDED = "tf_efficientnet_lite0"


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


def load_teacher(name: str, weights: Path | None, strides: Sequence[int]) -> Teacher:
    """The backbone `name` with taps at `strides`, frozen, and its weights.

    The embedded backbone needs no download. Others take `weights`, a local file in safetensors or torch's format, or
    timm's from its hub; what is fetched is said. Raises `BackboneError` with the way out for anything that is missing.
    """
    check_network(name, weights)
    module = new_network(name, strides)
    if weights is None and name == EMBEDDED:
        state, record = _embedded_state(), load_backbone(EMBEDDED)
    elif weights is None:
        state, record = _hub_state(name)
    else:
        state, record = _file_state(weights), _record(name, f"file {weights.name}", _sha256(weights), "unknown (file)")
    _load(module, state, name)
    module.eval().requires_grad_(False)
    taps = tuple(Tap(f"stride{s}", s, c) for s, c in zip(strides, channels_of(module), strict=True))
    return Teacher(replace(record, taps=taps), module, tuple(strides))


def new_network(name: str, strides: Sequence[int]) -> nn.Module:
    """A network with random weights that gives its last feature maps at `strides`."""
    import timm

    timm_name = _TIMM_EMBEDDED if name == EMBEDDED else name
    try:
        whole: Any = timm.create_model(timm_name, pretrained=False, features_only=True)
        reductions = list(whole.feature_info.reduction())
        indices = [reductions.index(stride) for stride in strides]
        network = timm.create_model(timm_name, pretrained=False, features_only=True, out_indices=indices)
    except ValueError:
        raise BackboneError(f"backbone {name} has no feature maps at strides {', '.join(map(str, strides))}") from None
    except (RuntimeError, AttributeError, TypeError) as error:
        raise BackboneError(f"backbone {name} gives no feature maps ({str(error)[:200]})") from None
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
    """Append a teacher or student to a graph with uint8 `pixels` of a size (height, width); returns its taps."""
    taps = [tap.name for tap in record.taps]
    if record.name == EMBEDDED:
        names = {ours: theirs for theirs, ours in _embedded_names().items()}
        weights = {names[name]: value.detach().cpu().numpy() for name, value in module.state_dict().items()}
        return append_lite0(weights, graph, pixels, *size, taps)
    from blemish.training.export import append_exported

    return append_exported(graph, module, record, pixels, size)


def _embedded_names() -> dict[str, str]:
    """The embedded weights' names -> timm's: the order of the tensors is the same."""
    import timm

    theirs = timm.create_model(_TIMM_EMBEDDED, pretrained=False).state_dict()
    return dict(zip(read_lite0(), theirs, strict=True))


def _embedded_state() -> dict[str, Tensor]:
    import numpy as np
    import torch

    names = _embedded_names()
    return {names[name]: torch.from_numpy(np.array(value)) for name, value in read_lite0().items()}


def _hub_state(name: str) -> tuple[dict[str, Tensor], Backbone]:
    """timm's own weights; fetched with a word about what, from where and under which licence."""
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise BackboneError(f"timm has no weights for {name}: give a file, Train.pretrain_weight_path=FILE")
    source = config.hf_hub_id or config.url or "timm"
    licence = config.license or "unknown"
    log.warning("fetching the weights of %s from %s, licence %s (or from the local cache)", name, source, licence)
    try:
        model = timm.create_model(name, pretrained=True)
    except Exception as error:  # the hub, the network and the cache each have their own errors
        raise BackboneError(
            f"the weights of {name} cannot be fetched from {source} ({type(error).__name__}). Without a network: "
            f"Train.pretrain_weight_path=FILE (.safetensors or .pth), or Model.backbone={EMBEDDED}, which needs none"
        ) from None
    state = model.state_dict()
    record = _record(name, f"timm: {source}", _state_sha256(state), str(licence))
    return state, record


def _record(name: str, source: str, sha256: str, licence: str) -> Backbone:
    """The record of a timm network: mean and deviation are those that timm states for it."""
    import timm

    config = timm.get_pretrained_cfg(name) if name != EMBEDDED else None
    half = (0.5, 0.5, 0.5)
    mean, std = (half, half) if config is None else (_three(config.mean), _three(config.std))
    return Backbone(name, source, sha256, licence, mean, std, (), _no_layers)


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _no_layers(*_: Any) -> list[str]:
    raise BackboneError("a trained network is appended by its detector")


def _file_state(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file, or in one of torch's read by `weights_only`."""
    import torch
    from safetensors.torch import load_file

    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # pickle, zip and safetensors have no common base for their refusals
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise BackboneError(f"weight file {path} is refused: {reason}") from None
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(torch.is_tensor(value) for value in state.values()):
        raise BackboneError(f"weight file {path} holds no named tensors")
    return state


def _load(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """All tensors of the network from `state`; what belongs to layers behind the last tap is not needed."""
    wanted = module.state_dict()
    known = {key.replace(".", "_"): value for key, value in state.items()}  # features_only joins names by `_`
    found = {key: state.get(key, known.get(key.replace(".", "_"))) for key in wanted}
    optional = "num_batches_tracked"
    missing = [key for key, value in found.items() if value is None and not key.endswith(optional)]
    wrong = [key for key, value in found.items() if value is not None and value.shape != wanted[key].shape]
    if missing or wrong:
        problem = f"no `{missing[0]}`" if missing else f"`{wrong[0]}` has another shape"
        raise BackboneError(
            f"the weights are not those of {name}: {problem} ({len(missing) + len(wrong)} such tensors)"
        )
    module.load_state_dict({key: wanted[key] if value is None else value for key, value in found.items()})


def _drop_unused(network: Any) -> None:
    """timm's EfficientNets compute all stages whatever is asked for; those behind the last tap are cut off."""
    import torch

    stages = getattr(network, "_stage_out_idx", None)
    if stages and isinstance(getattr(network, "blocks", None), torch.nn.Sequential):
        network.blocks = network.blocks[: max(stages)]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _state_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over all tensors in order, where there is no one file to hash."""
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
