"""Draw the pictures of the documentation, from the generated sample alone: `python scripts/make_pictures.py`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from blemish.datasets import generate_sample
from blemish.demo import QUICKSTART_SAMPLE, quickstart

ROOT = Path(__file__).resolve().parent.parent


def make_pictures(folder: Path, sample: dict[str, int]) -> Path:
    """Write `overview.jpg`, what the quickstart draws; returns it."""
    with tempfile.TemporaryDirectory() as scratch:
        data = generate_sample(Path(scratch) / "sample", **sample)
        quickstart(data, Path(scratch), print)
        folder.mkdir(parents=True, exist_ok=True)
        with Image.open(Path(scratch) / "overview.png") as picture:
            picture.save(folder / "overview.jpg", quality=90, subsampling=0, optimize=True)
    return folder / "overview.jpg"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--size", type=int, default=QUICKSTART_SAMPLE["size"], help="side of the images in pixels")
    parser.add_argument("--train", type=int, default=QUICKSTART_SAMPLE["train"], help="how many good images")
    given = parser.parse_args()
    make_pictures(given.output, {"train": given.train, "size": given.size})
