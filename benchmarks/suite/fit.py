"""Fit of PatchCore, calibration and saving included: from the folder of images to the model folder, by stage.

The program is loaded already. `learn` is features, memory bank and calibration, without decoding and saving.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.process import Stopwatch, fresh, peak_mb
from benchmarks.record import Figures
from benchmarks.world import World

CASES = {
    "fast, coreset 1 %": ("Model.preset=fast",),
    "fast, coreset 10 %": ("Model.preset=fast", "Model.coreset_ratio=0.1", "Model.max_rows=200000"),
    "balanced": ("Model.preset=balanced",),
}
LEARN = ("features", "memory bank", "calibration")
BOUNDS = {"fast, coreset 1 %: learn, CPU s": 15.0}


def measure(world: World) -> Iterator[Figures]:
    for number in range(world.repeats):
        for name, overrides in CASES.items():
            if number == 0 or "10 %" not in name:  # minutes
                yield fresh(1, fit_by_stage, name, world.png, world.work / "fit", overrides)


def fit_by_stage(name: str, data: Path, output: Path, overrides: tuple[str, ...]) -> Figures:
    """One fit; a stage lasts from the end of the one before it to its own last report."""
    from blemish.config import load_config
    from blemish.fitting import fit

    spent: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))

    def add(stage: str) -> None:
        cpu, wall = watch.lap()
        spent[stage] = spent[stage][0] + cpu, spent[stage][1] + wall

    config = load_config("PatchCore", [f"Global.dataset_dir={data}", f"Global.output={output}", *overrides])
    watch = Stopwatch()
    fit(config, lambda stage, *_: add(stage))
    add("save")
    cpu, wall = (sum(times) for times in zip(*spent.values(), strict=True))
    figures = {f"{name}: {stage}, CPU s": times[0] for stage, times in spent.items()}
    figures[f"{name}: learn, CPU s"] = sum(spent[stage][0] for stage in LEARN)
    return figures | {
        f"{name}: whole, CPU s": cpu,
        f"{name}: whole, s": wall,
        f"{name}: peak memory, MB": peak_mb(),
    }
