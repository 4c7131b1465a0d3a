"""The networks of timm by their names: what feature maps they have, and their torch modules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from blemish.backbones.record import EMBEDDED, Tap
from blemish.errors import BackboneError, UsageError, did_you_mean, install_command

if TYPE_CHECKING:
    from torch import nn

PACKAGES = ("torch", "timm", "safetensors")
EXPORTER = "onnxscript"  # what torch's exporter needs beyond torch
SIDE = 32  # an input's sides are multiples of it
# Of a transformer's blocks, those up to the map that is read: the 8th of 12, as FastFlow's authors read DeiT.
DEPTH = 2 / 3

_TIMM_EMBEDDED = "tf_efficientnet_lite0"
_NO_FEATURES = (RuntimeError, ValueError, AttributeError, TypeError, AssertionError)  # as timm refuses


def is_installed(name: str) -> bool:
    """Whether a package can be imported; nothing is imported to see it."""
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def missing_packages(needed: Sequence[str] = PACKAGES) -> list[str]:
    """Those of the packages that are not installed."""
    return [name for name in needed if not is_installed(name)]


def known_names() -> list[str]:
    """The names of all models of timm; none where it is not installed."""
    if missing_packages():
        return []
    import timm

    return list(timm.list_models())


def check_timm(name: str) -> None:
    """Refuse a model that timm does not know, and timm where its packages are missing, before any work."""
    missing = missing_packages((*PACKAGES, EXPORTER))
    if missing:
        raise UsageError(
            f"backbone {name} is a model of timm and needs {', '.join(missing)} for the training: "
            f"{install_command('train')}. The model folder then predicts without."
        )
    import timm

    if not timm.is_model(name):
        known = timm.list_models()
        raise BackboneError(
            f"no backbone `{name}`: timm has no model of that name.{did_you_mean(name, known)} It has {len(known)} "
            "others: timm.list_models()"
        )
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:  # the part behind the dot names weights
        network = name.partition(".")[0]
        known = timm.list_pretrained(f"{network}.*")
        raise BackboneError(
            f"timm has no weights `{name}`; of {network} it has: {', '.join(known) or 'none'}"
        ) from None


def timm_name(name: str) -> str:
    """What timm calls a backbone."""
    return _TIMM_EMBEDDED if name == EMBEDDED else name


@lru_cache
def levels_of(name: str) -> list[dict[str, Any]]:
    """What timm says of the feature maps of a network, finest first; of a transformer, of its last blocks.

    `module` is the tap's name, `num_chs` its channels and `reduction` its stride. Raises `BackboneError` for a network
    without feature maps.
    """
    return list(_shapeless(name).feature_info.get_dicts())


@lru_cache
def blocks_of(name: str) -> list[dict[str, Any]]:
    """What timm says of all blocks of a vision transformer, as `levels_of`."""
    network = _shapeless(name)
    return list(getattr(network, "model", network).feature_info)


def patch_stride(name: str) -> int | None:
    """The one stride of all feature maps of a vision transformer; None for a network of several strides."""
    strides = {level["reduction"] for level in levels_of(name)}
    return strides.pop() if len(strides) == 1 else None


def is_fixed(name: str) -> bool:
    """Whether a network is made for one input size, which it is then told."""
    import timm

    config = timm.get_pretrained_cfg(timm_name(name))
    return config is not None and bool(config.fixed_input_size)


def tap_indices(name: str, strides: Sequence[int]) -> list[int]:
    """Which feature maps of the network lie at `strides`; `BackboneError` where there are none."""
    levels = levels_of(name)
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


def check_patches(name: str, size: tuple[int, int], step: int) -> None:
    """Refuse a size (height, width) that the patches of a vision transformer do not fill."""
    patch = patch_stride(name)
    if patch is not None and any(side % patch for side in size):
        raise BackboneError(
            f"backbone {name} cuts images into patches of {patch} pixels: Model.width and Model.height must be "
            f"multiples of {math.lcm(patch, step)}, not {size[1]}x{size[0]}"
        )


def new_module(name: str, indices: Sequence[int], size: tuple[int, int] | None) -> nn.Module:
    """A network with random weights that takes normalised planes and gives some of its feature maps, in order.

    Position embeddings of a transformer are made for one `size` (height, width).
    """
    import timm

    options: dict[str, Any] = {} if patch_stride(name) is None or size is None else {"img_size": size}
    try:
        network: Any = timm.create_model(
            timm_name(name), pretrained=False, features_only=True, out_indices=list(indices), **options
        )
    except _NO_FEATURES as error:
        raise _without_features(name, error) from None
    _drop_unused(network)
    return network  # type: ignore[no-any-return]


def new_intermediates(name: str, indices: Sequence[int], size: tuple[int, int] | None, *, normed: bool) -> nn.Module:
    """As `new_module`, of a network made for one `size`; `normed` puts its final normalisation behind every map.

    Maps come as planes, without class and register tokens.
    """
    import timm
    import torch

    class Intermediates(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.indices = model.prune_intermediate_layers(list(indices), prune_norm=not normed)
            self.model = model

        def forward(self, planes: torch.Tensor) -> list[torch.Tensor]:
            maps: list[torch.Tensor] = self.model.forward_intermediates(
                planes, indices=self.indices, norm=normed, output_fmt="NCHW", intermediates_only=True
            )
            return maps

    options: dict[str, Any] = {} if size is None else {"img_size": size}
    try:
        return Intermediates(timm.create_model(timm_name(name), pretrained=False, **options))
    except _NO_FEATURES as error:
        raise _without_features(name, error) from None


def channels_of(network: Any) -> list[int]:
    """Channels of each tap."""
    return list(network.feature_info.channels())


def check_maps(module: nn.Module, name: str, taps: Sequence[Tap], size: tuple[int, int]) -> None:
    """Refuse a network that does not take such images, or gives no maps `(n, C, h, w)` of them for its taps."""
    import torch

    height, width = size
    try:
        with torch.inference_mode():
            shapes = [tuple(level.shape) for level in module(torch.zeros(1, 3, height, width))]
    except Exception as error:  # whatever a network asserts of its input
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise BackboneError(f"backbone {name} does not take images of {width}x{height}: {said}") from None
    expected = [(1, tap.channels, height // tap.stride, width // tap.stride) for tap in taps]
    if shapes != expected:
        raise BackboneError(f"backbone {name} gives feature maps of the shapes {shapes} instead of {expected}")


def _shapeless(name: str) -> Any:
    """The network with its shape alone, no weights."""
    import timm
    import torch

    try:
        with torch.device("meta"):
            return timm.create_model(timm_name(name), pretrained=False, features_only=True)
    except _NO_FEATURES as error:
        raise _without_features(name, error) from None


def _without_features(name: str, error: Exception) -> BackboneError:
    return BackboneError(f"backbone {name} gives no feature maps ({str(error)[:200]})")


def _drop_unused(network: Any) -> None:
    """timm's EfficientNets compute all stages whatever is asked for; those behind the last tap are cut off."""
    import torch

    stages = getattr(network, "_stage_out_idx", None)
    if stages and isinstance(getattr(network, "blocks", None), torch.nn.Sequential):
        network.blocks = network.blocks[: max(stages)]
