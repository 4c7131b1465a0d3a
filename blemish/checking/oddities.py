"""What only a look at the pictures tells: good images that are odd, and masks that belong to another image.

The look is PatchCore with the embedded backbone at the preset `fast`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from blemish.calibration import (
    FOLDER_DEVIATIONS,
    Calibration,
    OddFolder,
    apart_by,
    find_parts,
    is_in_folder,
    odd_folders,
    outlier_limit,
)
from blemish.datasets import GoodImages, Sample
from blemish.datasets.masks.reading import mask_of
from blemish.detectors import Progress, Setting
from blemish.detectors.patchcore import PatchCore
from blemish.engines import open_engine
from blemish.errors import DatasetError, ImageError
from blemish.framing import PIXELS
from blemish.images import Frame, InputGeometry, expand, read_ahead
from blemish.sample_range import SampleRange
from blemish.training_images import TrainingImages, typical_sizes

LEAST = 10  # images; fewer do not tell what is usual
MOST, RUN = 300, 6  # images looked at, of more in runs evenly chosen: pictures of one part often stand side by side
SHOWN = 10
# How far the calmest quarter of an image may be from what the other folders show, by what their own images have: the
# images of 29 odd folders of defects have at most 1.14 times as much, those of 14 other cameras and products 1.57 and
# more. A defect is odd in places, another camera all over.
TYPICAL, ALL_OVER = 0.25, 1.35
# Two masks are swapped if each fits the other's image this well (area under the ROC curve of the patches), and its own
# so much worse. No pair of those six sets fulfils it, and half of all pairs do once swapped.
FITS, GAIN = 0.9, 0.2

Floats = npt.NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Oddity:
    """A good image that is odd: its anomaly map over the image (H, W), and the value beyond which a score is odd."""

    name: str
    image: npt.NDArray[np.uint8]
    anomaly_map: Floats
    score: float
    limit: float


class Look:
    """A detector fitted to the good images, for a quick look at them and at the defects."""

    def __init__(self, good: GoodImages, bit_depth: SampleRange, progress: Progress) -> None:
        chosen = _in_runs(list(zip(good.paths, good.names, strict=True)))
        self.good = GoodImages(good.root, tuple(path for path, _ in chosen), tuple(name for _, name in chosen))
        self.bit_depth, self.progress = bit_depth, progress
        self.geometry = InputGeometry.for_images(typical_sizes(self.good, bit_depth), PIXELS["fast"])
        self.images = TrainingImages(
            self.good, Frame.whole(self.geometry), bit_depth, 1 << 30, lambda _done, _total: None
        )
        setting = Setting(self.geometry.width, self.geometry.height, preset="fast")
        self.detector = PatchCore(setting).fit(self.images.inputs, progress)
        sketches = self.detector.sketches
        self.found = find_parts(self.images.inputs.joined(sketches))
        self.parts = self.found.parts
        few = len(np.unique(self.parts)) < LEAST
        self._maps = [] if few else list(self.detector.left_out_maps(self.parts, progress))  # own part left out
        self._scores = np.array([anomaly_map.max() for anomaly_map in self._maps], np.float64)

    def part_numbers(self) -> dict[str, int]:
        """The part that each image shows which was looked at, by name."""
        return dict(zip(self.images.names, self.parts.tolist(), strict=True))

    def odd_images(self) -> list[Oddity]:
        """Good images that stand apart from the others, as in a training; worst first."""
        if not self._maps:
            return []
        calibration = Calibration(self._scores, self._scores, self.parts)
        apart = apart_by(self.detector, self.images.inputs, calibration, "auto", self.progress)
        limit = outlier_limit(apart.scores[~apart.odd])
        odd = [int(i) for i in np.argsort(-apart.scores, kind="stable") if apart.odd[i]]
        return [self._oddity(i, self._maps[i], float(apart.scores[i]), limit) for i in odd[:SHOWN]]

    def odd_folders(self) -> list[tuple[OddFolder, bool]]:
        """Folders most of whose images are odd among those of the others, each with whether they are odd all over.

        For that, all images of the folder are left out, since those of another camera explain each other.
        """
        if not self._maps:
            return []
        found = odd_folders(self.images.names, self._scores, FOLDER_DEVIATIONS)
        inside = [np.array([is_in_folder(name, odd.name) for name in self.images.names]) for odd in found]
        if not found:
            return []
        parts = self.parts.copy()
        for number, own in enumerate(inside, int(parts.max()) + 1):
            parts[own] = number
        alone = _typical(list(self.detector.left_out_maps(parts, self.progress)))
        usual = _typical(self._maps)
        ratios = [np.median(alone[own]) / max(float(np.median(usual[~own])), 1e-12) for own in inside]
        return [(odd, bool(ratio > ALL_OVER)) for odd, ratio in zip(found, ratios, strict=True)]

    def swapped_masks(self, defects: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
        """Pairs of defects where each mask fits the anomaly map of the other image."""
        known = {str(sample.path): sample for sample in _evenly(list(defects))}
        engine = open_engine(self.detector.graph().SerializeToString(), "auto")
        samples, ranks, masks = [], [], []
        read = read_ahead(expand(list(known)), self.bit_depth)
        for done, (ref, image, _) in enumerate(read, 1):
            self.progress("masks", min(done, len(known)), len(known))
            sample = known[str(ref.input_path)]
            if isinstance(image, ImageError) or not sample.masks:
                continue
            anomaly_map = engine.run(self.geometry.fit(image)[None])["anomaly_map"][0]  # (h, w)
            marked = self._on_grid(sample, image.shape[:2], anomaly_map.shape)
            if marked is not None and 0 < marked.sum() < marked.size:
                samples.append(sample)
                ranks.append(anomaly_map.ravel().argsort().argsort())
                masks.append(marked.ravel())
        if len(samples) < 2:
            return []
        pairs = swapped_pairs(np.array(ranks, np.float64), np.array(masks, np.float64))
        return [(samples[i], samples[j]) for i, j in pairs]

    def _oddity(self, index: int, anomaly_map: Floats, score: float, limit: float) -> Oddity:
        image = self.images.original(index)
        whole = self.geometry.map_to_image(anomaly_map, image.shape[1], image.shape[0])
        return Oddity(self.images.names[index], image, whole, score, limit)

    def _on_grid(self, sample: Sample, size: tuple[int, ...], grid: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
        """The mask's cells on the anomaly map's grid (h, w), None if it does not fit the image."""
        import cv2

        try:
            mask = mask_of(sample, (size[0], size[1]))
        except DatasetError:
            return None
        fitted = self.geometry.fit(mask[..., None].repeat(3, axis=2).astype(np.uint8) * np.uint8(255))[..., 0]
        return np.asarray(cv2.resize(fitted, grid[::-1], interpolation=cv2.INTER_AREA) > 0)


def _typical(maps: Sequence[Floats]) -> npt.NDArray[np.float64]:
    """What the calmest quarter of each map stays below, `(n,)`."""
    return np.array([np.quantile(anomaly_map, TYPICAL) for anomaly_map in maps], np.float64)


def swapped_pairs(ranks: npt.NDArray[np.float64], masks: npt.NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Pairs of images that go with each other's mask.

    `ranks` are the patches of each anomaly map by rank, from 0, and `masks` the marked ones, both (n, P). The rank sum
    over a mask is the area under its ROC curve (Mann and Whitney 1947), here of every map over every mask at once.
    """
    marked, patches = masks.sum(axis=1), masks.shape[1]
    fit = (ranks @ masks.T - marked * (marked - 1) / 2) / (marked * (patches - marked))  # (n maps, n masks)
    own = np.diag(fit)
    better = (fit > FITS) & (fit - own[:, None] > GAIN)
    return ((i, j) for i, j in combinations(range(len(fit)), 2) if better[i, j] and better[j, i])


def _evenly(items: list[T]) -> list[T]:
    """At most `MOST` of them, evenly chosen."""
    return items[:: -(-len(items) // MOST)] if items else items


def _in_runs(items: list[T]) -> list[T]:
    """At most `MOST` of them, in evenly chosen runs of neighbours."""
    if len(items) <= MOST:
        return items
    starts = np.linspace(0, len(items) - RUN, MOST // RUN).astype(int)
    return [items[int(start) + i] for start in starts for i in range(RUN)]
