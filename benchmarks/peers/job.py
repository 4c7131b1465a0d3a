"""Start a peer's job in its own environment, pinned as our measurements are."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.process import command, fresh
from benchmarks.record import Figures
from benchmarks.world import World

HERE = Path(__file__).parent


def job(world: World, peer: str, *arguments: object) -> Any:
    """What the peer's job prints as its last line, JSON."""
    return json.loads(fresh(1, _output, _line(world, peer, arguments), world.work))


def first_result(world: World, peer: str, name: str, *arguments: object) -> Figures:
    """Time and memory of a job in a new process."""
    return command(name, _line(world, peer, arguments))


def script(world: World, peer: str, name: str) -> list[str]:
    """The command line of a script of this folder in the peer's environment; `FileNotFoundError` without that."""
    python = world.peers / peer / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(f"{peer} is not installed in {world.peers}; run benchmarks/peers/setup.sh")
    return [str(python), str(HERE / name)]


def _line(world: World, peer: str, arguments: tuple[object, ...]) -> list[str]:
    return [*script(world, peer, f"{peer}_job.py"), *map(str, arguments)]


def _output(line: list[str], folder: Path) -> str:
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{line[1]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]
