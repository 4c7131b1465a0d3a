"""Files as annotation tools write them, and what a conversion made of them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from command import ROOT

WIDTH, HEIGHT = 40, 30


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """A small image of noise (H, W, 3) in the format that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def labelme(path: Path, image: str, *shapes: dict, **more: object) -> Path:
    """A LabelMe 5 file."""
    content = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": image, "imageData": None}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, "imageHeight": HEIGHT, "imageWidth": WIDTH, **more}), encoding="utf-8")
    return path


def shape(label: str, points: list, kind: str = "polygon", **more: object) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def square(label: str, x: int, y: int, side: int) -> dict:
    """A polygon of `side` x `side` pixels."""
    return shape(label, [[x, y], [x + side - 1, y], [x + side - 1, y + side - 1], [x, y + side - 1]])


def read_mask(path: Path) -> np.ndarray:
    """A mask (H, W), after a look that it is one."""
    mask = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert mask.ndim == 2 and mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 255}
    return mask


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def names(folder: Path) -> set[str]:
    """The files of a converted set without the record."""
    return set(tree(folder)) - {"conversion.json"}


KILLED = """
import os, signal, sys
from pathlib import Path
rename, countdown = Path.replace, [int(sys.argv[1])]
def replace(self, target):
    countdown[0] -= 1
    if countdown[0] == 0: os.kill(os.getpid(), signal.SIGKILL)
    result = rename(self, target)
    if countdown[0] == 1 and sys.argv[2] == "after": os.kill(os.getpid(), signal.SIGKILL)
    return result
Path.replace = replace
from blemish.cli import main
sys.exit(main(sys.argv[3:]))
"""


def killed_at(rename: int, moment: str, *arguments: object) -> bool:
    """Run a command that is killed -9 before its n-th rename, or after the one before; False if it ended earlier."""
    command = [sys.executable, "-c", KILLED, str(rename), moment, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode in (0, 1, -signal.SIGKILL) and "Traceback" not in done.stderr, done.stderr
    return done.returncode < 0


def json_file(path: Path, content: object) -> Path:
    """A JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def sorted_into(output: Path) -> dict[str, set[str]]:
    """The images of a converted set by split and kind; a training and an evaluation must see the same."""
    from blemish.datasets import load_dataset

    laid_out: dict[str, set[str]] = {}
    for name in names(output):
        if not name.startswith("ground_truth/"):
            laid_out.setdefault(name.rpartition("/")[0], set()).add(name.rpartition("/")[2])
    if "train/good" in laid_out:
        dataset = load_dataset(output)
        read: dict[str, set[str]] = {}
        for sample in (*dataset.train, *dataset.test):
            read.setdefault(f"{sample.split}/{sample.kind}", set()).add(sample.path.name)
        assert read == laid_out
    return laid_out


def area(output: Path, kind: str, stem: str) -> int:
    """How many pixels the mask of a defect marks."""
    return int((read_mask(output / "ground_truth" / kind / f"{stem}_mask.png") > 0).sum())
