"""Any ONNX network with an image input as a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from blemish.backbones.onnx_layers import (
    FeatureMap,
    ImageInput,
    append,
    check_grids,
    cut,
    feature_maps,
    image_input,
)
from blemish.backbones.onnx_opset import converted
from blemish.backbones.onnx_reader import read_model
from blemish.backbones.record import Backbone, Layers, Tap, normalised, to_channels_first
from blemish.backbones.sidecar import Sidecar, read_sidecar
from blemish.backbones.taps import side_step, usual_strides
from blemish.errors import BackboneError, did_you_mean
from blemish.graph import GraphBuilder

if TYPE_CHECKING:
    import onnx

# Height and width at which strides are found where the network takes any size: so large that no stride is mistaken for
# another by what is cut off at the border, and divisible by most. Nothing is computed at this size.
_PROBE = (10_080, 20_160)


def onnx_backbone(path: Path, taps: Sequence[str] = ()) -> Backbone:
    """The network in `path` with the named taps (tensors, or nodes for their first output).

    Without names, those of the sidecar; without these, the last feature maps at the strides nearest to 8 and 16 (see
    `usual_strides`). Raises `BackboneError` if the file is refused or has no such taps.
    """
    model, sha256 = read_model(path)
    sidecar = read_sidecar(path, {entry.key: entry.value for entry in model.metadata_props})
    try:
        image = image_input(model)
        maps = feature_maps(model, image, image.height or _PROBE[0], image.width or _PROBE[1])
        named = list(taps) or list(sidecar.taps)
        found = [_named_map(model, maps, name) for name in named] if named else _default_maps(maps)
        part = converted(cut(model, image, [tap.name for tap in found]))
        if image.height and image.width:
            check_grids(part, image, found, (image.height, image.width))
    except BackboneError as error:
        raise BackboneError(f"{path}: {error}") from None
    return Backbone(
        name=path.name,
        source=sidecar.source,
        sha256=sha256,
        licence=sidecar.licence,
        mean=sidecar.mean,
        std=sidecar.std,
        taps=tuple(Tap(tap.name, tap.stride, tap.channels) for tap in found),
        layers=_layers(part, image, sidecar, found),
        size=_fixed_size(image),
        note="; ".join(_assumptions(path, sidecar, [] if named else found)),
        step=side_step(tap.stride for tap in found),
    )


def _named_map(model: onnx.ModelProto, maps: dict[str, FeatureMap], name: str) -> FeatureMap:
    outputs = {node.name: node.output[0] for node in model.graph.node if node.name and node.output}
    tensor = name if name in maps else outputs.get(name, name)
    if tensor in maps:
        return maps[tensor]
    if any(tensor in node.output for node in model.graph.node):
        raise BackboneError(
            f"`{name}` is no feature map: a tap is float32 [N, C, h, w] for any N, and h, w follow the image's"
        )
    raise BackboneError(f"no tensor or node `{name}`.{did_you_mean(name, maps)} {_offer(maps)}")


def _default_maps(maps: dict[str, FeatureMap]) -> list[FeatureMap]:
    if not maps:
        raise BackboneError(
            "the network has no feature map to read: a tap is float32 [N, C, h, w] for any N, where h and w follow the "
            "image's; export it with one, such as the map before the global pooling"
        )
    last = {tap.stride: tap for tap in maps.values()}
    found = [last[stride] for stride in usual_strides(last)]
    if not found:
        raise BackboneError(f"no feature map at a stride of 4 to 32: name the taps. {_offer(maps)}")
    return found


def _offer(maps: dict[str, FeatureMap]) -> str:
    """The last feature map of every stride, as a hint."""
    last = {tap.stride: tap for tap in maps.values()}
    return "Feature maps: " + (", ".join(_shown(last[stride]) for stride in sorted(last)) or "none")


def _fixed_size(image: ImageInput) -> tuple[int, int] | None:
    if image.height is None or image.width is None:
        return None
    return image.height, image.width


def _assumptions(path: Path, sidecar: Sidecar, chosen: Sequence[FeatureMap]) -> list[str]:
    notes = []
    if not sidecar.states_scaling:
        notes.append(
            f"mean and std are not stated, so ImageNet's are used; state `mean` and `std` in {path}.json (wrong ones "
            "cost much accuracy)"
        )
    if chosen:
        notes.append("taps are not stated, so these are read: " + ", ".join(map(_shown, chosen)))
    return notes


def _shown(tap: FeatureMap) -> str:
    return f"{tap.name} (stride {tap.stride})"


def _layers(part: onnx.ModelProto, image: ImageInput, sidecar: Sidecar, found: Sequence[FeatureMap]) -> Layers:
    expected = {tap.name: tap for tap in found}

    def append_layers(graph: GraphBuilder, pixels: str, height: int, width: int, taps: Sequence[str]) -> list[str]:
        check_grids(part, image, [expected[name] for name in taps], (height, width))
        x = normalised(graph, to_channels_first(graph, pixels), sidecar.mean, sidecar.std)
        if image.channels_last:
            x = graph.node("Transpose", x, perm=[0, 2, 3, 1], hint="channels_last")
        values = append(graph, cut(part, image, taps), image, x)
        return [_channels_first(graph, values[name], expected[name]) for name in taps]

    return append_layers


def _channels_first(graph: GraphBuilder, value: str, tap: FeatureMap) -> str:
    return graph.node("Transpose", value, perm=[0, 3, 1, 2], hint=f"{tap.name}_planes") if tap.channels_last else value
