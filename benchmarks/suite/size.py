"""Model folder on disk, of every detector."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.record import Figures
from benchmarks.suite.latency import variants
from benchmarks.world import World


def measure(world: World) -> Iterator[Figures]:
    for name, model in variants(world).items():
        files = (model / "best_model" / "inference").iterdir()
        yield {f"{name}, MB": sum(file.stat().st_size for file in files) / 1e6}
