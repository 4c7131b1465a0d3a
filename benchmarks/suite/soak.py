"""Generated images of 900x900 pixels without end through one `stream()`: time per image and memory must stay flat.

Straight lines are fitted to what 50 images took and to the resident memory, the first tenth left out; what they would
gain over 100,000 images stands beside their level.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from benchmarks.images import picture
from benchmarks.process import fresh
from benchmarks.record import Figures
from benchmarks.world import World

CORES = 2
WINDOW = 50  # images whose median time is one point of the lines
SETTLE = 0.1  # share of the points before the lines begin


def measure(world: World, minutes: float = 3.0) -> Iterator[Figures]:
    yield fresh(CORES, soak, world.model("PatchCore", "Model.preset=fast"), minutes)


def soak(model: Path, minutes: float) -> Figures:
    import numpy as np

    from blemish.pipeline import open_model

    pictures = [picture(seed) for seed in range(8)]
    end = time.monotonic() + 60 * minutes
    walls, cpus, memory, window = [], [], [], []
    with open_model(model, "cpu").stream(pictures[i % 8] for i in count()) as results:
        last, last_cpu = time.perf_counter(), time.process_time()
        for index, result in enumerate(results, 1):
            assert result.score is not None
            now = time.perf_counter()
            window.append(1e3 * (now - last))
            last = now
            if index % WINDOW == 0:
                cpu = time.process_time()
                walls.append(float(np.median(window)))
                cpus.append(1e3 * (cpu - last_cpu) / WINDOW)
                memory.append(resident_mb())
                window, last_cpu = [], cpu
                if time.monotonic() > end:
                    break
    lines = line("time per image", "ms", walls) | line("CPU time per image", "CPU ms", cpus)
    return {"images, images": float(index)} | lines | line("resident memory", "MB", memory)


def line(name: str, unit: str, values: list[float]) -> Figures:
    """Median of the values and the gain of a straight line through them over 100,000 images."""
    import numpy as np

    kept = np.array(values[int(SETTLE * len(values)) :])
    slope = np.polyfit(np.arange(len(kept)) * WINDOW, kept, 1)[0] if len(kept) > 1 else 0.0
    gain = f"{name}: gained over 100 000 images, {unit}"
    return {f"{name}, {unit}": float(np.median(kept)), gain: float(1e5 * slope)}


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * 4096 / 1e6
