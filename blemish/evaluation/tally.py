"""What is kept of each image as it passes by: its verdict, its pixels, a picture where it is worth a look."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.datasets import Sample
from blemish.datasets.files import file_hash
from blemish.datasets.masks.reading import MaskRemark, read_masks_of
from blemish.evaluation.parts import Parts
from blemish.evaluation.pictures import Gallery
from blemish.metrics import PixelScores
from blemish.pipeline import Result
from blemish.report import Judged

log = logging.getLogger("blemish")


class Tally:
    """Takes results one by one; no picture and no map of full size stays, but what the pixel metrics need.

    That is in memory, and beyond a bound in a temporary file in `folder`; without a folder, no pixel is counted.

    Attributes:
        parts: the same results by the parts that they show.
        images: one record an image, in the order of the data set.
        pixels: map values of all good images, and of the defective ones whose mask is known.
        masked: how many defective images had a mask.
        unmasked: the defective images without a mask, or with an empty one.
        problems: one line for each mask that cannot be used.
        odd_masks: what else is odd about masks, with the name of the image.
        hashes: SHA-256 of every image and mask file by its name.
        sizes: how many images have a size, by `WxH`.
    """

    def __init__(self, parts: Parts, folder: Path | None = None) -> None:
        self.parts = parts
        self.images: list[Judged] = []
        self.pixels = PixelScores(folder=folder)
        self._counts_pixels = folder is not None
        self.gallery = Gallery()
        self.masked = 0
        self.unmasked: list[str] = []
        self.problems: list[str] = []
        self.odd_masks: list[tuple[str, MaskRemark]] = []
        self.hashes: dict[str, str] = {}
        self.sizes: Counter[str] = Counter()

    def add(self, sample: Sample, result: Result) -> None:
        """Take one result."""
        name = sample.name if result.page_index is None else f"{sample.name}[{result.page_index}]"
        self._hash(sample)
        part = self.parts.add(sample, result, name)
        if result.error is not None:
            failed = Judged(name=name, kind=sample.kind, is_good=sample.is_good, part=part, error=result.error)
            self.images.append(failed)
            return
        assert result.size is not None
        self.sizes["{}x{}".format(*result.size)] += 1
        mask = self._mask(sample, result, name)
        judged = replace(_judged(sample, result, name, mask), part=part)
        self.images.append(judged)
        self.gallery.add(judged, result, mask)
        if self._counts_pixels and (sample.is_good or mask is not None):
            assert result.anomaly_map is not None
            self.pixels.add(result.anomaly_map, mask)

    def _hash(self, sample: Sample) -> None:
        named = {sample.name: sample.path}
        named |= {f"{sample.name} mask {number}": mask for number, mask in enumerate(sample.masks, 1)}
        for name, path in named.items():
            try:
                self.hashes.setdefault(name, file_hash(path))
            except OSError as error:
                log.debug("%s is not part of the fingerprint: %s", path, error.strerror)

    def _mask(self, sample: Sample, result: Result, name: str) -> npt.NDArray[np.bool_] | None:
        """The mask of a defective image, None where none can be used. Masks of good ones are looked at."""
        mask = None
        if sample.masks and result.page_index is None:
            assert result.size is not None
            reading = read_masks_of(sample, result.size[::-1])
            self._keep(name, reading.remarks)
            if sample.is_good or reading.marked is None:
                return None
            mask = reading.marked if reading.share else None
        if mask is not None:
            self.masked += 1
        elif not sample.is_good:
            self.unmasked.append(name)
        return mask

    def _keep(self, name: str, remarks: Sequence[MaskRemark]) -> None:
        """Keep what is odd about the masks of an image."""
        for remark in remarks:
            if remark.is_problem:
                self.problems.append(f"{remark.paths[0]}: {remark.message}")
                log.warning("%s", self.problems[-1])
            else:
                self.odd_masks.append((name, remark))


def _judged(sample: Sample, result: Result, name: str, mask: npt.NDArray[np.bool_] | None) -> Judged:
    assert result.anomaly_map is not None
    return Judged(
        name=name,
        kind=sample.kind,
        is_good=sample.is_good,
        score=result.score,
        p_value=result.p_value,
        is_anomalous=result.is_anomalous,
        peak=float(result.anomaly_map.max()),
        regions=len(result.regions),
        mask_iou=None if mask is None else _overlap(result, mask),
    )


def _overlap(result: Result, mask: npt.NDArray[np.bool_]) -> float:
    """Intersection over union of what was marked and the mask, which is not empty."""
    marked = np.asarray(result.pred) > 0  # (H, W)
    return float(np.sum(marked & mask) / np.sum(marked | mask))
