"""PatchCore (Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection").

A patch is as anomalous as it is far from the nearest patch of any good image. Nothing is learnt by gradient: a frozen
backbone gives the features, and a coreset of them is the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from blemish.backbones import Backbone
from blemish.config import Section
from blemish.detectors.base import Detector, Image, Images, ModelCard, Progress, Setting
from blemish.detectors.leave_out import left_out_distances
from blemish.detectors.memory_bank import MemoryBank, Selection, bank_of, extended_bank, merged_bank
from blemish.detectors.nearest_row import append_nearest
from blemish.detectors.patch_features import SKETCH_SHARE, Halves, PatchFeatures, Sketches
from blemish.detectors.smoothing import append_blur, append_outputs, blurs
from blemish.detectors.stored_bank import stored_bank
from blemish.engines import Engine
from blemish.errors import UsageError
from blemish.graph import GraphBuilder
from blemish.images import Scored

if TYPE_CHECKING:
    import onnx

Floats = npt.NDArray[np.float32]

LEAST_ROWS = 512
LEAST_CHUNK = 8  # images whose features are selected from together; fewer cannot say what is odd
RATIOS = {"fast": 0.01, "balanced": 0.01, "accurate": 0.01}


class PatchCoreParameters(Section):
    """The keys of the run file's `Model` section that are PatchCore's own."""

    coreset_ratio: float | None = Field(
        None, gt=0, le=1, description="Share of all patches in the bank; null: the preset's."
    )
    max_rows: int = Field(8192, ge=1, le=200_000, description="Rows of the bank at most.")
    noise_share: float = Field(0.0, ge=0, le=0.5, description="Share of the oddest training patches to drop.")


class PatchCore(Detector):
    """Distances to a memory bank of good patches."""

    card = ModelCard(
        "PatchCore",
        "memory bank of good patches; fits in seconds, no torch",
        "",
        "Roth et al. 2022, arXiv:2106.08265",
    )
    Parameters = PatchCoreParameters

    def __init__(self, setting: Setting, parameters: Any = None, backbone: Backbone | None = None) -> None:
        super().__init__(setting, parameters)
        self.features = PatchFeatures(backbone or setting.backbone, setting.height, setting.width)
        self._images: Images = ()
        self._kept: Floats | None = None  # (n, P, d) of all images where they fit into memory
        self._bank: MemoryBank | None = None
        self._covered = -1.0  # where the selection of the bank ended, as in `extended_bank`
        self._sketches: Sketches | None = None

    @property
    def backbone(self) -> Backbone:
        return self.features.backbone

    @property
    def sketches(self) -> Halves:
        if self._sketches is None:
            raise UsageError("fit PatchCore first")
        return self._sketches.stacked()

    @property
    def bank(self) -> MemoryBank:
        """The memory bank; `UsageError` before `fit`."""
        if self._bank is None:
            raise UsageError("fit PatchCore first")
        return self._bank

    def fit(self, images: Images, progress: Progress | None = None) -> PatchCore:
        if len(images) == 0:
            raise UsageError("PatchCore needs at least one image")
        self._images, self._kept, self._covered = images, None, -1.0
        self.features = self.features.centred(next(iter(images)), self.setting.device)
        self.__dict__.pop("_engine", None)  # of other features
        selection = self._selection
        patches = len(images) * self._patches
        rows = selection.count(patches)

        def advance(done: int) -> None:
            _report(progress, "memory bank", done, rows)

        if self._chunk_size() >= len(images):
            self._kept = next(self._chunks(len(images), progress))[0]
            self._bank = bank_of(self._kept, 0, selection, advance)
        else:
            self._bank = merged_bank(self._chunks(self._chunk_size(), progress), patches, selection, advance)
        return self

    @classmethod
    def restored(cls, model: bytes, setting: Setting, parameters: Any = None) -> PatchCore:
        backbone, rows, origin = stored_bank(model)
        detector = cls(setting, parameters, backbone)
        detector.features = PatchFeatures(backbone, setting.height, setting.width, origin)
        detector._bank = MemoryBank.of_before(rows)
        return detector

    def extend(self, images: Images, progress: Progress | None = None) -> PatchCore:
        """Greedy selection goes on from the rows of before, until the new patches are covered as the old ones were.

        As many rows come in at most as a bank of the new images alone would have, and `max_rows` bounds them all.
        """
        self._images, self._kept = images, None
        selection, total = self._selection, len(images)
        bank = before = MemoryBank.of_before(self.bank.rows)
        self._covered = before.spacing()
        most = max(0, min(selection.count(total * self._patches), selection.most - len(before)))
        for features, first in self._chunks(self._chunk_size(), progress):
            done = first + len(features)
            self._kept = features if len(features) == total else None
            room = -(-most * done // total) - (len(bank) - len(before))
            bank = extended_bank(bank, features, first, selection, most=room, covered=self._covered)
            _report(progress, "memory bank", done, total)
        self._bank = bank
        return self

    @property
    def size(self) -> int:
        """Rows of the bank."""
        return len(self.bank)

    @property
    def row_origins(self) -> npt.NDArray[np.int32]:
        rows, columns = np.divmod(self.bank.cells, self.features.columns)
        return np.stack([self.bank.images, rows, columns], axis=1).astype(np.int32)  # (M, 3)

    def nearest_rows(self, image: Image, cells: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Floats]:
        patches = self._engine.run(image[None])["features"][0]  # (P, d)
        return self.bank.nearest(patches[cells[:, 0] * self.features.columns + cells[:, 1]])

    @cached_property
    def _engine(self) -> Engine:
        return self.features.engine(self.setting.device)

    def left_out(self, parts: npt.NDArray[np.int64], progress: Progress | None = None) -> Iterator[Scored]:
        """Against the bank that would have been selected without an image's own part."""
        return ((float(anomaly_map.max()), anomaly_map) for anomaly_map in self.left_out_maps(parts, progress))

    def left_out_maps(self, parts: npt.NDArray[np.int64], progress: Progress | None = None) -> Iterator[Floats]:
        """The anomaly maps `(rows, columns)` behind `left_out` of all training images, in the order of `fit`."""
        total = len(self._images)

        def advance(done: int) -> None:
            _report(progress, "calibration", done, total)

        if self._kept is not None and self.parameters.noise_share == 0 and len(np.unique(parts)) > 1:
            yield from map(self._smoothed, left_out_distances(self._kept, self.bank, parts, advance, self._covered))
        else:
            for i, patches in enumerate(self._all_features(), 1):  # (P, d)
                smoothed = self._smoothed(self._masked(patches, parts, i - 1))
                advance(i)  # before it is given away: nobody may ask for more after the last
                yield smoothed

    def graph(self) -> onnx.ModelProto:
        """Features, nearest row of the bank, Gaussian blur, largest value."""
        rows, columns = self.features.rows, self.features.columns
        graph = GraphBuilder()
        distances = append_nearest(graph, self.features, self.bank.rows)  # [N, rows, columns]
        append_outputs(graph, append_blur(graph, distances, *self._blurs()), rows, columns)
        return graph.model("PatchCore")

    @property
    def _selection(self) -> Selection:
        return Selection(
            self.parameters.coreset_ratio or RATIOS[self.setting.preset],
            LEAST_ROWS,
            self.parameters.max_rows,
            self.parameters.noise_share,
            self.setting.seed,
        )

    @property
    def _patches(self) -> int:
        return self.features.rows * self.features.columns

    def _chunk_size(self) -> int:
        """Images per chunk, evenly dealt: as many as fit into half of the budget; the rest is for everything else."""
        copies = 2 if self.parameters.noise_share else 1  # what is left of a chunk is a copy
        bytes_each = copies * self._patches * self.features.dimensions * 4
        most = max(LEAST_CHUNK, self.setting.memory_budget // 2 // bytes_each)
        chunks = -(-len(self._images) // most)
        return -(-len(self._images) // chunks)

    def _chunks(self, size: int, progress: Progress | None) -> Iterator[tuple[Floats, int]]:
        """The features of `size` images at a time `(n, P, d)`, in one buffer that the next chunk overwrites."""
        total = len(self._images)
        sketches = self._sketches = Sketches(self.features, total, self.setting.memory_budget // SKETCH_SHARE)
        buffer = np.empty((min(size, total), self._patches, self.features.dimensions), np.float32)
        filled = 0
        for done, patches in enumerate(self.features.extract(self._images, self.setting.device), 1):
            buffer[filled] = patches
            filled += 1
            sketches.add(patches)
            _report(progress, "features", done, total)
            if filled == len(buffer) or done == total:
                yield buffer[:filled], done - filled
                filled = 0

    def _all_features(self) -> Iterable[Floats]:
        """Features of each image `(P, d)`: those in memory, or extracted once more."""
        return self.features.extract(self._images, self.setting.device) if self._kept is None else self._kept

    def _masked(self, patches: Floats, parts: npt.NDArray[np.int64], image: int) -> Floats:
        """Distances to the rows of other parts.

        Where the features are not in memory, or some are noise, nothing can take the place of the missing rows: scores
        are somewhat too large, and the false-alarm rate is somewhat below the stated one.
        """
        others = self.bank.parts_of(parts) != parts[image]  # (M,)
        if not others.any():
            raise UsageError("all good images show one part, which cannot be left out")
        return self.bank.take(others).distances(patches)

    def _smoothed(self, distances: Floats) -> Floats:
        down, across = self._blurs()
        smoothed: Floats = down @ distances.reshape(self.features.rows, self.features.columns) @ across.T
        return smoothed

    def _blurs(self) -> tuple[Floats, Floats]:
        return blurs(self.setting.height, self.setting.width, self.features.rows, self.features.columns)


def _report(progress: Progress | None, stage: str, done: int, total: int) -> None:
    if progress is not None:
        progress(stage, done, total)
