"""The names of an exported STFPM's tensors, which its `*.pdiparams` does not hold.

Paddle numbers layers in the order they are made (`conv2d_0`, `batch_norm2d_0`, ...) and calls their tensors `.w_0`,
`.b_0` and so on: the internal names. They stand in the exported program beside the weights: `*.pdiparams.info` pairs
them with the names in the network, `*.json` only lists them. Without either, they follow from the network itself:
the student is made before the teacher, and a block's shortcut before its convolutions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from blemish.backbones.pdparams import read_dictionary
from blemish.errors import BackboneError

_LAYERS_OF = {20: (0, 1, 2, 3, 4), 15: (0, 1, 2, 3)}  # convolutions of one ResNet -> its groups (0: the stem)
_CONVOLUTION, _NORM = "conv2d", "batch_norm2d"
_INTERNAL = re.compile(rf"({_CONVOLUTION}|{_NORM})_(\d{{1,6}})\.(w_0|w_1|w_2|b_0)")
_SUFFIXES = {"w_0": "weight", "b_0": "bias", "w_1": "_mean", "w_2": "_variance"}
_COPY = re.compile(r"_deepcopy_\d+$")
_LAST_GROUP = re.compile(r"\.model\.7\.")  # not exported where the exporter drops what nothing reads


def names_from_info(data: bytes, count: int) -> list[str]:
    """The names of `count` records, in their order, from a `*.pdiparams.info`."""
    entries = read_dictionary(data)
    names: dict[str, str] = {}
    for internal, entry in entries.items():
        name = entry.get("structured_name") if isinstance(entry, dict) else None
        if type(name) is not str:
            raise BackboneError("the .pdiparams.info does not give every tensor a structured_name")
        names[internal] = name
    kept = [internal for internal in sorted(names) if len(names) == count or not _LAST_GROUP.search(names[internal])]
    _check_count(len(kept), count, "the .pdiparams.info")
    return [names[internal] for internal in kept]


def names_from_program(data: bytes, count: int) -> list[str]:
    """The names of `count` records, in their order, from the program of a Paddle 3 export, `inference.json`."""
    internal = sorted({_COPY.sub("", name) for name in _parameters(data)})
    _check_count(len(internal), count, "inference.json")
    return _structured(internal)


def names_by_order(count: int) -> list[str]:
    """The names of `count` records, in their order, from the way the network is made."""
    convolutions = count // 5
    if count % 5 or convolutions not in {2 * layers for layers in _LAYERS_OF}:
        raise BackboneError(f"these are no weights of STFPM: {count} tensors, where an exported one has 150 or 200")
    # an exporter that drops the last group leaves a gap: each network was made with 20 convolutions
    used = [20 * net + layer for net in range(2) for layer in range(convolutions // 2)]
    suffixes = [(_CONVOLUTION, "w_0"), *((_NORM, suffix) for suffix in _SUFFIXES)]
    return _structured(sorted(f"{kind}_{layer}.{suffix}" for layer in used for kind, suffix in suffixes))


def _structured(internal: list[str]) -> list[str]:
    """Names in the network for internal names, from the order in which layers were numbered."""
    parts = []
    for name in internal:
        found = _INTERNAL.fullmatch(name)
        if found is None:
            raise BackboneError(f"these are no weights of STFPM: a tensor is called `{ascii(name)[1:-1][:60]}`")
        parts.append((found[1], int(found[2]), found[3]))
    ranks = {kind: sorted({number for each, number, _ in parts if each == kind}) for kind in (_CONVOLUTION, _NORM)}
    layers = _layer_names(len(ranks[_CONVOLUTION]))
    if len(ranks[_NORM]) != len(layers):
        raise BackboneError("these are no weights of STFPM: not every convolution has its batch normalisation")
    names = []
    for kind, number, suffix in parts:
        pair = layers[ranks[kind].index(number)]
        names.append(f"{pair[kind == _NORM]}.{_SUFFIXES[suffix]}")
    return names


def _layer_names(convolutions: int) -> list[tuple[str, str]]:
    """Names of each convolution and of its batch normalisation, in the order in which both networks are made."""
    groups = _LAYERS_OF.get(convolutions // 2)
    if groups is None or convolutions % 2:
        raise BackboneError(f"these are no weights of STFPM: {convolutions} convolutions, not 30 or 40")
    return [
        (f"{net}.model.{convolution}", f"{net}.model.{norm}")
        for net in ("student", "teacher")
        for group in groups
        for convolution, norm in _group(group)
    ]


def _group(group: int) -> Iterator[tuple[str, str]]:
    """Convolution and batch normalisation of the stem (0) or of a group of blocks, in the order they are made."""
    if group == 0:
        yield "0", "1"
        return
    place = group + 3
    if group > 1:
        yield f"{place}.0.downsample.0", f"{place}.0.downsample.1"
    for block in range(2):
        for number in (1, 2):
            yield f"{place}.{block}.conv{number}", f"{place}.{block}.bn{number}"


def _parameters(data: bytes) -> Iterator[str]:
    """The internal names of the parameters of a program."""
    try:
        operations: Any = json.loads(data)["program"]["regions"][0]["blocks"][0]["ops"]
        for operation in operations:
            if operation["#"] == "p":
                yield str(operation["A"][3])
    except (ValueError, LookupError, TypeError, RecursionError):
        raise BackboneError("the .json beside the weights is no program of Paddle 3") from None


def _check_count(found: int, count: int, where: str) -> None:
    if found != count:
        raise BackboneError(f"{where} names {found} tensors, but the .pdiparams holds {count}; the files do not fit")
