"""Draw the pictures of the documentation, from the generated sample alone: `python scripts/make_pictures.py`.

The tutorials' come from the tutorials' own commands. With `--work DIR` the models stay there and are used again.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from blemish import create_model
from blemish.cli import main
from blemish.datasets import generate_sample
from blemish.demo import QUICKSTART_SAMPLE, quickstart
from blemish.pipeline.overview import Entry, draw_overview

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("good", "crack", "hole", "print", "scratch")
STUDY = "Train.learning_rate=0.01,0.1,0.4", "Train.epochs_iters=30,100"  # of docs/tutorials/food-inspection.md
CRACK = "crack/004.png"  # the nut of docs/tutorials/pipeline.md
WIDTH = 1000  # pixels of a tutorial's picture


def make_pictures(folder: Path, work: Path, sample: dict[str, int], iterations: int | None) -> None:
    """Write the pictures into `folder`; `iterations` of the trainings are their default where None."""
    folder.mkdir(parents=True, exist_ok=True)
    data = generate_sample(work / "sample", **sample)
    quickstart(data, work, print)
    with Image.open(work / "overview.png") as picture:
        picture.save(folder / "overview.jpg", quality=90, subsampling=0, optimize=True)
    save(side_by_side(work / "model", data / "test" / CRACK), folder / "tutorial-pipeline.jpg")
    shorter = [] if iterations is None else ["-o", f"Train.epochs_iters={iterations}"]
    study = ["-o", STUDY[0], "-o", STUDY[1]] if iterations is None else ["-o", "Train.learning_rate=0.1,0.4", *shorter]
    for name, page in (("STFPM", "module"), ("FastFlow", "fastflow")):
        if not (work / name / "best_model").exists():
            run("train", data, "--model", name, "--output", work / name, *shorter)
        save(overview(name, work / name, data / "test"), folder / f"tutorial-{page}.jpg")
    run("tune", data, "--model", "STFPM", *study, "--output", work / "tune")
    for name in ("tune", "planted"):
        with Image.open(work / "tune" / f"{name}.png") as picture:
            save(np.asarray(picture.convert("RGB")), folder / f"tutorial-{name}.jpg")


def run(*arguments: object) -> None:
    """A command; it must succeed."""
    code = main([str(argument) for argument in arguments])
    if code:
        raise SystemExit(code)


def side_by_side(model: Path, image: Path) -> npt.NDArray[np.uint8]:
    """An image, its heat map and its overlay (H, 3 W, 3)."""
    result = next(create_model(model).predict(image))
    drawn = result.img
    return np.hstack([np.asarray(drawing) for drawing in (result.image, drawn["heat_map"], drawn["res"])])


def overview(name: str, model: Path, test: Path) -> npt.NDArray[np.uint8]:
    """The first test image of each kind, unselected."""
    entries, threshold = [], 0.0
    images = [test / kind / "000.png" for kind in KINDS]
    for kind, result in zip(KINDS, create_model(model).predict(images), strict=True):
        assert result.image is not None and result.anomaly_map is not None
        caption = f"{result.name.name}, score {result.score:.1f}"
        entries.append(Entry(kind, caption, bool(result.is_anomalous), result.image, result.anomaly_map))
        threshold = result["pixel_threshold"]
    return draw_overview(entries, threshold, title=name, caption="The first test image of each folder")


def save(picture: npt.NDArray[np.uint8], path: Path) -> None:
    """As JPEG, at most `WIDTH` wide."""
    image = Image.fromarray(picture)
    image.thumbnail((WIDTH, 10 * WIDTH), Image.Resampling.LANCZOS)
    image.save(path, quality=85, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--work", type=Path, help="where models are kept; default: nowhere")
    parser.add_argument("--size", type=int, default=QUICKSTART_SAMPLE["size"], help="side of the images in pixels")
    parser.add_argument("--train", type=int, default=QUICKSTART_SAMPLE["train"], help="how many good images")
    parser.add_argument("--iterations", type=int, help="of each training; default: as the tutorials have it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        numbers = {"train": given.train, "size": given.size}
        make_pictures(given.output, given.work or Path(scratch), numbers, given.iterations)
