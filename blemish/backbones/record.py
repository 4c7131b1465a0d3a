"""What a backbone is: where its weights come from, what input they expect, which taps it offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.errors import BackboneError, did_you_mean
from blemish.graph import GraphBuilder

EMBEDDED = "efficientnet_lite0"  # it comes with Blemish and needs no file
TIMM = "timm:"  # before the name of a network that timm makes

# (graph, uint8 pixels [N, H, W, 3], height, width, tap names) -> values of the taps
Layers = Callable[[GraphBuilder, str, int, int, Sequence[str]], list[str]]


@dataclass(frozen=True)
class Tap:
    """A feature map that can be read off a backbone: `[N, channels, H / stride, W / stride]`."""

    name: str
    stride: int
    channels: int


@dataclass(frozen=True)
class Choice:
    """The backbone that a run asks for.

    Attributes:
        name: an embedded backbone, the path of an ONNX file, or a model of timm, with `timm:` before it or not.
        weights: the file with the weights of a model of timm; None takes timm's own.
        taps: the names of the taps to read; without names they are chosen by the backbone's rule.
        accepted: the licence of timm's weights that the user has accepted, by its name.
    """

    name: str = EMBEDDED
    weights: Path | None = None
    taps: tuple[str, ...] = ()
    accepted: str | None = None

    @classmethod
    def of(cls, asked: str | PathLike[str] | Choice) -> Choice:
        """A choice as it is; a name or path alone leaves everything else open."""
        return asked if isinstance(asked, Choice) else cls(str(asked))

    @property
    def network(self) -> str:
        """The name of the network, without `timm:`."""
        return self.name.removeprefix(TIMM)


@dataclass(frozen=True)
class Backbone:
    """A frozen feature extractor, its origin and its licence.

    `mean` and `std` belong to the weights and refer to RGB in 0..1; `size` is the only input (height, width)
    that the network takes, None if it takes any whose sides are multiples of `step`; `note` says what had to be
    assumed. `read` names the taps that a detector reads; empty means all of them.
    """

    name: str
    source: str
    sha256: str
    licence: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    taps: tuple[Tap, ...]
    layers: Layers = field(repr=False, compare=False)
    size: tuple[int, int] | None = None
    note: str = ""
    step: int = 32
    read: tuple[str, ...] = ()

    def tap(self, name: str) -> Tap:
        """The tap of that name; `BackboneError` if there is none."""
        for tap in self.taps:
            if tap.name == name:
                return tap
        names = [tap.name for tap in self.taps]
        raise BackboneError(
            f"backbone {self.name} has no tap `{name}`.{did_you_mean(name, names)} It has: {', '.join(names)}"
        )

    @property
    def taps_to_read(self) -> tuple[Tap, ...]:
        """The taps that a detector reads, finest first; those of one stride in their own order."""
        taps = tuple(map(self.tap, self.read)) or self.taps
        return tuple(sorted(taps, key=lambda tap: tap.stride))

    def build(self, graph: GraphBuilder, pixels: str, height: int, width: int, taps: Sequence[str]) -> list[str]:
        """Append the layers up to the last of `taps` to `graph`; returns the taps' values in the order asked for.

        `pixels` names a uint8 RGB value `[N, height, width, 3]`; N may be dynamic. Each returned value is float32
        `[N, channels, height / stride, width / stride]`. Raises `BackboneError` for an unknown tap or a size that
        the network does not take.
        """
        for name in taps:
            self.tap(name)
        if not taps:
            raise BackboneError(f"backbone {self.name}: name at least one tap")
        if self.size not in (None, (height, width)):
            raise BackboneError(
                f"backbone {self.name} takes {self.size} images only (height, width), not {height, width}"
            )
        for tap in map(self.tap, taps):
            if height % tap.stride or width % tap.stride:
                raise BackboneError(
                    f"backbone {self.name}: tap `{tap.name}` has the stride {tap.stride}, which does not divide "
                    f"images of {width}x{height}; width and height must be multiples of {self.step}"
                )
        return self.layers(graph, pixels, height, width, taps)


def to_channels_first(graph: GraphBuilder, pixels: str) -> str:
    """The uint8 pixels `[N, H, W, 3]` as float32 `[N, 3, H, W]`, not yet scaled."""
    planes = graph.node("Transpose", pixels, perm=[0, 3, 1, 2], hint="planes")
    return graph.node("Cast", planes, to=1, hint="float_planes")


def normalised(graph: GraphBuilder, planes: str, mean: Sequence[float], std: Sequence[float]) -> str:
    """`(x / 255 - mean) / std` of float32 planes `[N, 3, H, W]`, as one Mul and one Add."""
    centre, deviation = per_channel(mean), per_channel(std)
    scale = graph.constant((1 / (255 * deviation)).astype(np.float32), "pixel_scale")
    shift = graph.constant((-centre / deviation).astype(np.float32), "pixel_shift")
    return graph.node("Add", graph.node("Mul", planes, scale, hint="scaled"), shift, hint="normalised")


def per_channel(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Three numbers in the shape that broadcasts over planes: `(1, 3, 1, 1)`."""
    return np.asarray(values, dtype=np.float64).reshape(1, 3, 1, 1)
