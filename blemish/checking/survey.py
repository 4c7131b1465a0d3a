"""Every image and mask of a data set read once, and what the audits need to know of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.checking.duplicates import detail
from blemish.checking.stored import Stored, stored_as
from blemish.datasets import Dataset, Sample
from blemish.datasets.masks.reading import MaskRemark, read_masks_of
from blemish.errors import ImageError
from blemish.images import ImageRef, SampleMeter, Span, decode_samples, expand
from blemish.images.headers import depth_and_alpha
from blemish.images.kinds import image_format
from blemish.sample_range import SampleRange

WORKERS = 2
HEADER_BYTES = 4096


@dataclass(frozen=True)
class MaskFacts:
    """What is known of an image's masks together; `share` is the marked part, `digest` stands for the pixels."""

    remarks: tuple[MaskRemark, ...]
    share: float = 0.0
    digest: bytes = b""


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image; `detail` is its fingerprint for near duplicates, `digest` stands for its pixels."""

    sample: Sample
    mask: MaskFacts | None = None
    missing: bool = False
    problem: str = ""
    size: tuple[int, int] = (0, 0)  # width, height
    is_grey: bool = False
    bits: int = 8
    has_alpha: bool = False
    stored: Stored = field(default_factory=Stored)
    span: Span | None = None  # of its samples, where they have more than 8 bits
    digest: bytes = b""
    detail: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32), repr=False, compare=False)

    @property
    def is_readable(self) -> bool:
        return not self.missing and not self.problem


def survey(dataset: Dataset, bit_depth: SampleRange, advance: Callable[[int, int], None]) -> list[ImageFacts]:
    """The facts of all training images, then of all test images, in the data set's order."""
    samples = dataset.train + dataset.test
    facts = []
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="blemish-check") as pool:
        for done, found in enumerate(pool.map(lambda sample: _image_facts(sample, bit_depth), samples), 1):
            facts.append(found)
            advance(done, len(samples))
    return facts


def _image_facts(sample: Sample, bit_depth: SampleRange) -> ImageFacts:
    if not sample.path.exists():
        return ImageFacts(sample, _mask_facts(sample, None), missing=True)
    try:
        meter = SampleMeter()
        image = next(_refs(sample.path)).read(bit_depth.metered(meter))  # (H, W, 3), read as the training reads it
        bits, has_alpha, stored = _stored(sample.path)
    except (ImageError, OSError) as error:
        return ImageFacts(sample, _mask_facts(sample, None), problem=str(error).removeprefix(f"{sample.path}: "))
    red, green, blue = np.moveaxis(image, 2, 0)
    return ImageFacts(
        sample,
        _mask_facts(sample, (image.shape[0], image.shape[1])),
        size=(image.shape[1], image.shape[0]),
        is_grey=np.array_equal(red, green) and np.array_equal(green, blue),
        bits=bits,
        has_alpha=has_alpha,
        stored=stored,
        span=meter.span,
        digest=_digest(image),
        detail=detail(image),
    )


def _refs(path: Path) -> Iterator[ImageRef]:
    return expand(path)


def _stored(path: Path) -> tuple[int, bool, Stored]:
    """Bits per sample, whether there is transparency, and how the file stores its pixels."""
    with path.open("rb") as file:
        data = file.read(HEADER_BYTES)
    kind = image_format(data) or ""
    stored = stored_as(path, kind)
    if kind != "TIFF":
        return *depth_and_alpha(data, kind), stored
    data = path.read_bytes()
    bits = 16 if decode_samples(data, str(path)).dtype == np.uint16 else 8
    return bits, depth_and_alpha(data, kind)[1], stored


def _mask_facts(sample: Sample, size: tuple[int, int] | None) -> MaskFacts | None:
    """What the masks of an image of (height, width) hold; None if it has none."""
    if not sample.masks:
        return None
    reading = read_masks_of(sample, size)
    digest = b"" if reading.marked is None else _digest(reading.marked)
    return MaskFacts(reading.remarks, reading.share, digest)


def _digest(pixels: npt.NDArray[np.generic]) -> bytes:
    """Stands for size and pixels: equal for equal pictures, whatever files they lie in."""
    salt = str(pixels.shape[:2]).encode()[:16]
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16, salt=salt).digest()
