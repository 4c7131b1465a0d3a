"""The base of detectors that learn by gradient: training, export with its proof, and nothing of torch elsewhere."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from blemish.backbones import Backbone, Choice
from blemish.backbones.timm_networks import SIDE
from blemish.datasets.files import write_whole
from blemish.detectors.base import Detector, Image, Images, Progress, Setting
from blemish.errors import UsageError
from blemish.images import Sides
from blemish.training import Plan, require_torch

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from blemish.training.loop import Learner, Outcome
    from blemish.training.networks import Teacher

Floats = npt.NDArray[np.float32]

PARITY_IMAGES = 4


class Trained(Detector):
    """Learns by gradient from good images, then becomes an ONNX graph that is proved equal.

    A subclass gives the `learner` for the loop, what follows training (`conclude`), the layers (`layers`) and the same
    values by torch (`outputs`).

    Attributes:
        watched: good images that training does not learn from, on which it is watched; set before `fit`.
        outcome: what the training has come to, after `fit`.
    """

    learns: ClassVar[bool] = True
    strides: ClassVar[tuple[int, ...]] = (4, 8, 16)

    def __init__(self, setting: Setting, parameters: Any = None) -> None:
        super().__init__(setting, parameters)
        self.plan = setting.plan or Plan(seed=setting.seed, device=setting.device)
        self.watched: Images = ()
        self.outcome: Outcome | None = None
        self._teacher: Teacher | None = None
        self._samples: list[Image] = []

    @classmethod
    def sides(cls, backbone: str | Choice) -> Sides:
        from blemish.backbones.timm_networks import tap_indices
        from blemish.training.networks import check_network

        require_torch(cls.card.name)
        choice = Choice.of(backbone)
        check_network(choice, choice.weights)
        strides = cls.strides_of(choice.network)
        tap_indices(choice.network, strides)
        return Sides(step=math.lcm(SIDE, *strides))

    @classmethod
    def strides_of(cls, backbone: str) -> tuple[int, ...]:
        """The strides of the feature maps that the detector reads off this backbone, finest first."""
        del backbone
        return cls.strides

    @property
    def backbone(self) -> Backbone:
        return self.teacher.record

    @property
    def teacher(self) -> Teacher:
        """The frozen backbone, loaded when first asked for."""
        if self._teacher is None:
            from blemish.training.networks import load_teacher

            require_torch(self.card.name)
            choice, size = Choice.of(self.setting.backbone), (self.setting.height, self.setting.width)
            weights = self.plan.weights or choice.weights
            self._teacher = load_teacher(choice, weights, self.strides_of(choice.network), size)
        return self._teacher

    def fit(self, images: Images, progress: Progress | None = None) -> Detector:
        from blemish.training.loop import train

        def advance(done: int, total: int, detail: str) -> None:
            if progress is not None:
                progress("training", done, total, detail)

        if len(images) == 0:
            raise UsageError(f"{self.card.name} needs at least one image")
        self._samples = list(islice(images, PARITY_IMAGES))
        if self.plan.processes > 1:
            return self._fit_on_several(images, progress)
        learner = self.learner(images, progress)
        self.outcome = train(learner, self.plan, advance)
        self.conclude(learner)
        return self

    def _fit_on_several(self, images: Images, progress: Progress | None) -> Detector:
        """Train in one process a device, then take the weights over."""
        from blemish.training.several import train_on_several

        self.outcome, weights = train_on_several(self, images)
        self.plan = replace(self.plan, processes=1, device=self.plan.device_of(0))
        learner = self.learner(images, progress)
        learner.network.load_state_dict(weights)
        learner.network.eval()
        self.conclude(learner)
        return self

    def graph(self) -> onnx.ModelProto:
        """The layers as ONNX; `ModelError` unless ONNX Runtime computes with them what torch does."""
        from blemish.training.export import check_parity

        if self.outcome is None:
            raise UsageError(f"fit {self.card.name} first")
        model = self.layers()
        check_parity(model.SerializeToString(), self._samples, self.outputs)
        return model

    def save_weights(self, path: Path) -> None:
        """Write what was learned as safetensors, with what it takes to understand it."""
        from blemish.training.checkpoints import tensor_bytes

        described = {
            "detector": self.card.name,
            "backbone": self.backbone.name,
            "width": self.setting.width,
            "height": self.setting.height,
        }
        # one key: the format keeps no order of several, and equal trainings are to give equal files
        metadata = {"blemish": json.dumps(described)}
        write_whole(path, tensor_bytes(self.network.state_dict(), metadata), synced=True)

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """All that is learned."""

    @abstractmethod
    def learner(self, images: Images, progress: Progress | None) -> Learner:
        """What the training loop needs, with a new network."""

    @abstractmethod
    def conclude(self, learner: Any) -> None:
        """What is to be known of the trained network before it becomes a graph; leaves it on the CPU."""

    @abstractmethod
    def layers(self) -> onnx.ModelProto:
        """The graph, before it is proved equal."""

    @abstractmethod
    def outputs(self, pixels: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """By torch in float32: maps `(n, h, w)` and scores `(n,)` of images `(n, H, W, 3)`."""
