"""The sample data set: procedural photographs of hazelnuts, good and with four kinds of defects, in MVTec layout.

Everything is drawn by numpy and OpenCV from a seed, so demo, tests and documentation need no data of others.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish import __version__
from blemish.datasets.files import PARTIAL, write_whole
from blemish.datasets.sample.camera import expose, sense
from blemish.datasets.sample.defects import DEFECTS
from blemish.datasets.sample.part import Floats, grow_part
from blemish.errors import DatasetError, UsageError

Image = npt.NDArray[np.uint8]

RECIPE = 1  # raise it whenever the same seed draws other pixels
VISIBLE = 7.0  # grey levels by which a defect must change a pixel to be marked: about five times the sensor's noise
VISIBLE_SHARE = 0.0003  # of the picture that it must change at the least
TRIES = 50


def generate_sample(
    folder: Path, *, seed: int = 0, train: int = 60, good: int = 16, per_defect: int = 6, size: int = 512
) -> Path:
    """Write the sample set into `folder` (made if missing) and return it.

    Gives `train/good`, `test/good`, `test/<defect>` with `train`, `good` and `per_defect` PNG images of `size` x `size`
    pixels, and `ground_truth/<defect>/<stem>_mask.png` with 255 where the defect shows. Each image depends on `seed`,
    its split and its number alone. A set that was left incomplete is completed; files there are not drawn again.

    Raises `UsageError` for numbers out of range, and `DatasetError` for a folder that holds anything else.
    """
    _check_numbers(seed, train, good, per_defect, size)
    counts = {"train/good": train, "test/good": good} | {f"test/{defect}": per_defect for defect in DEFECTS}
    _check_folder(folder, _recipe(seed, size), counts)
    if not (folder / "README.txt").exists():
        write_whole(folder / "README.txt", _note(seed, size).encode())
    for split, count in counts.items():
        for index in range(count):
            _complete(folder, seed, split, index, size)
    return folder


def render_part(rng: np.random.Generator, size: int) -> Image:
    """A photograph of a good hazelnut, uint8 (size, size, 3) RGB."""
    part_rng, camera_seed, noise_rng, _ = _streams(rng)
    part = grow_part(part_rng, size)
    return sense(expose(part, np.random.default_rng(camera_seed)), noise_rng)


def render_defect(rng: np.random.Generator, size: int, defect: str) -> tuple[Image, Image]:
    """The nut that `render_part` gives for this `rng`, with a defect: image (size, size, 3), mask (size, size) 0 / 255.

    The mask is where the picture before noise differs by more than `VISIBLE` levels from that of the unharmed nut. A
    defect that would hardly show, in deep shade say, is drawn anew.
    """
    _, picture, mask, noise_rng = _harmed(rng, size, defect)
    return sense(picture, noise_rng), mask


def defect_change(rng: np.random.Generator, size: int, defect: str) -> Floats:
    """What a defect changes in the photograph of a nut, before noise: grey levels (size, size, 3), mostly 0."""
    good, picture, _, _ = _harmed(rng, size, defect)
    return np.asarray(picture - good, np.float32)


def _harmed(rng: np.random.Generator, size: int, defect: str) -> tuple[Floats, Floats, Image, np.random.Generator]:
    """The pictures of the unharmed and the harmed nut, the mask of what differs, and the source of the noise."""
    part_rng, camera_seed, noise_rng, defect_rng = _streams(rng)
    part = grow_part(part_rng, size)
    good = expose(part, np.random.default_rng(camera_seed))
    for _ in range(TRIES):
        picture = expose(DEFECTS[defect](part, defect_rng), np.random.default_rng(camera_seed))
        mask = _difference(good, picture)
        if np.count_nonzero(mask) >= VISIBLE_SHARE * mask.size:
            return good, picture, mask, noise_rng
    raise RuntimeError(f"No visible {defect} in {TRIES} attempts at {size} pixels.")


def _streams(rng: np.random.Generator) -> tuple[np.random.Generator, int, np.random.Generator, np.random.Generator]:
    """For the part, the camera (a seed, to take the same photograph twice), the noise and the defect."""
    part, camera, noise, defect = (int(seed) for seed in rng.integers(2**63, size=4))
    return np.random.default_rng(part), camera, np.random.default_rng(noise), np.random.default_rng(defect)


def _difference(good: Floats, picture: Floats) -> Image:
    """255 where any colour differs visibly, single specks removed; (h, w)."""
    import cv2

    apart = np.abs(picture - good) > VISIBLE  # (h, w, 3)
    changed = (apart[..., 0] | apart[..., 1] | apart[..., 2]).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(changed, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= 3
    keep[0] = False
    return np.asarray(keep[labels] * np.uint8(255), np.uint8)


def _check_numbers(seed: int, train: int, good: int, per_defect: int, size: int) -> None:
    """Refuse what cannot be drawn."""
    for name, value, least in (
        ("seed", seed, 0),
        ("train", train, 0),
        ("good", good, 0),
        ("per_defect", per_defect, 0),
    ):
        if value < least:
            raise UsageError(f"Sample set: `{name}` is {value}; it must be {least} or more.")
    if not 64 <= size <= 4096:
        raise UsageError(f"Sample set: `size` is {size}; it must be 64 to 4096 pixels.")


def _recipe(seed: int, size: int) -> str:
    """The line that says which pixels the set holds; equal lines mean equal images."""
    return f"Recipe {RECIPE}, seed {seed}, {size} x {size} pixels."


def _note(seed: int, size: int) -> str:
    """The text of README.txt."""
    return (
        f"{_recipe(seed, size)}\n\n"
        f"Drawn by blemish {__version__}, generate_sample(seed={seed}, size={size}): not photographs, but procedural\n"
        "images of hazelnuts. train/good and test/good hold good parts, test/<defect> defective ones, and\n"
        "ground_truth/<defect>/<stem>_mask.png is 255 where the defect changed the picture.\n"
    )


def _check_folder(folder: Path, recipe: str, counts: dict[str, int]) -> None:
    """Refuse a folder that is not missing, empty, or a part of this very set."""
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is a file; name a new folder for the sample set.")
    expected = {Path("README.txt"), *_files(counts)}
    found = {file.relative_to(folder) for file in folder.rglob("*") if not file.is_dir()} if folder.is_dir() else set()
    foreign = sorted(file for file in found - expected if not file.name.endswith(PARTIAL))
    if foreign:
        raise DatasetError(f"{folder} holds {foreign[0]}, no part of this sample set; name a new or empty folder.")
    if found and not _is_own(folder / "README.txt", recipe):
        raise DatasetError(f"{folder} holds another sample set than `{recipe}`; name a new or empty folder.")


def _is_own(note: Path, recipe: str) -> bool:
    """Whether README.txt begins with this recipe."""
    if not note.is_file():
        return False
    with note.open("rb") as file:
        return file.read(len(recipe.encode())) == recipe.encode()


def _files(counts: dict[str, int]) -> Iterator[Path]:
    """Paths of all images and masks of the set, within its folder."""
    for split, count in counts.items():
        for index in range(count):
            yield from _pair(split, index)


def _pair(split: str, index: int) -> list[Path]:
    """Path of one image, and of its mask where it has a defect."""
    kind, name = split.split("/")
    image = Path(kind, name, f"{index:03d}.png")
    return [image] if name == "good" else [image, Path("ground_truth", name, f"{index:03d}_mask.png")]


def _complete(folder: Path, seed: int, split: str, index: int, size: int) -> None:
    """Draw and write one image, and its mask, unless they are there."""
    files = [folder / file for file in _pair(split, index)]
    if all(file.exists() for file in files):
        return
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), index])
    defect = split.split("/")[1]
    pictures = [render_part(rng, size)] if defect == "good" else render_defect(rng, size, defect)
    for file, picture in zip(files, pictures, strict=True):
        write_whole(file, _png(picture))


def _png(picture: Image) -> bytes:
    """RGB (h, w, 3) or grey (h, w) as a PNG file, packed fast rather than tightly."""
    import cv2

    bgr = picture[..., ::-1] if picture.ndim == 3 else picture
    fast = [
        cv2.IMWRITE_PNG_STRATEGY,
        cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY,
        cv2.IMWRITE_PNG_FILTER,
        cv2.IMWRITE_PNG_FILTER_AVG,
    ]
    return cv2.imencode(".png", np.ascontiguousarray(bgr), fast)[1].tobytes()
