"""A small data set of brushed plates, good and scratched, in MVTec layout."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIZE = (120, 160)  # rows, columns


def plate(seed: int) -> np.ndarray:
    """A good plate (H, W, 3), BGR: brushed metal with a warm tint, every one a little different."""
    random = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(random.normal(0, 30, SIZE).astype(np.float32), (31, 1), 0)  # (H, W)
    grey = np.clip(150 + grain + random.normal(0, 3), 0, 255).astype(np.uint8)
    return cv2.merge([grey, grey, np.clip(grey.astype(int) + 15, 0, 255).astype(np.uint8)])


def scratched(seed: int, start: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A plate with a dark scratch from `start` (x, y), and its mask (H, W) of {0, 255}."""
    picture, mask = plate(seed), np.zeros(SIZE, np.uint8)
    end = (start[0] + 25, start[1] + 18)
    cv2.line(picture, start, end, (10, 10, 10), 6)
    cv2.line(mask, start, end, 255, 6)
    return picture, mask


def write(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())
    return path


def write_set(root: Path, train: int = 16, good: int = 4, defects: int = 4) -> Path:
    """`train/good`, `test/good`, `test/scratch` and the masks; the scratches lie apart from each other."""
    for number in range(train):
        write(root / "train" / "good" / f"{number:03}.png", plate(number))
    for number in range(good):
        write(root / "test" / "good" / f"{number:03}.png", plate(100 + number))
    for number in range(defects):
        picture, mask = scratched(200 + number, (10 + 60 * (number % 2), 10 + 60 * (number // 2 % 2)))
        write(root / "test" / "scratch" / f"{number:03}.png", picture)
        write(root / "ground_truth" / "scratch" / f"{number:03}_mask.png", mask)
    return root
