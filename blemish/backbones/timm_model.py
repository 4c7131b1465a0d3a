"""A model of timm as a backbone: exported to ONNX once for every input size, and kept in the user's cache folder.

A convolutional network is read at the strides nearest to 8 and 16. A vision transformer has one grid, that of its
patches; class and register tokens are dropped. It is read behind the first and the last block of the middle third of
its depth, each with the final normalisation: earlier blocks say little more than colour and edge, later ones have given
up where something is for what it is (Amir et al. 2022, "Deep ViT Features as Dense Visual Descriptors").
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from blemish.backbones.licences import accepted_licence
from blemish.backbones.onnx_reader import MAX_BYTES, read_model
from blemish.backbones.record import Backbone, Choice, Tap
from blemish.backbones.taps import side_step, usual_strides
from blemish.backbones.timm_networks import (
    blocks_of,
    check_maps,
    check_patches,
    check_timm,
    is_fixed,
    levels_of,
    new_intermediates,
    new_module,
    patch_stride,
)
from blemish.backbones.timm_weights import fitted_state, load_state, read_state
from blemish.backbones.torch_export import append_planes, exported
from blemish.cache import cache_home, keep
from blemish.engines import open_engine
from blemish.errors import BackboneError, did_you_mean
from blemish.graph import OPSET, GraphBuilder

if TYPE_CHECKING:
    import onnx
    from torch import nn

log = logging.getLogger("blemish")

TOLERANCE = 1e-4  # of a feature map's largest value, between torch and ONNX Runtime
_FORM = 1  # of the exported files; another one makes new files

Level = dict[str, Any]


def timm_backbone(choice: Choice) -> Backbone:
    """The model of timm that a choice names, with its weights checked; nothing is exported before `build`.

    `choice.taps` are names of modules, such as `layer2` or `blocks.5`. Raises `UsageError` where packages are missing,
    `BackboneError` for an unknown model or tap, a licence that is not accepted, and weights that are not there or not
    this network's.
    """
    weights = choice.weights
    check_timm(choice.network)
    accepted_licence(choice.network, choice.accepted)
    if weights is not None and not weights.is_file():
        raise BackboneError(f"Model.backbone_weights: there is no file {weights}")
    stamp = None if weights is None else (weights.stat().st_mtime_ns, weights.stat().st_size)
    return _loaded(replace(choice, name=choice.network, accepted=None), stamp)


@lru_cache(maxsize=2)  # a training asks for its backbone several times
def _loaded(choice: Choice, stamp: tuple[int, int] | None) -> Backbone:
    del stamp  # tells a file that was changed
    name = choice.name
    levels = _levels_to_read(name, choice.taps)
    state, record = read_state(name, choice.weights)
    log.info("backbone %s: %s, licence %s", name, record.source, record.licence)
    fitted_state(_shapes(name, levels), state, name)
    taps = _taps(levels)
    patch = patch_stride(name)

    def layers(graph: GraphBuilder, pixels: str, height: int, width: int, asked: Sequence[str]) -> list[str]:
        values = append_planes(graph, _network(choice, record, levels, (height, width)), pixels, record)
        found = dict(zip((tap.name for tap in taps), values, strict=True))
        return [found[tap] for tap in asked]

    return replace(record, taps=taps, layers=layers, step=side_step([patch] if patch else [tap.stride for tap in taps]))


def _levels_to_read(name: str, named: Sequence[str]) -> list[Level]:
    """What timm says of the taps to read, finest first."""
    is_transformer = patch_stride(name) is not None
    levels = blocks_of(name) if is_transformer else levels_of(name)
    by_name = {level["module"]: level for level in levels}
    for tap in named:
        if tap not in by_name:
            shown = ", ".join(f"{known} (stride {level['reduction']})" for known, level in by_name.items())
            raise BackboneError(f"backbone {name} has no tap `{tap}`.{did_you_mean(tap, by_name)} It has: {shown}")
    if named:
        return sorted((by_name[tap] for tap in dict.fromkeys(named)), key=lambda level: int(level["index"]))
    if is_transformer:
        depth = len(levels)
        first, last = depth // 3, max(depth // 3, -(-2 * depth // 3) - 1)
        return [levels[index] for index in sorted({first, last})]
    last_at = {level["reduction"]: level for level in levels}
    found = [last_at[stride] for stride in usual_strides(last_at)]
    if not found:
        raise BackboneError(f"backbone {name} has feature maps at the strides {', '.join(map(str, last_at))} only")
    return found


def _taps(levels: Sequence[Level]) -> tuple[Tap, ...]:
    return tuple(Tap(level["module"], level["reduction"], level["num_chs"]) for level in levels)


def _module(name: str, levels: Sequence[Level], size: tuple[int, int] | None) -> nn.Module:
    indices, is_transformer = [int(level["index"]) for level in levels], patch_stride(name) is not None
    if is_transformer or is_fixed(name):
        return new_intermediates(name, indices, size, normed=is_transformer)
    return new_module(name, indices, size)


def _shapes(name: str, levels: Sequence[Level]) -> nn.Module:
    """The network without weights."""
    import torch

    with torch.device("meta"):
        return _module(name, levels, None)


def _network(choice: Choice, record: Backbone, levels: Sequence[Level], size: tuple[int, int]) -> onnx.ModelProto:
    """The exported network for a size (height, width), from the cache or made now."""
    file = _cached_file(record, levels, size)
    try:
        return read_model(file)[0]
    except BackboneError:
        pass  # not there, or damaged: it is made again
    model = _exported(choice, record, levels, size)
    try:
        keep(file, model.SerializeToString())
    except OSError as error:
        log.info("not kept in the cache: %s", error)
    return model


def _cached_file(record: Backbone, levels: Sequence[Level], size: tuple[int, int]) -> Path:
    import timm
    import torch

    taps = [level["module"] for level in levels]
    versions = [_FORM, OPSET, timm.__version__, torch.__version__]
    stated = [record.name, record.sha256, record.mean, record.std, taps, size, versions]
    digest = hashlib.sha256(json.dumps(stated).encode()).hexdigest()[:16]
    return cache_home() / "backbones" / f"{record.name}-{size[1]}x{size[0]}-{digest}.onnx"


def _exported(choice: Choice, record: Backbone, levels: Sequence[Level], size: tuple[int, int]) -> onnx.ModelProto:
    """The network from torch, proved equal, with what a backbone's file states of itself."""
    from onnx import helper

    name = record.name
    check_patches(name, size, 1)
    module = _module(name, levels, size)
    needed = sum(value.numel() * value.element_size() for value in module.state_dict().values())
    if needed > MAX_BYTES:
        raise BackboneError(f"backbone {name} has {needed >> 20} MiB of weights; {MAX_BYTES >> 20} MiB are the most")
    load_state(module, read_state(name, choice.weights)[0], name)
    module.eval().requires_grad_(False)
    check_maps(module, name, _taps(levels), size)
    model = exported(module, size)
    _name_outputs(model, [level["module"] for level in levels])
    check_export(model, module, record, size)
    lists = {"mean": record.mean, "std": record.std, "taps": [level["module"] for level in levels]}
    texts = {key: json.dumps(list(values)) for key, values in lists.items()}
    helper.set_model_props(model, {**texts, "licence": record.licence, "source": f"{name}, {record.source}"})
    return model


def _name_outputs(model: onnx.ModelProto, taps: Sequence[str]) -> None:
    """Call the outputs as the taps are called."""
    renamed = dict(zip((value.name for value in model.graph.output), taps, strict=True))
    for value in model.graph.output:
        value.name = renamed[value.name]
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]


def check_export(model: onnx.ModelProto, module: nn.Module, record: Backbone, size: tuple[int, int]) -> None:
    """Raise `BackboneError` unless ONNX Runtime gives the feature maps of torch, within 1e-4 of their largest value."""
    import torch

    pixels = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    graph = GraphBuilder()
    image = graph.input("image", np.uint8, ["N", *size, 3])
    names = []
    for number, value in enumerate(append_planes(graph, model, image, record)):
        names.append(f"tap{number}")
        graph.output(value, names[-1], np.float32, ["N", "C", "h", "w"])
    found = open_engine(graph.model("export").SerializeToString(), "cpu").run(pixels)
    planes = (pixels / 255 - np.array(record.mean)) / np.array(record.std)
    with torch.inference_mode():
        maps = module(torch.from_numpy(np.ascontiguousarray(planes.transpose(0, 3, 1, 2), np.float32)))
    for name, expected in zip(names, (level.numpy() for level in maps), strict=True):
        gap = float(np.abs(found[name] - expected).max() / np.abs(expected).max())
        if not gap <= TOLERANCE:
            raise BackboneError(
                f"the exported network {record.name} differs from torch's by {gap:.1e} of its features; its weights "
                "may be damaged, otherwise please report it"
            )
