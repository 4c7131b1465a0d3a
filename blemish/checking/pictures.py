"""Pictures for a person: some images with what their masks mark, and the odd good images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.checking.oddities import Oddity
from blemish.checking.survey import ImageFacts
from blemish.datasets.masks.reading import mask_of
from blemish.images import expand
from blemish.sample_range import SampleRange

DEMO_IMAGES = 10
LONGEST_SIDE = 1024
JPEG_QUALITY = 92
FILL, COVER = (240, 40, 60), 0.3  # RGB; how much of it lies over the defect
LONGEST_NAME = 60

Image = npt.NDArray[np.uint8]


def choose(images: Sequence[ImageFacts], split: str) -> list[ImageFacts]:
    """At most ten readable images of a split: of every kind in turn, evenly chosen within it."""
    kinds: dict[str, list[ImageFacts]] = defaultdict(list)
    for facts in images:
        if facts.sample.split == split and facts.is_readable:
            kinds[facts.sample.kind].append(facts)
    share = -(-DEMO_IMAGES // max(1, len(kinds)))
    spread = [group[:: -(-len(group) // share)] for group in kinds.values()]
    rest = [[facts for facts in group if facts not in some] for group, some in zip(kinds.values(), spread, strict=True)]
    in_turn = chain(*zip_longest(*spread), *zip_longest(*rest))
    return [facts for facts in in_turn if facts is not None][:DEMO_IMAGES]


def save_demo_images(images: Sequence[ImageFacts], folder: Path, bit_depth: SampleRange) -> list[str]:
    """Each image with its mask drawn on, as JPEG; returns the names of the files."""
    folder.mkdir(parents=True)
    names = []
    for number, facts in enumerate(images):
        sample = facts.sample
        image = next(iter(expand(sample.path))).read(bit_depth)
        mask = facts.mask
        if mask is not None and mask.share:
            picture = mark(image, mask_of(sample, (image.shape[0], image.shape[1])))
        else:
            picture = _shown(image)
        names.append(_save(folder, number, f"{sample.kind}_{sample.path.stem}", picture))
    return names


def save_oddities(oddities: Sequence[Oddity], folder: Path) -> list[str]:
    """Image, heat map and overlay of each, as JPEG; returns the names of the files."""
    from blemish.pipeline.overview import Entry, draw_overview

    if oddities:
        folder.mkdir(parents=True)
    names = []
    for number, odd in enumerate(oddities):
        caption = f"score {odd.score:.3g}; beyond {odd.limit:.3g} a good image is odd"
        entry = Entry(odd.name, caption, None, odd.image, odd.anomaly_map)
        names.append(_save(folder, number, Path(odd.name).stem, draw_overview([entry], odd.limit)))
    return names


def mark(image: Image, mask: npt.NDArray[np.bool_]) -> Image:
    """The image (H, W, 3), at most 1,024 pixels long, with what the mask (H, W) marks softly filled and outlined."""
    import cv2

    from blemish.pipeline.drawing import draw_contours

    picture = _shown(image)
    height, width = picture.shape[:2]
    inside = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)  # (height, width)
    cover = np.minimum(inside * COVER, COVER)[..., None]
    filled = np.rint(picture * (1 - cover) + np.array(FILL) * cover).astype(np.uint8)
    # of a tiny defect on a large image, a pixel holds only a part
    level = min(0.5, 0.5 * float(inside.max()))
    return draw_contours(filled, np.asarray(inside, np.float32), level, max(1.2, (height + width) / 900))


def _shown(image: Image) -> Image:
    """The image at most 1,024 pixels long."""
    import cv2

    scale = LONGEST_SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _save(folder: Path, number: int, name: str, picture: Image) -> str:
    import cv2

    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:LONGEST_NAME]
    file = f"{number:02d}_{plain}.jpg"
    encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    (folder / file).write_bytes(encoded.tobytes())
    return file
