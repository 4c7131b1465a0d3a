"""PatchCore (Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection").

A patch is as anomalous as it is far from the nearest patch of any good image. Nothing is learnt by gradient: a frozen
backbone gives the features, and a coreset of them is the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from blemish.backbones import Backbone
from blemish.config import Section
from blemish.detectors.base import Detector, Image, Images, ModelCard, Progress, Setting
from blemish.detectors.leave_out import Changed, RefilledBank, left_out_distances
from blemish.detectors.memory_bank import (
    BEFORE,
    MemoryBank,
    Selection,
    bank_and_spare,
    bank_of,
    extended_bank,
    merged_bank,
)
from blemish.detectors.metric import ResidualMetric, representative
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
NEARLY = 0.9  # of the threshold: how far beside a patch its row is, where as few defects as can be are to be explained
LEAST_CHUNK = 8  # images whose features are selected from together; fewer cannot say what is odd
RATIO = 0.01  # of all patches, in the bank
STREAMED = 2**17  # patches that are compared with the bank together, where they do not all fit into memory
STREAM_SHARE = 16  # of the memory budget, one part may hold these


class PatchCoreParameters(Section):
    """The keys of the run file's `Model` section that are PatchCore's own."""

    coreset_ratio: float | None = Field(None, gt=0, le=1, description="Share of all patches in the bank; null: 0.01.")
    max_rows: int = Field(8192, ge=1, le=200_000, description="Rows of the bank at most.")
    noise_share: float = Field(0.0, ge=0, le=0.5, description="Share of the oddest training patches to drop.")


@dataclass(frozen=True, eq=False)
class _Measured:
    """What the metric of a detector is from: some of its images, less those that are `gone` `(k,)`."""

    metric: ResidualMetric
    images: npt.NDArray[np.int64]  # (k,), any number for those that are gone
    gone: npt.NDArray[np.bool_]

    @property
    def matrix(self) -> Floats | None:
        return self.metric.without(self.gone) if self.gone.any() else self.metric.matrix

    def of_rest(self, left_out: npt.NDArray[np.bool_]) -> _Measured:
        """The same of a detector without some of its images `(n,)`."""
        numbers = np.cumsum(~left_out) - 1
        return _Measured(self.metric, np.maximum(numbers[self.images], 0), self.gone | left_out[self.images])


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
        # Patches that may take the place of rows where not all are at hand, or some are noise.
        self._spare: MemoryBank | None = None
        self._covered = -1.0  # where the selection of the bank ended, as in `extended_bank`
        self._sketches: Sketches | None = None
        self._measured: _Measured | None = None

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
        self._images, self._kept, self._spare, self._measured = images, None, None, None
        self._covered = -1.0
        self.features = self.features.centred(next(iter(images)), self.setting.device)
        self.__dict__.pop("_engine", None)  # of other features
        selection = self._selection
        patches = len(images) * self._patches
        rows = selection.count(patches)

        def advance(done: int) -> None:
            _report(progress, "memory bank", done, rows)

        if self._chunk_size() >= len(images):
            self._kept = next(self._measured_chunks(len(images), progress))[0]
            if selection.noise_share:
                self._bank, self._spare = bank_and_spare(self._kept, 0, selection, advance)
            else:
                self._bank = bank_of(self._kept, 0, selection, advance)
        else:
            self._bank, self._spare = merged_bank(
                self._measured_chunks(self._chunk_size(), progress), patches, selection, advance
            )
        return self

    @classmethod
    def restored(cls, model: bytes, setting: Setting, parameters: Any = None) -> PatchCore:
        backbone, rows, preparation = stored_bank(model)
        detector = cls(setting, parameters, backbone)
        detector.features = PatchFeatures(backbone, setting.height, setting.width, preparation)
        detector._bank = MemoryBank.of_before(rows)
        return detector

    def extend(self, images: Images, progress: Progress | None = None, until: float | None = None) -> PatchCore:
        """Greedy selection goes on from the rows of before, until the new patches are covered as the old ones were.

        As many rows come in at most as a bank of the new images alone would have, and `max_rows` bounds them all. With
        `until`, only those patches come in that hold an image's score above it: every row more brings defects nearer
        to the bank too.
        """
        self._images, self._kept, self._spare, self._measured = images, None, None, None
        selection, total = self._selection, len(images)
        bank = before = MemoryBank.of_before(self.bank.rows)
        self._covered = before.spacing() if until is None else until**2
        most = max(0, min(selection.count(total * self._patches), selection.most - len(before)))
        for features, first in self._chunks(self._chunk_size(), progress):
            done = first + len(features)
            self._kept = features if len(features) == total else None
            room = -(-most * done // total) - (len(bank) - len(before))
            if until is None:
                bank = extended_bank(bank, features, first, selection, most=room, covered=self._covered)
            else:
                bank = self._explaining(bank, features, first, until, room)
            _report(progress, "memory bank", done, total)
        self._bank = bank
        return self

    def left_out_together(self, group: npt.NDArray[np.bool_]) -> Iterator[Scored] | None:
        if self._kept is None or self._spare is not None:
            return None
        parts = group.astype(np.int64)
        changed = self._changed(parts)
        distances = left_out_distances(self._kept, self.bank, parts, covered=self._covered, changed=changed)[group]
        return ((float(anomaly_map.max()), anomaly_map) for anomaly_map in map(self._smoothed, distances))

    def without(self, left_out: npt.NDArray[np.bool_], rest: Images) -> PatchCore | None:
        is_exact = self._spare is None and self._covered < 0  # of a fit, with the features themselves
        if self._kept is None or not is_exact or self._kept.nbytes > self.setting.memory_budget // 3:
            return None
        other = PatchCore(self.setting, self.parameters, self.backbone)
        change = self._changed(left_out.astype(np.int64))(1)
        other._images, other._kept = rest, self._kept[~left_out]
        other.features = self.features
        if self._measured is not None:
            other._measured = self._measured.of_rest(left_out)
            if change is not None:
                other.features = self.features.measured(other._measured.matrix)
                other._kept = other._kept @ change
        other._bank = bank_of(other._kept, 0, self._selection, lambda _done: None)
        return other

    @property
    def size(self) -> int:
        """Rows of the bank."""
        return len(self.bank)

    def _explaining(self, bank: MemoryBank, features: Floats, first: int, until: float, room: int) -> MemoryBank:
        """The bank with those patches of `(n, P, d)` more, at most `room`, that bring every image's score to `until`.

        At the peak of an image's map that is still above it, the patch comes in that contributes most. Its row lies
        `NEARLY` as far beside it as is needed, in the direction in which rows differ least: so what is like the patch
        is just within the threshold, and what differs from it, as a defect does, keeps its distance.
        """
        down, across = self._blurs()
        reach = NEARLY * until
        aside = reach * _calmest_direction(bank.rows)
        for image, patches in enumerate(features, first):
            distances = bank.distances(patches).reshape(self.features.rows, self.features.columns)
            while room > 0 and (smoothed := down @ distances @ across.T).max() > until:
                row, column = np.unravel_index(smoothed.argmax(), smoothed.shape)
                weights = down[row][:, None] * across[column]
                cell = int((weights * (distances - reach)).argmax())
                bank, room = bank.with_row(patches[cell] + aside, image, cell), room - 1
                nearer = np.linalg.norm(patches - patches[cell] - aside, axis=1).reshape(distances.shape)
                distances = np.minimum(distances, nearer)
        return bank

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

    def left_out(self, parts: npt.NDArray[np.int64], progress: Progress | None = None) -> Iterator[Scored] | None:
        """Against the bank that would have been selected without an image's own part; None where there is but one."""
        if not self._can_leave_out(parts):
            return None
        return ((float(anomaly_map.max()), anomaly_map) for anomaly_map in self.left_out_maps(parts, progress))

    def left_out_maps(self, parts: npt.NDArray[np.int64], progress: Progress | None = None) -> Iterator[Floats]:
        """The anomaly maps `(rows, columns)` behind `left_out` of all training images, in the order of `fit`."""
        total = len(self._images)

        def advance(done: int) -> None:
            _report(progress, "calibration", done, total)

        if self._kept is not None and self._spare is None:
            changed = self._changed(parts)
            distances = left_out_distances(self._kept, self.bank, parts, advance, self._covered, changed=changed)
            yield from map(self._smoothed, distances)
            return
        spare = self.bank.take(slice(0)) if self._spare is None else self._spare
        refilled = RefilledBank(self.bank, parts, spare, self._covered, changed=self._changed(parts))
        done = 0
        for features in self._all_features():  # (k, P, d)
            found = refilled.distances(features, parts[done : done + len(features)])
            for smoothed in map(self._smoothed, found):
                done += 1
                advance(done)  # before it is given away: nobody may ask for more after the last
                yield smoothed

    def _can_leave_out(self, parts: npt.NDArray[np.int64]) -> bool:
        return len(np.unique(parts)) > 1 or bool((self.bank.images == BEFORE).any())

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
            self.parameters.coreset_ratio or RATIO,
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

    def _measured_chunks(self, size: int, progress: Progress | None) -> Iterator[tuple[Floats, int]]:
        """As `_chunks`, in the metric that some of the images give."""
        chosen, is_whole = representative(self._images), size >= len(self._images)
        numbers = np.array(list(chosen))
        if not is_whole:
            self._measure(numbers, np.stack(list(self.features.extract(chosen.values(), self.setting.device))))
        for features, first in self._chunks(size, progress):
            if is_whole:  # from what is extracted anyway
                self._measure(numbers, features[numbers])
                for patches in features:
                    patches[:] = self.features.mapped(patches)
            yield features, first

    def _measure(self, chosen: npt.NDArray[np.int64], features: Floats) -> None:
        """Take distances in the metric that the chosen images of these features `(n, P, d)`, not yet mapped, give."""
        metric = ResidualMetric(features, self.setting.seed)
        self._measured = _Measured(metric, chosen, np.zeros(len(chosen), np.bool_))
        self.features = self.features.measured(metric.matrix)

    def _changed(self, parts: npt.NDArray[np.int64]) -> Changed:
        """How features would change with the metric if it did not know one of the parts `(n,)`."""
        if self._measured is None or self.features.preparation.metric is None:
            return lambda _: None
        measured = self._measured
        back = np.linalg.inv(self.features.preparation.metric.astype(np.float64))

        @lru_cache(maxsize=len(measured.images))
        def to_metric_without(images: tuple[int, ...]) -> Floats:
            matrix = measured.metric.without(np.isin(np.arange(len(measured.images)), images))
            return np.asarray(back if matrix is None else back @ matrix, np.float32)

        def change(part: int) -> Floats | None:
            shown = ~measured.gone & (parts[measured.images] == part)
            if not shown.any():
                return None
            groups = measured.metric.together
            return to_metric_without(tuple(np.flatnonzero(measured.gone | np.isin(groups, groups[shown])).tolist()))

        return change

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

    def _all_features(self) -> Iterator[Floats]:
        """Features of some images at a time `(k, P, d)`: of those in memory, or extracted once more."""
        bytes_each = self._patches * self.features.dimensions * 4
        size = max(1, min(STREAMED // self._patches, self.setting.memory_budget // STREAM_SHARE // bytes_each))
        each = iter(self.features.extract(self._images, self.setting.device) if self._kept is None else self._kept)
        while some := list(islice(each, size)):
            yield np.stack(some)

    def _smoothed(self, distances: Floats) -> Floats:
        down, across = self._blurs()
        smoothed: Floats = down @ distances.reshape(self.features.rows, self.features.columns) @ across.T
        return smoothed

    def _blurs(self) -> tuple[Floats, Floats]:
        return blurs(self.setting.height, self.setting.width, self.features.rows, self.features.columns)


def _calmest_direction(rows: Floats) -> Floats:
    """The unit vector `(d,)` along which rows `(M, d)` vary least."""
    centred = rows - rows.mean(axis=0)
    direction: Floats = np.linalg.eigh(centred.T @ centred)[1][:, 0].astype(np.float32)
    return direction


def _report(progress: Progress | None, stage: str, done: int, total: int) -> None:
    if progress is not None:
        progress(stage, done, total)
