"""Time and memory of fitting and predicting with images of 50 megapixels in tiles.

    python benchmarks/large_images.py [--tiles 4x3] [--good 6] [--suffix png]

Prints one line for each step, in a process of its own: seconds and the largest resident memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTH, HEIGHT = 8660, 5773
_STEP = """
import resource, sys, time
from blemish.cli.entry import main
start = time.perf_counter()
code = main(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f"{sys.argv[1]:10} {time.perf_counter() - start:7.1f} s {peak / 1e6:7.2f} GB, exit code {code}")
"""


def main() -> None:
    import cv2
    import numpy as np

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", default="4x3")
    parser.add_argument("--good", type=int, default=6)
    parser.add_argument("--suffix", default="png")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, count in (("good", options.good), ("new", 2)):
            (folder / kind).mkdir()
            for i in range(count):
                image = _surface(np.random.default_rng((i, count)))
                if kind == "new" and i == 1:
                    cv2.circle(image, (6200, 1400), 60, (10, 10, 10), -1)
                cv2.imwrite(str(folder / kind / f"{i}.{options.suffix}"), image)
        model = str(folder / "model")
        run("train", str(folder / "good"), "--output", model, "-o", f"Model.tiles={options.tiles}")
        run("predict", model, str(folder / "new"), "--save_path", str(folder / "results"))


def _surface(random):  # type: ignore[no-untyped-def]
    """A rough surface with grain, BGR (HEIGHT, WIDTH, 3)."""
    import cv2
    import numpy as np

    coarse = random.normal(128, 25, (HEIGHT // 40, WIDTH // 40, 3)).clip(0, 255).astype(np.uint8)
    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    grain = random.integers(0, 24, (HEIGHT, WIDTH, 1), np.uint8)
    return cv2.add(image, np.repeat(grain, 3, axis=2))


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-c", _STEP, *arguments], check=True)


if __name__ == "__main__":
    main()
