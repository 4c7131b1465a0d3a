"""FastFlow (Yu et al. 2021, "FastFlow: Unsupervised Anomaly Detection and Localization via 2D Normalizing Flows").

A normalising flow learns to turn a frozen network's feature maps of good images into independent normal noise. Features
that good images do not show end up far from zero. Written from the paper's description.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from blemish.config import Section
from blemish.detectors.base import Images, ModelCard, Progress
from blemish.detectors.smoothing import append_blur, append_enlarged, append_outputs, blurs
from blemish.detectors.trained import Trained
from blemish.errors import UsageError
from blemish.graph import GraphBuilder
from blemish.training import Plan

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import Tensor, nn

    from blemish.training.features import Features

Floats = npt.NDArray[np.float32]

GRID = 4  # pixels a cell of the map
RATE = 1e-3  # the paper's, of Adam
NOISE = 0.1  # of a channel's deviation; see `Likelihood.batch`
SMALLEST_DEVIATION = 1e-6  # of a channel, or of a level's distances
SMALLEST_SQUARE = 1e-12


class FastFlowParameters(Section):
    """The keys of the run file's `Model` section that are FastFlow's own."""

    flow_step: int = Field(4, ge=1, le=32, description="Steps of each level's flow; each couples both halves.")
    hidden_ratio: float = Field(1.06, gt=0, le=8, description="Hidden channels of a coupling for each that it reads.")
    conv3x3_only: bool = Field(True, description="Kernels of 3 x 3 in every step; false: of 1 x 1 in every second.")
    clamp: float = Field(2.0, gt=0, le=8, description="Largest size of a logarithmic scale.")
    weight_decay: float = Field(1e-5, ge=0, le=1, description="Of Adam.")


class FastFlow(Trained):
    """Where features are far from what a flow has learned of good ones."""

    card = ModelCard(
        "FastFlow",
        "normalising flows over a frozen network's features of good images; learns by gradient",
        "train",
        "Yu et al. 2021, arXiv:2111.07677",
    )
    Parameters = FastFlowParameters

    def __init__(self, setting: Any, parameters: Any = None) -> None:
        super().__init__(setting, parameters)
        if setting.plan is None:
            self.plan = Plan(learning_rate=RATE, seed=setting.seed, device=setting.device)
        self._flows: nn.Module | None = None
        self._typical: npt.NDArray[np.float64] = np.empty((0, 2))  # of each level: mean and deviation of distances
        self._grid = setting.height // GRID, setting.width // GRID
        self._blurs = blurs(setting.height, setting.width, *self._grid)

    @classmethod
    def strides_of(cls, backbone: str) -> tuple[int, ...]:
        """Several strides of a convolutional network, the only one of a vision transformer."""
        from blemish.backbones.timm_networks import patch_stride

        stride = patch_stride(backbone)
        return cls.strides if stride is None else (stride,)

    @property
    def network(self) -> nn.Module:
        if self._flows is None:
            raise UsageError("fit FastFlow first")
        return self._flows

    def learner(self, images: Images, progress: Progress | None) -> Likelihood:
        return Likelihood(self, images, progress)

    def conclude(self, learner: Likelihood) -> None:
        """Take the good images' distances as the measure of each level, so that no level drowns the others."""
        self._typical = learner.typical_distances()
        self._flows = learner.network.cpu().eval()
        self.teacher.module.cpu()

    def layers(self) -> onnx.ModelProto:
        """Backbone, flow and distance of each level, sum, Gaussian blur, largest value."""
        from blemish.training.networks import append_network

        height, width = self.setting.height, self.setting.width
        graph = GraphBuilder()
        pixels = graph.input("image", np.uint8, ["N", height, width, 3])
        taps = append_network(graph, self.teacher.module, self.teacher.record, pixels, (height, width))
        flows: Any = self.network
        levels = [
            append_enlarged(graph, _append_level(graph, tap, flow, *typical), stride / GRID)
            for tap, flow, typical, stride in zip(taps, flows, self._typical, self.teacher.strides, strict=True)
        ]
        maps = graph.node("Squeeze", graph.node("Sum", *levels), graph.constant(np.array([1])), hint="map")
        append_outputs(graph, append_blur(graph, maps, *self._blurs), *self._grid)
        return graph.model("FastFlow")

    def outputs(self, pixels: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        import torch
        from torch.nn.functional import interpolate

        from blemish.training.networks import normalised_planes

        with torch.inference_mode():
            planes = normalised_planes(torch.from_numpy(pixels), self.teacher.record)
            levels = [
                interpolate((distances(z)[:, None] - mean) / deviation, self._grid, mode="bilinear")
                for (mean, deviation), (z, _) in zip(
                    self._typical.tolist(), self.network(self.teacher.module(planes)), strict=True
                )
            ]
            down, across = (torch.from_numpy(blur) for blur in self._blurs)
            maps = down @ sum(levels)[:, 0] @ across.T  # type: ignore[index]  # (n, rows, columns)
        return maps.numpy(), maps.amax((1, 2)).numpy()


class Likelihood:
    """Flows and the features that they learn; see `blemish.training.loop.Learner`.

    The backbone is frozen and images are not augmented: their features are computed once, where memory allows.
    """

    def __init__(self, detector: FastFlow, images: Images, progress: Progress | None) -> None:
        import torch

        from blemish.training.devices import training_device
        from blemish.training.features import Features
        from blemish.training.several import distributed_network

        self.parameters, plan = detector.parameters, detector.plan
        device = training_device(plan.device)
        self.count = len(images)
        self.ignorance = math.inf  # a flow is invertible: it cannot give the same answer to everything
        detector.teacher.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        budget, features = detector.setting.memory_budget, partial(Features, folder=plan.folder)
        advance = None if progress is None else partial(progress, "features")
        self._images = features(detector.teacher, images, device, budget, advance=advance)
        self._watched = features(detector.teacher, detector.watched, device, budget - 2 * self._images.held)
        torch.manual_seed(plan.seed)
        network = new_flows(_moments(self._images), self.parameters)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._flow = self.network if plan.processes == 1 else distributed_network(self.network, device)

    def optimiser(self, learning_rate: float) -> torch.optim.Optimizer:
        import torch

        return torch.optim.Adam(self.network.parameters(), learning_rate, weight_decay=self.parameters.weight_decay)

    def batch(self, rows: npt.NDArray[np.int64]) -> list[Tensor]:
        """Features with a little noise, always the same for an image.

        Flat backgrounds have features of hardly any variance: without it, a flow's gain grows there until it shows
        nothing but how the engine rounds.
        """
        flows: Any = self.network
        return [
            x + NOISE * flow.deviation * _noise(rows, x.shape[1:]).to(x.device)
            for x, flow in zip(self._images.take(rows), flows, strict=True)
        ]

    def loss(self, batch: list[Tensor]) -> Tensor:
        """Negative log-likelihood for each number of the features, without its constant, summed over the levels."""
        levels = [z.square().mean() / 2 - log_det.mean() / z[0].numel() for z, log_det in self._flow(batch)]
        total: Tensor = sum(levels[1:], levels[0])
        return total

    def criterion(self) -> float:
        """The loss on the watched images, or on those learned from where none are."""
        import torch

        images = self._watched if len(self._watched) else self._images
        with torch.inference_mode():
            losses = [len(rows) * self.loss(images.take(rows)).item() for rows in images.chunks()]
        return sum(losses) / len(images)

    def typical_distances(self) -> npt.NDArray[np.float64]:
        """Mean and deviation of the distances over all positions of the images learned from, `(levels, 2)`."""
        import torch

        flows: Any = self.network
        sums: npt.NDArray[np.float64] = np.zeros((2, len(flows)))
        with torch.inference_mode():
            for rows in self._images.chunks():
                for level, (z, _) in enumerate(flows(self._images.take(rows))):
                    found = distances(z).double()
                    sums[:, level] += len(rows) * found.mean().item(), len(rows) * found.square().mean().item()
        mean, square = sums / len(self._images)
        return np.stack([mean, np.sqrt(np.maximum(square - mean**2, SMALLEST_DEVIATION**2))], 1)


def _moments(features: Features) -> list[tuple[Tensor, Tensor]]:
    """Mean and standard deviation of each channel, `(C,)` each, of every level."""
    sums: list[Any] = []  # float64 (2, C) of each level: sums over the images of the mean and of the mean square
    for rows in features.chunks():
        own = [_sums(level) for level in features.take(rows)]
        sums = [a + b for a, b in zip(sums, own, strict=True)] if sums else own
    means = [total / len(features) for total in sums]
    return [
        (mean.float(), (square - mean**2).clamp(min=SMALLEST_DEVIATION**2).sqrt().float()) for mean, square in means
    ]


def _sums(level: Tensor) -> Tensor:
    import torch

    values = level.double()
    return torch.stack([values.mean((2, 3)).sum(0), values.square().mean((2, 3)).sum(0)])


def _noise(rows: npt.NDArray[np.int64], shape: tuple[int, ...]) -> Tensor:
    import torch

    made = [torch.randn(shape, generator=torch.Generator().manual_seed(int(row))) for row in rows]
    return torch.stack(made).contiguous(memory_format=torch.channels_last)


def new_flows(moments: list[tuple[Tensor, Tensor]], parameters: FastFlowParameters) -> nn.Module:
    """A flow a level that changes nothing yet but to standardise its channels, of `moments` (mean, deviation).

    It takes feature maps and gives, a level, z `(n, C, h, w)` and log |det J| `(n,)`.
    """
    from torch import nn

    class Flows(nn.ModuleList):
        def forward(self, levels: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
            return [flowed(flow, x) for flow, x in zip(self, levels, strict=True)]

    return Flows([_new_flow(mean, deviation, parameters) for mean, deviation in moments])


def _new_flow(mean: Tensor, deviation: Tensor, parameters: FastFlowParameters) -> nn.Module:
    from torch import nn

    kernels = [3 if parameters.conv3x3_only or step % 2 == 0 else 1 for step in range(parameters.flow_step)]
    flow: Any = nn.ModuleList([_new_step(len(mean), kernel, parameters.hidden_ratio) for kernel in kernels])
    flow.register_buffer("mean", mean[:, None, None])
    flow.register_buffer("deviation", deviation[:, None, None])
    flow.clamp = parameters.clamp
    return flow  # type: ignore[no-any-return]


def _new_step(channels: int, kernel: int, ratio: float) -> nn.Module:
    """One step: scale and offset of the channels, a fixed permutation, then each half coupled to the other."""
    import torch
    from torch import nn

    halves = channels // 2, channels - channels // 2
    step: Any = nn.Module()
    step.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))
    step.offset = nn.Parameter(torch.zeros(channels, 1, 1))
    step.register_buffer("permutation", torch.randperm(channels))
    step.halves = halves
    step.second = _new_subnet(*halves, kernel, ratio)
    step.first = _new_subnet(*halves[::-1], kernel, ratio)
    return step  # type: ignore[no-any-return]


def _new_subnet(known: int, changed: int, kernel: int, ratio: float) -> nn.Module:
    """From one half to the logarithmic scale and the shift of the other; gives zeros at first."""
    from torch import nn

    hidden = max(1, int(known * ratio))
    last = nn.Conv2d(hidden, 2 * changed, kernel, padding="same")
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    return nn.Sequential(nn.Conv2d(known, hidden, kernel, padding="same"), nn.ReLU(), last)


def flowed(flow: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """z `(n, C, h, w)` and log |det J| `(n,)` of a level's features; the standardisation does not count."""
    import torch

    x = (x - flow.mean) / flow.deviation
    log_det = x.new_zeros(len(x))
    for step in flow:
        log_scale = _bounded(step.log_scale, flow.clamp)
        log_det = log_det + log_scale.sum() * x[0, 0].numel()
        first, second = (x * log_scale.exp() + step.offset)[:, step.permutation].split(step.halves, 1)
        second, gain = _coupled(step.second(first), second, flow.clamp)
        first, other_gain = _coupled(step.first(second), first, flow.clamp)
        log_det = log_det + gain + other_gain
        x = torch.cat([first, second], 1)
    return x, log_det


def _coupled(made: Tensor, x: Tensor, clamp: float) -> tuple[Tensor, Tensor]:
    raw, shift = made.to(x.dtype).chunk(2, 1)  # in mixed precision the convolutions give bfloat16
    log_scale = _bounded(raw, clamp)
    return x * log_scale.exp() + shift, log_scale.sum((1, 2, 3))


def _bounded(log_scale: Tensor, clamp: float) -> Tensor:
    """As it is near zero, and never beyond `clamp`: no scale can vanish or overflow."""
    return clamp * (log_scale / clamp).tanh()


def distances(z: Tensor) -> Tensor:
    """Logarithm of the mean square over the channels, `(n, h, w)`.

    The paper's 1 - exp(-square / 2) orders positions likewise, but runs full: far ones become equal in float32. The
    mean square itself has peaks so high that, blurred, they flood all that is near.
    """
    return (z.square().mean(1) + SMALLEST_SQUARE).log()


def _append_level(graph: GraphBuilder, features: str, flow: Any, typical: float, deviation: float) -> str:
    """The distance of one level in deviations from what is typical, `[N, 1, h, w]`."""
    moments = (graph.constant(_numbers(values), "moment") for values in (flow.mean, flow.deviation))
    x = _append_standardised(graph, features, *moments)
    for step in flow:
        x = _append_step(graph, x, step, flow.clamp)
    square = graph.node("ReduceMean", graph.node("Mul", x, x, hint="square"), axes=[1], keepdims=1, hint="mean_square")
    square = graph.node("Add", square, graph.constant(np.float32(SMALLEST_SQUARE), "smallest_square"))
    moments = (graph.constant(np.float32(value), "typical") for value in (typical, deviation))
    return _append_standardised(graph, graph.node("Log", square, hint="distance"), *moments)


def _append_standardised(graph: GraphBuilder, x: str, mean: str, deviation: str) -> str:
    return graph.node("Div", graph.node("Sub", x, mean, hint="centred"), deviation, hint="standardised")


def _append_step(graph: GraphBuilder, x: str, step: Any, clamp: float) -> str:
    scale = graph.constant(_numbers(_bounded(step.log_scale, clamp).exp()), "scale")
    x = graph.node("Add", graph.node("Mul", x, scale, hint="scaled"), graph.constant(_numbers(step.offset), "offset"))
    x = graph.node("Gather", x, graph.constant(step.permutation.numpy(), "permutation"), axis=1, hint="permuted")
    sizes = graph.constant(np.array(step.halves), "halves")
    first, second = graph.split_node("Split", x, sizes, count=2, axis=1, hint="half")
    second = _append_coupled(graph, first, second, step.second, clamp)
    first = _append_coupled(graph, second, first, step.first, clamp)
    return graph.node("Concat", first, second, axis=1, hint="step")


def _append_coupled(graph: GraphBuilder, known: str, x: str, subnet: Any, clamp: float) -> str:
    hidden = graph.node("Relu", _append_convolution(graph, known, subnet[0]), hint="hidden")
    made = _append_convolution(graph, hidden, subnet[2])
    size = subnet[2].out_channels // 2
    raw, shift = graph.split_node("Split", made, graph.constant(np.array([size, size])), count=2, axis=1, hint="affine")
    bound = graph.constant(np.float32(clamp), "clamp")
    log_scale = graph.node("Mul", graph.node("Tanh", graph.node("Div", raw, bound)), bound, hint="log_scale")
    return graph.node("Add", graph.node("Mul", x, graph.node("Exp", log_scale)), shift, hint="coupled")


def _append_convolution(graph: GraphBuilder, x: str, convolution: Any) -> str:
    kernel = convolution.kernel_size[0]
    weights = [graph.constant(_numbers(values), "weights") for values in (convolution.weight, convolution.bias)]
    return graph.node("Conv", x, *weights, kernel_shape=[kernel, kernel], pads=[kernel // 2] * 4)


def _numbers(values: Tensor) -> Floats:
    return np.asarray(values.detach().numpy(), np.float32)
