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

from blemish.calibration import find_parts
from blemish.datasets import GoodImages, Sample
from blemish.datasets.masks import read_masks
from blemish.detectors import Progress, Setting
from blemish.detectors.patchcore import PatchCore
from blemish.engines import open_engine
from blemish.errors import DatasetError, ImageError
from blemish.framing import PIXELS
from blemish.images import Frame, InputGeometry, expand, read_ahead
from blemish.sample_range import SampleRange
from blemish.training_images import TrainingImages, typical_sizes

LEAST = 10  # images; fewer do not tell what is usual
MOST = 300  # images looked at, evenly chosen from more
SHOWN = 10
# Robust standard deviations of the logarithm of the score. The good images of MVTec's bottle, grid and screw and of
# three smaller sets have 0 or 1 image beyond 5.5; of 18 defects planted among them, 11 lie beyond it.
DEVIATIONS = 5.5
MAD_TO_SIGMA = 1.4826
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
        chosen = _evenly(list(zip(good.paths, good.names, strict=True)))
        self.good = GoodImages(good.root, *(tuple(column) for column in zip(*chosen, strict=True)))
        self.bit_depth, self.progress = bit_depth, progress
        self.geometry = InputGeometry.for_images(typical_sizes(self.good, bit_depth), PIXELS["fast"])
        self.images = TrainingImages(
            self.good, Frame.whole(self.geometry), bit_depth, 1 << 30, lambda _done, _total: None
        )
        setting = Setting(self.geometry.width, self.geometry.height, preset="fast")
        self.detector = PatchCore(setting).fit(self.images.inputs, progress)

    def odd_images(self) -> list[Oddity]:
        """Good images beyond the median by `DEVIATIONS` of the logarithm of the leave-one-part-out score; worst first.

        The deviation is estimated by the median absolute deviation, which odd images hardly move (Leys et al. 2013,
        "Detecting outliers").
        """
        parts = find_parts(self.detector.embeddings)
        if len(np.unique(parts)) < LEAST:
            return []
        maps = list(self.detector.left_out_maps(parts, self.progress))
        scores = np.array([anomaly_map.max() for anomaly_map in maps], np.float64)
        limit = outlier_limit(scores)
        odd = [int(i) for i in np.argsort(-scores, kind="stable")[:SHOWN] if scores[i] > limit]
        return [self._oddity(i, maps[i], float(scores[i]), limit) for i in odd]

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
            mask = read_masks(sample.masks, (size[0], size[1]))
        except DatasetError:
            return None
        fitted = self.geometry.fit(mask[..., None].repeat(3, axis=2).astype(np.uint8) * np.uint8(255))[..., 0]
        return np.asarray(cv2.resize(fitted, grid[::-1], interpolation=cv2.INTER_AREA) > 0)


def outlier_limit(scores: npt.NDArray[np.float64]) -> float:
    """The score beyond which a good image is odd; infinite where all are alike."""
    logs = np.log(np.maximum(scores, 1e-12))
    middle = float(np.median(logs))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(logs - middle)))
    return float(np.exp(middle + DEVIATIONS * spread)) if spread > 0 else float("inf")


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
