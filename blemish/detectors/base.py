"""What a detector is: parameters, `fit`, and the graph that it becomes.

Calibration, saving, engines, drawing and serving are shared code that knows no detector by name. To add a
detector, write one file with a subclass of `Detector` and name it as an entry point of the group
`blemish.detectors` (see CONTRIBUTING.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from blemish.errors import UsageError
from blemish.images import Scored, Sides

if TYPE_CHECKING:
    import onnx

    from blemish.backbones import Backbone, Choice
    from blemish.training import Plan

Image = npt.NDArray[np.uint8]
Images = Collection[Image]  # RGB (height, width, 3) at the model's input size; may be gone through more than once


class Progress(Protocol):
    """Told how far a long task is; `detail` says what else is worth knowing, such as the loss."""

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None: ...


@dataclass(frozen=True)
class ModelCard:
    """What `blemish models` says of a detector."""

    name: str
    summary: str
    requires: str  # the extra that it needs, empty for the base package
    reference: str


@dataclass(frozen=True)
class Setting:
    """What a run gives to every detector.

    Attributes:
        width, height: the model's input size, multiples of what the backbone needs, mostly 32.
        preset: `fast`, `balanced` or `accurate`; what it means beyond the input size is the detector's choice.
        backbone: an embedded backbone's name, the path of an ONNX file, a model of timm, or all that is chosen of it.
        memory_budget: bytes of memory that `fit` may take for data that grows with the number of images; the rest is
            computed again, read again or in a temporary file.
        seed: start of every random choice.
        device: where networks run, as in `Global.device`.
        plan: what a detector that learns by gradient is to do; None: its defaults, leaving nothing on the disk.
    """

    width: int
    height: int
    preset: str = "balanced"
    backbone: str | Choice = "efficientnet_lite0"
    memory_budget: int = 2_000_000_000
    seed: int = 0
    device: str = "auto"
    plan: Plan | None = None


class Detector(ABC):
    """Learns from good images; becomes an ONNX graph.

    `Parameters` is a pydantic model with bounds, validated from the run file's `Model` section; `graph()` takes
    `image`, uint8 `[N, height, width, 3]` RGB, and gives `anomaly_map`, float32 `[N, h, w]`, and `score`, float32
    `[N]`, raw: larger is more anomalous.
    """

    card: ClassVar[ModelCard]
    Parameters: ClassVar[Any]  # a subclass of pydantic.BaseModel
    # Whether it learns by gradient: then a share of the good images is held out of `fit` and calibrates.
    learns: ClassVar[bool] = False

    def __init__(self, setting: Setting, parameters: Any = None) -> None:
        self.setting = setting
        self.parameters = self.Parameters() if parameters is None else parameters

    @classmethod
    def sides(cls, backbone: str | Choice) -> Sides:
        """The input sizes that the backbone takes; refuses an unknown backbone, and one whose weights are missing."""
        from blemish.backbones import load_backbone

        found = load_backbone(backbone)
        return Sides(found.size, found.step)

    @abstractmethod
    def fit(self, images: Images, progress: Progress | None = None) -> Detector:
        """Learn from good images, forgetting earlier fits; returns `self`."""

    @classmethod
    def restored(
        cls,
        model: bytes,  # noqa: ARG003
        setting: Setting,  # noqa: ARG003
        parameters: Any = None,  # noqa: ARG003
    ) -> Detector:
        """A fitted detector again, from the ONNX model that it became, for `extend`; its images are not known.

        Raises `UsageError` where the detector cannot take in more images, as is usual for one that learns by gradient.
        """
        reason = "learns by gradient" if cls.learns else "has no such way"
        raise UsageError(f"{cls.card.name} {reason} and cannot take in new images: train it again with all good images")

    def extend(self, images: Images, progress: Progress | None = None, until: float | None = None) -> Detector:
        """Take new good images in beside what was learned before; returns `self`.

        With `until`, a score, only as much of them as it takes for none to score higher. Otherwise as much as a fit
        would have taken.

        `sketches` and `left_out` are of the new images then. What scored low must not score higher afterwards.
        """
        raise NotImplementedError(f"{self.card.name} has `restored`, so it needs `extend`")

    @property
    def size(self) -> int | None:
        """How much it holds of the images, such as the rows of a memory bank; None where nothing grows with them."""
        return None

    @abstractmethod
    def graph(self) -> onnx.ModelProto:
        """The fitted detector as an ONNX model."""

    @property
    def backbone(self) -> Backbone | None:
        """The frozen feature extractor whose weights are in the graph, for the model folder's record."""
        return None

    def without(
        self,
        left_out: npt.NDArray[np.bool_],  # noqa: ARG002
        rest: Images,  # noqa: ARG002
    ) -> Detector | None:
        """The detector fitted to the `rest` of its images alone, without those `left_out` `(n,)`.

        None where that costs a new fit.
        """
        return None

    def left_out_together(
        self,
        group: npt.NDArray[np.bool_],  # noqa: ARG002
    ) -> Iterator[Scored] | None:
        """Score and map (h, w) of the training images of a `group` `(n,)` with all of the group left out.

        None where that is not cheap.
        """
        return None

    @property
    def row_origins(self) -> npt.NDArray[np.int32] | None:
        """Where each row of a memory bank comes from, `(rows, 3)`; None where there is no bank.

        The number of the image in `fit` or `extend`, then row and column of the cell in the grid of the anomaly map.
        Rows that were there before `extend` come first, and have -1 for the image.
        """
        return None

    def nearest_rows(
        self,
        image: Image,
        cells: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The bank's row that is nearest to some cells (row, column) `(k, 2)` of an image, and its distance: `(k,)`s.

        The detector may be a `restored` one.
        """
        raise NotImplementedError(f"{self.card.name} has `row_origins`, so it needs `nearest_rows`")

    @property
    def sketches(self) -> npt.NDArray[np.float16] | None:
        """Features of many places of each training image `(n, p, d)`, that tell parts apart; None where there are none.

        An image is compared with another place by place, wherever the places are; `d` may be small.
        """
        return None

    def left_out(
        self,
        parts: npt.NDArray[np.int64],  # noqa: ARG002
        progress: Progress | None = None,  # noqa: ARG002
    ) -> Iterator[Scored] | None:
        """Leave-one-part-out score and map (h, w) of every training image; None where not cheap, or with one part.

        `parts` numbers the part that each image shows, `(n,)`, in the order of `fit`. The tiles of a large image are
        images here, all of one part. There are two parts or more, or a bank of before.
        """
        return None
