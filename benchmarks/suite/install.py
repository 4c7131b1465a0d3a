"""`pip install` of the base package into an empty environment: packages, megabytes, seconds.

pip and setuptools, which every environment has, do not count.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.process import command
from benchmarks.record import Figures
from benchmarks.world import World

ON_DATA = False
ROOT = Path(__file__).resolve().parents[2]


def measure(world: World, extras: str = "") -> Iterator[Figures]:
    """`extras`: as in `openvino,decode`."""
    folder = world.work / "environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    before = megabytes(folder)
    package = f"{ROOT}[{extras}]" if extras else str(ROOT)
    pins = ["--constraint", str(ROOT / "constraints.txt")]
    spent = command("pip", [python, "-m", "pip", "install", "--quiet", *pins, package])
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True).stdout
    packages = {each["name"] for each in json.loads(listed)} - {"pip", "setuptools"}
    yield {
        "packages, packages": len(packages),
        "on disk, MB": megabytes(folder) - before,
        "pip install, s": spent["pip, s"],
    }


def megabytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
