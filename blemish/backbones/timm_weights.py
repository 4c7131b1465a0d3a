"""The weights of a backbone: embedded, from timm's hub, or from a local file, each with its origin and licence."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from blemish.backbones.efficientnet_lite import efficientnet_lite0, read_lite0
from blemish.backbones.licences import UNKNOWN, stated_licence
from blemish.backbones.pdparams import read_pdparams
from blemish.backbones.record import EMBEDDED, Backbone
from blemish.backbones.resnet import IMAGENET_MEAN, IMAGENET_STD, torchvision_name
from blemish.backbones.timm_networks import timm_name
from blemish.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("blemish")

State = Mapping[str, "Tensor"]

_WRAPPER = "model_"  # before every name, where timm takes feature maps off a whole network
_POSITIONS = "pos_embed"
_KEY = "Model.backbone_weights=FILE (.safetensors, .pth or .pdparams)"


def read_state(name: str, file: Path | None) -> tuple[State, Backbone]:
    """Tensors of the backbone `name` by timm's names, and the record of where they come from, without taps.

    The embedded backbone needs no download. Others take `file`, or timm's weights from its hub; what is fetched is
    said. Raises `BackboneError` with the way out for anything that is missing or refused.
    """
    if file is not None:
        state = _file_state(file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return state, _record(name, f"file {file.name}", digest, _licence_of_file(name))
    if name == EMBEDDED:
        return _embedded_state(), efficientnet_lite0()
    return _hub_state(name)


def load_state(module: nn.Module, state: State, backbone: str) -> None:
    """Give a network all its tensors from `state`; errors as `fitted_state`."""
    module.load_state_dict(fitted_state(module, state, backbone))


def fitted_state(module: nn.Module, state: State, backbone: str) -> dict[str, Tensor]:
    """The tensors of a network from `state`; what belongs to layers behind the last tap is not needed.

    Position embeddings of another input size are resampled. Raises `BackboneError` for tensors that do not fit. The
    network may be one of shapes alone.
    """
    wanted = module.state_dict()
    known = {key.replace(".", "_"): value for key, value in state.items()}  # features_only joins names by `_`
    flat = {key: key.replace(".", "_") for key in wanted}
    found = {key: known.get(name, known.get(name.removeprefix(_WRAPPER))) for key, name in flat.items()}
    for key, value in found.items():
        if key.endswith(_POSITIONS) and value is not None and value.shape != wanted[key].shape:
            found[key] = _resampled(value, wanted[key].shape, module)
    optional = "num_batches_tracked"
    missing = [key for key, value in found.items() if value is None and not key.endswith(optional)]
    wrong = [key for key, value in found.items() if value is not None and value.shape != wanted[key].shape]
    if missing or wrong:
        problem = f"no `{missing[0]}`" if missing else f"`{wrong[0]}` has another shape"
        raise BackboneError(
            f"the weights are not those of {backbone}: {problem} ({len(missing) + len(wrong)} such tensors)"
        )
    return {key: wanted[key] if value is None else value for key, value in found.items()}


def embedded_names() -> dict[str, str]:
    """The embedded weights' names -> timm's: the order of the tensors is the same."""
    import timm

    theirs = timm.create_model(timm_name(EMBEDDED), pretrained=False).state_dict()
    return dict(zip(read_lite0(), theirs, strict=True))


def _resampled(value: Tensor, shape: Sequence[int], module: Any) -> Tensor:
    """Position embeddings `(1, tokens, C)` of a square grid for the network's own; others as they are."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    rows, columns = module.model.patch_embed.grid_size
    prefix = shape[1] - rows * columns  # class tokens have an embedding too
    cells = value.shape[1] - prefix if value.ndim == len(shape) == 3 else 0
    if cells <= 0 or math.isqrt(cells) ** 2 != cells:
        return value
    fitted: Tensor = resample_abs_pos_embed(value.float(), [rows, columns], num_prefix_tokens=prefix)
    return fitted


def _embedded_state() -> State:
    import torch

    names = embedded_names()
    return {names[name]: torch.from_numpy(np.array(value)) for name, value in read_lite0().items()}


def _hub_state(name: str) -> tuple[State, Backbone]:
    """timm's own weights; fetched with a word about what, from where and under which licence."""
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise BackboneError(f"timm has no weights for {name}: give a file, {_KEY}")
    source = config.hf_hub_id or config.url or "timm"
    licence = stated_licence(name)
    log.warning("fetching the weights of %s from %s, licence %s (or from the local cache)", name, source, licence)
    try:
        model = timm.create_model(name, pretrained=True)
    except Exception as error:  # the hub, the network and the cache each have their own errors
        raise BackboneError(
            f"the weights of {name} cannot be fetched from {source} ({type(error).__name__}). Without a network: "
            f"{_KEY}, or Model.backbone={EMBEDDED}, which needs none"
        ) from None
    state = model.state_dict()
    return state, _record(name, f"timm: {source}", _state_sha256(state), licence)


def _licence_of_file(name: str) -> str:
    """Nobody knows whose weights a file holds, but of which ones timm knows the licence."""
    licence = stated_licence(name) if name != EMBEDDED else UNKNOWN
    return f"{UNKNOWN} (file)" if licence == UNKNOWN else f"unknown (file; timm's own weights: {licence})"


def _record(name: str, source: str, sha256: str, licence: str) -> Backbone:
    """The record of a timm network: mean and deviation are those that timm states for it."""
    import timm

    config = timm.get_pretrained_cfg(timm_name(name))
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if config is None else (_three(config.mean), _three(config.std))
    return Backbone(name, source, sha256, licence, mean, std, (), _no_layers)


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _no_layers(*_: Any) -> list[str]:
    raise BackboneError("a trained network is appended by its detector")


def _file_state(path: Path) -> State:
    """The tensors of a file in safetensors, of Paddle, or of torch read by `weights_only`."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".pdparams":
            named = read_pdparams(path.read_bytes())
            state: Any = {torchvision_name(key): torch.from_numpy(np.array(value)) for key, value in named.items()}
        elif path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors have no common base for their refusals
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise BackboneError(f"weight file {path} is refused: {reason}") from None
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(torch.is_tensor(value) for value in state.values()):
        raise BackboneError(f"weight file {path} holds no named tensors")
    return state


def _state_sha256(state: State) -> str:
    """SHA-256 over all tensors in order, where there is no one file to hash."""
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
