"""STFPM (Wang et al. 2021, "Student-Teacher Feature Pyramid Matching for Anomaly Detection").

A student network learns to give the feature maps of a frozen teacher on good images. It has never learned to do so
for what good images do not show: where the two disagree, something is odd. Written from the paper's description.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from blemish.config import Section
from blemish.detectors.base import Images, ModelCard, Progress
from blemish.detectors.smoothing import append_blur, append_enlarged, append_outputs, blurs
from blemish.detectors.trained import Trained
from blemish.errors import UsageError
from blemish.graph import GraphBuilder

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import Tensor, nn

    from blemish.training.features import Features

Floats = npt.NDArray[np.float32]

SMALLEST_NORM = 1e-12
# Of a distance from 0 to 4: dividing by less would show the rounding of float32.
SMALLEST_DEVIATION = 0.005
LEAST_DEVIATION = 0.1  # of the mean distance
FEW = 10  # fewer different images do not show how much good ones deviate: one does not deviate from itself at all


class STFPMParameters(Section):
    """The keys of the run file's `Model` section that are STFPM's own."""

    fusion: Literal["sum", "product"] = Field("sum", description="How the three levels' maps become one.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of gradient descent.")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Of gradient descent.")


class STFPM(Trained):
    """Where a student disagrees with its teacher."""

    card = ModelCard(
        "STFPM",
        "student that imitates a frozen teacher on good images; small, learns by gradient",
        "train",
        "Wang et al. 2021, arXiv:2103.04257",
    )
    Parameters = STFPMParameters

    def __init__(self, setting: Any, parameters: Any = None) -> None:
        super().__init__(setting, parameters)
        self._student: nn.Module | None = None
        self._weights: list[float] = []  # one a level
        self._usual: list[Floats] = []  # one a level, (h, w)
        self._blurs = blurs(setting.height, setting.width, *self._grid)

    @property
    def network(self) -> nn.Module:
        if self._student is None:
            raise UsageError("fit STFPM first")
        return self._student

    def learner(self, images: Images, progress: Progress | None) -> Imitation:
        return Imitation(self, images, progress)

    def conclude(self, learner: Imitation) -> None:
        """Learn what distances are usual: at the border, for one, no student follows its teacher well.

        For the sum, a level counts what exceeds the usual at that position, in deviations of good images, so that no
        level drowns the others. For the product, it counts the distances themselves, as published.
        """
        usual, deviations = learner.statistics()
        means = [max(float(level.mean()), SMALLEST_NORM) for level in usual]
        if self.parameters.fusion == "sum":
            doubt = max(1.0, FEW / learner.different)
            floors = [doubt * max(LEAST_DEVIATION * mean, SMALLEST_DEVIATION) for mean in means]
            self._weights = [1 / max(pair) for pair in zip(deviations, floors, strict=True)]
            self._usual = usual
        else:
            self._weights = [1 / mean for mean in means]
            self._usual = [np.zeros_like(level) for level in usual]
        self._student = learner.network.cpu().eval()
        self.teacher.module.cpu()

    def layers(self) -> onnx.ModelProto:
        """Teacher, student, distance of each level, fusion, Gaussian blur, largest value."""
        from blemish.training.networks import append_network
        from blemish.training.student import append_student

        height, width = self.setting.height, self.setting.width
        graph = GraphBuilder()
        pixels = graph.input("image", np.uint8, ["N", height, width, 3])
        both = (
            append_network(graph, self.teacher.module, self.teacher.record, pixels, (height, width)),
            append_student(graph, self.network, self.teacher.record, pixels),
        )
        levels = [
            _append_level(graph, pair, usual, weight, stride / self.strides[0])
            for *pair, usual, weight, stride in zip(*both, self._usual, self._weights, self.strides, strict=True)
        ]
        fused = levels[0]
        for level in levels[1:]:
            fused = graph.node("Add" if self.parameters.fusion == "sum" else "Mul", fused, level, hint="fused")
        maps = graph.node("Squeeze", fused, graph.constant(np.array([1])), hint="map")  # [N, rows, columns]
        append_outputs(graph, append_blur(graph, maps, *self._blurs), *self._grid)
        return graph.model("STFPM")

    def outputs(self, pixels: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        import torch
        from torch.nn.functional import interpolate

        from blemish.training.networks import normalised_planes

        with torch.inference_mode():
            planes = normalised_planes(torch.from_numpy(pixels), self.teacher.record)
            distances = level_distances(unit_features(self.teacher.module(planes)), self.network(planes))
            levels = [
                interpolate(weight * (d - torch.from_numpy(usual))[:, None], self._grid, mode="bilinear")
                for weight, usual, d in zip(self._weights, self._usual, distances, strict=True)
            ]
            fused = sum(levels) if self.parameters.fusion == "sum" else torch.stack(levels).prod(0)
            down, across = (torch.from_numpy(blur) for blur in self._blurs)
            maps = down @ fused[:, 0] @ across.T  # type: ignore[index]  # (n, rows, columns)
        return maps.numpy(), maps.amax((1, 2)).numpy()

    @property
    def _grid(self) -> tuple[int, int]:
        return self.setting.height // self.strides[0], self.setting.width // self.strides[0]


class Imitation:
    """A student and what its teacher says of the images; see `blemish.training.loop.Learner`.

    The teacher is frozen and images are not augmented: what it says is computed once, where memory allows.
    """

    def __init__(self, detector: STFPM, images: Images, progress: Progress | None) -> None:
        import torch

        from blemish.backbones.timm_networks import channels_of
        from blemish.training.devices import training_device
        from blemish.training.features import Features
        from blemish.training.several import distributed_network, synchronised
        from blemish.training.student import new_student

        self.parameters, self.teacher = detector.parameters, detector.teacher
        self.device = training_device(detector.plan.device)
        self.count = len(images)
        torch.manual_seed(detector.plan.seed)
        student = new_student(channels_of(self.teacher.module))
        self.network = student.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._imitate: nn.Module = self.network
        if detector.plan.processes > 1:
            self.network = synchronised(self.network, self.device)
            self._imitate = distributed_network(self.network, self.device)
        self.teacher.module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        budget, features = detector.setting.memory_budget, partial(Features, folder=detector.plan.folder)
        advance = None if progress is None else partial(progress, "features")
        self._images = features(self.teacher, images, self.device, budget, advance=advance, form=unit_features)
        left = budget - 2 * self._images.held
        self._watched = features(self.teacher, detector.watched, self.device, left, form=unit_features)
        self.ignorance = _ignorance(self._images)
        self.different = len({hash(image.tobytes()) for image in images})

    def optimiser(self, learning_rate: float) -> torch.optim.Optimizer:
        from blemish.training.orthogonal import orthogonal_descent

        return orthogonal_descent(self.network, learning_rate, self.parameters.momentum, self.parameters.weight_decay)

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[Tensor, list[Tensor]]:
        return self._images.planes(rows), self._images.take(rows)

    def loss(self, batch: tuple[Tensor, list[Tensor]]) -> Tensor:
        planes, taught = batch
        levels = level_distances(taught, self._imitate(planes))
        return sum((level.mean() for level in levels[1:]), levels[0].mean())

    def criterion(self) -> float:
        """The loss on the watched images, or on those learned from where none are."""
        usual, _ = self.statistics(self._watched if len(self._watched) else self._images)
        return float(sum(level.mean() for level in usual))

    def statistics(self, taught: Features | None = None) -> tuple[list[Floats], list[float]]:
        """Of each level, the images' mean distance at every position `(h, w)`, and the deviation from it over all."""
        import torch

        taught = taught or self._images
        sums: list[Any] = [0.0] * len(self.teacher.strides)
        squares = np.zeros(len(sums))
        self.network.eval()
        with torch.inference_mode():
            for rows in taught.chunks():
                for level, d in enumerate(level_distances(taught.take(rows), self.network(taught.planes(rows)))):
                    sums[level] = sums[level] + d.double().sum(0).cpu().numpy()
                    squares[level] += len(d) * d.double().square().mean().item()
        usual = [total / len(taught) for total in sums]
        variances = [square / len(taught) - np.square(mean).mean() for square, mean in zip(squares, usual, strict=True)]
        return [mean.astype(np.float32) for mean in usual], [float(max(v, 0.0)) ** 0.5 for v in variances]


def _ignorance(taught: Features) -> float:
    """The loss of the best one answer to everything."""
    sums: list[Any] = []  # (C,) a level
    for rows in taught.chunks():
        own = [level.mean((2, 3)).sum(0) for level in taught.take(rows)]
        sums = [a + b for a, b in zip(sums, own, strict=True)] if sums else own
    return sum(1 - float((total / len(taught)).norm()) for total in sums)


def unit_features(levels: list[Tensor]) -> list[Tensor]:
    """Feature maps `(n, C, h, w)` as unit vectors over the channels, in float32."""
    from torch.nn.functional import normalize

    return [normalize(level.float(), dim=1, eps=SMALLEST_NORM) for level in levels]


def level_distances(taught: list[Tensor], student: list[Tensor]) -> list[Tensor]:
    """Half the squared distance of the unit vectors, 1 - cosine, at every position: `(n, h, w)` a level."""
    pairs = zip(taught, unit_features(student), strict=True)
    return [(ours - theirs).square().sum(1) / 2 for theirs, ours in pairs]


def _append_level(graph: GraphBuilder, pair: list[str], usual: Floats, weight: float, scale: float) -> str:
    """The weighted distance of teacher and student beyond the usual, on the finest grid, `[N, 1, rows, columns]`."""
    units = [_append_unit(graph, value) for value in pair]
    gap = graph.node("Sub", *units, hint="gap")
    distance = graph.node("ReduceSumSquare", gap, axes=[1], keepdims=1, hint="squared_distance")
    distance = graph.node("Mul", distance, graph.constant(np.float32(0.5), "half"), hint="distance")
    distance = graph.node("Sub", distance, graph.constant(usual, "usual_distance"), hint="unusual")
    distance = graph.node("Mul", distance, graph.constant(np.float32(weight), "level_weight"), hint="weighted")
    return append_enlarged(graph, distance, scale)


def _append_unit(graph: GraphBuilder, features: str) -> str:
    norm = graph.node("ReduceL2", features, axes=[1], keepdims=1, hint="norm")
    floor = graph.constant(np.float32(SMALLEST_NORM), "smallest_norm")
    return graph.node("Div", features, graph.node("Max", norm, floor, hint="safe_norm"), hint="unit")
