"""Peak memory of a fit on many images: `python benchmarks/memory_10000.py [--images 10000] [--budget 2GB]`.

Writes that many small generated images into a temporary folder, fits the preset fast on them in a process of its own,
and prints the stages' seconds and the peak of the resident memory.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from blemish.config import load_config
from blemish.fitting import fit

PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


def write_images(folder: Path, count: int, size: int = 256) -> None:
    """Brushed plates, every one different."""
    for number in range(count):
        random = np.random.default_rng(number)
        grain = random.normal(0, 60, (size, size // 16)).astype(np.float32)
        grey = 140 + cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC) + random.normal(0, 8)
        cv2.imwrite(str(folder / f"{number:05}.jpg"), np.clip(grey, 0, 255).astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--budget", default="2GB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        data.mkdir()
        write_images(data, arguments.images)
        settings = [f"Global.dataset_dir={data}", f"Global.output={name}/out", "Model.preset=fast"]
        report = fit(load_config(None, [*settings, f"Model.memory_budget={arguments.budget}"]))
    for stage, seconds in report.seconds.items():
        print(f"{stage:12} {seconds:8.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
    print(f"{arguments.images} images, budget {arguments.budget}: peak {peak / 1e9:.2f} GB. {report.lines[0]}")


if __name__ == "__main__":
    main()
