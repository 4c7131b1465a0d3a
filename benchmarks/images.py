"""The images that benchmarks look at: a folder's, brought to one size and format, or generated ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
SIZE, BODY = 900, 512  # pixels, width and height
JPEG_QUALITY = 95


def prepared(data: Path, work: Path) -> tuple[Path, str]:
    """The folder as PNG files of 900x900 pixels, in its layout, and how they came to be.

    Files that are so already are taken as they are; others are enlarged or reduced.
    """
    import cv2

    target = work / "png"
    files = [path for path in sorted(data.rglob("*")) if path.is_file() and "ground_truth" not in path.parts]
    images = [path for path in files if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp")]
    first = read(images[0])
    for path in images:
        made = target / path.relative_to(data).with_suffix(".png")
        made.parent.mkdir(parents=True, exist_ok=True)
        image = read(path)
        if path.suffix == ".png" and image.shape[:2] == (SIZE, SIZE):
            shutil.copy(path, made)
        else:
            enlarges = image.shape[0] < SIZE
            way = cv2.INTER_CUBIC if enlarges else cv2.INTER_AREA
            cv2.imwrite(str(made), cv2.resize(image, (SIZE, SIZE), interpolation=way))
    return target, _in_words(data.name, target, images[0].suffix, first)


def _in_words(name: str, target: Path, suffix: str, first: Image) -> str:
    train = [path.stat().st_size for path in (target / "train" / "good").iterdir()]
    size = f"{np.mean(train) / 1e3:.0f} KB on average"
    text = f"{name}: {len(train)} good images to learn from, PNG of {SIZE}x{SIZE}, {size}"
    if first.shape[:2] == (SIZE, SIZE) and suffix == ".png":
        return text
    return f"{text}, made from {suffix[1:].upper()} files of {first.shape[1]}x{first.shape[0]}"


def as_jpeg(files: Iterable[Path], folder: Path, count: int) -> Path:
    """So many JPEG files of the images, colours at half resolution as cameras write them; copies fill up."""
    import cv2

    folder.mkdir()
    pictures = [read(path) for path in files]
    for number in range(count):
        written = pictures[number % len(pictures)]
        cv2.imwrite(str(folder / f"{number:04}.jpg"), written, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return folder


def is_good(path: Path) -> bool:
    return path.parent.name == "good"


def as_bodies(good: Sequence[Path], defects: Sequence[Path], folder: Path, first: int, count: int) -> None:
    """JPEG files of 512x512 pixels, every tenth a defect; when the images begin again, they are a little darker."""
    import cv2

    folder.mkdir()
    for number in range(first, first + count):
        files, index = (defects, number // 10) if number % 10 == 9 else (good, number - number // 10)
        small = cv2.resize(read(files[index % len(files)]), (BODY, BODY), interpolation=cv2.INTER_AREA)
        darker = cv2.subtract(small, np.full_like(small, index // len(files)))
        cv2.imwrite(str(folder / f"{number:05}.jpg"), darker, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def read(path: Path) -> Image:
    """A file as OpenCV reads it, BGR (height, width, 3)."""
    import cv2

    image = cv2.imread(str(path))
    assert image is not None, path
    return image.astype(np.uint8, copy=False)


def picture(seed: int) -> Image:
    """A ring on brushed ground (900, 900, 3)."""
    import cv2

    random = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(random.normal(0, 40, (SIZE, SIZE)).astype(np.float32), (31, 1), 0)
    cv2.circle(ground, (SIZE // 2, SIZE // 2), SIZE // 3, 80.0, SIZE // 12)
    noisy = 140 + ground[..., None] + random.normal(0, 2, (SIZE, SIZE, 3))
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def brushed_plate(seed: int, size: int = 256) -> Image:
    """A small brushed plate, grey (size, size)."""
    import cv2

    random = np.random.default_rng(seed)
    grain = random.normal(0, 60, (size, size // 16)).astype(np.float32)
    grey = 140 + cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC) + random.normal(0, 8)
    return np.asarray(np.clip(grey, 0, 255), np.uint8)


def surface(random: np.random.Generator, width: int, height: int) -> Image:
    """A rough surface with grain, (height, width, 3)."""
    import cv2

    coarse = random.normal(128, 25, (height // 40, width // 40, 3)).clip(0, 255).astype(np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = random.integers(0, 24, (height, width, 1), np.uint8)
    return np.asarray(cv2.add(image, np.repeat(grain, 3, axis=2)))
