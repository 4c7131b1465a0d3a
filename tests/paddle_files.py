"""Files in exactly Paddle's formats, with random weights: what the importers are tested on."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Tensors = dict[str, npt.NDArray[np.float32]]

_NORM = ("weight", "bias", "_mean", "_variance")


class ResNet:
    """Random weights of a ResNet-18 under PaddleX's names, in the order in which Paddle makes the layers."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.layers: list[tuple[str, str]] = []  # names of each convolution and its batch normalisation
        self.tensors: Tensors = {}
        self.add("0", "1", (64, 3, 7, 7))
        for place, channels, inputs in ((4, 64, 64), (5, 128, 64), (6, 256, 128), (7, 512, 256)):
            if place > 4:
                self.add(f"{place}.0.downsample.0", f"{place}.0.downsample.1", (channels, inputs, 1, 1))
            for block in range(2):
                first = (channels, inputs if block == 0 else channels, 3, 3)
                self.add(f"{place}.{block}.conv1", f"{place}.{block}.bn1", first)
                self.add(f"{place}.{block}.conv2", f"{place}.{block}.bn2", (channels, channels, 3, 3))

    def add(self, convolution: str, norm: str, shape: tuple[int, ...]) -> None:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        self.layers.append((convolution, norm))
        self.tensors[f"{convolution}.weight"] = self.random(shape, 0, scale)
        for part, (mean, spread) in zip(_NORM, ((1, 0.2), (0, 0.3), (0, 0.3), (0, 0)), strict=True):
            self.tensors[f"{norm}.{part}"] = self.random(shape[:1], mean, spread)
        self.tensors[f"{norm}._variance"] = self.rng.uniform(0.5, 2, shape[0]).astype(np.float32)

    def random(self, shape: tuple[int, ...], mean: float, spread: float) -> npt.NDArray[np.float32]:
        return self.rng.normal(mean, spread, shape).astype(np.float32)

    def torchvision(self) -> Tensors:
        """The same tensors as Paddle's own ResNet-18 calls them."""
        stages = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
        split = {name: name.partition(".") for name in self.tensors}
        return {f"{stages[split[name][0]]}.{split[name][2]}": values for name, values in self.tensors.items()}


class Stfpm:
    """Random weights of PaddleX's STFPM: 200 tensors, and their internal names."""

    def __init__(self, seed: int = 0) -> None:
        self.student, self.teacher = ResNet(seed), ResNet(seed + 1)
        nets = (("student", self.student), ("teacher", self.teacher))
        self.tensors = {f"{net}.model.{name}": v for net, made in nets for name, v in made.tensors.items()}
        self.internal: dict[str, str] = {}  # internal name -> name in the network
        layers = [(f"{net}.model.{c}", f"{net}.model.{n}") for net, made in nets for c, n in made.layers]
        for number, (convolution, norm) in enumerate(layers):
            self.internal[f"conv2d_{number}.w_0"] = f"{convolution}.weight"
            for suffix, part in zip(("w_0", "b_0", "w_1", "w_2"), _NORM, strict=True):
                self.internal[f"batch_norm2d_{number}.{suffix}"] = f"{norm}.{part}"

    def pdparams(self, protocol: int = 4) -> bytes:
        return state_file(self.tensors, {v: k for k, v in self.internal.items()}, protocol)

    def kept(self, pruned: bool) -> list[str]:
        """The internal names of what is exported, sorted as the records are."""
        return [name for name in sorted(self.internal) if not (pruned and ".model.7." in self.internal[name])]

    def pdiparams(self, pruned: bool) -> bytes:
        return b"".join(record(self.tensors[self.internal[name]]) for name in self.kept(pruned))

    def info(self) -> bytes:
        entry = {"stop_gradient": False, "trainable": True}
        entries = {name: {"structured_name": full, **entry} for name, full in self.internal.items()}
        return pickle.dumps(entries, protocol=2)

    def program(self) -> bytes:
        import json

        operations: list[dict[str, Any]] = [{"#": "1.data", "A": [], "O": []}]
        for number, (name, full) in enumerate(self.internal.items()):
            kind = {"#": "0.t_dtensor", "D": [{"#": "0.t_f32"}, list(self.tensors[full].shape), "NCHW", [], 0]}
            copied = f"{name}_deepcopy_{number}" if number % 2 else name
            operations.append({"#": "p", "A": [0, 1, 1, copied], "DA": [], "O": {"%": number, "TT": kind}})
        blocks = [{"#": "block_0", "args": [], "ops": operations}]
        return json.dumps({"base_code": {}, "program": {"regions": [{"blocks": blocks}]}}).encode()


def fastflow_tensors(ratio: float = 1.06, kernels: tuple[int, ...] = (3, 3, 3, 3), norm: bool = True) -> Tensors:
    """A FastFlow-Paddle's state: backbone without the fourth group, norms, and the flows with their unused sub-nets."""
    rng = np.random.default_rng(3)

    def draw(*shape: int, mean: float = 0.0, spread: float = 1.0) -> npt.NDArray[np.float32]:
        return rng.normal(mean, spread, shape).astype(np.float32)

    tensors = {f"feature_extractor.{n}": v for n, v in ResNet(7).torchvision().items() if not n.startswith("layer4")}
    for level, channels in enumerate((64, 128, 256)):
        if norm:
            tensors[f"norms.{level}.weight"] = draw(channels, mean=1, spread=0.1)
            tensors[f"norms.{level}.bias"] = draw(channels, spread=0.1)
            tensors[f"norms.{level}._mean"] = draw(channels, mean=0.5)
            tensors[f"norms.{level}._variance"] = rng.uniform(10, 40, channels).astype(np.float32)
        for step, size in enumerate(kernels):
            prefix, half, hidden = f"nf_flows.{level}.module_list.{step}.", channels // 2, int(channels // 2 * ratio)
            tensors[f"{prefix}global_scale"] = draw(1, channels, 1, 1, mean=0.7 if norm else 0.1, spread=0.05)
            tensors[f"{prefix}global_offset"] = draw(1, channels, 1, 1, spread=0.1)
            permutation = np.eye(channels, dtype=np.float32)[rng.permutation(channels)]
            tensors[f"{prefix}w_perm"] = permutation.reshape(channels, channels, 1, 1)
            tensors[f"{prefix}w_perm_inv"] = np.ascontiguousarray(permutation.T).reshape(channels, channels, 1, 1)
            for subnet in ("subnet", "subnet_2"):
                spread = (2 / half / size**2) ** 0.5
                tensors[f"{prefix}{subnet}.0.weight"] = draw(hidden, half, size, size, spread=spread)
                tensors[f"{prefix}{subnet}.0.bias"] = draw(hidden, spread=0.1)
                tensors[f"{prefix}{subnet}.2.weight"] = draw(channels, hidden, size, size, spread=spread)
                tensors[f"{prefix}{subnet}.2.bias"] = draw(channels, spread=0.1)
    return tensors


def state_file(tensors: Mapping[str, Any], internal: Mapping[str, str], protocol: int = 4) -> bytes:
    """A state dictionary as `paddle.save` writes it."""
    return pickle.dumps({**tensors, "StructuredToParameterName@@": dict(internal)}, protocol=protocol)


class _Parameter:
    """Pickles as a tensor inside of a nested dictionary does: a call of `tuple`."""

    def __init__(self, name: str, values: npt.NDArray[Any]) -> None:
        self.name, self.values = name, values

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return tuple, ((self.name, self.values),)


def checkpoint(tensors: Mapping[str, npt.NDArray[Any]], protocol: int = 4) -> bytes:
    """A checkpoint of FastFlow-Paddle: epoch, model and optimiser."""
    from collections import OrderedDict

    model = OrderedDict((name, _Parameter(f"param_{i}", v)) for i, (name, v) in enumerate(tensors.items()))
    moments = {f"param_{i}_moment1_0": _Parameter(f"m_{i}", v * 0) for i, v in enumerate(tensors.values())}
    optimiser = {**moments, "LR_Scheduler": {"last_epoch": 3, "last_lr": 1e-3}, "master_weights": {}}
    content = {"epoch": 12, "model_state_dict": model, "optimizer_state_dict": optimiser}
    return pickle.dumps(content, protocol=protocol)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def record(values: npt.NDArray[Any], kind: int = 5) -> bytes:
    """One tensor of a `.pdiparams` file."""
    header = b"\x08" + varint(kind) + b"".join(b"\x10" + varint(size) for size in values.shape)
    return struct.pack("<IQIi", 0, 0, 0, len(header)) + header + values.tobytes()


def tar(files: Mapping[str, bytes], folder: str = "STFPM_infer", form: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        place = tarfile.TarInfo(folder)
        place.type = tarfile.DIRTYPE
        archive.addfile(place)
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
