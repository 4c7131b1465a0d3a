"""The main job, measured: fit, predict, first result, throughput, coreset; medians and quartiles, as a table and JSON.

    python benchmarks/main_job.py --output figures.json [--data DIR] [--image FILE] [--only fit predict ...]

`--data` is a folder in MVTec layout (default: the generated sample at 900 pixels), `--image` the file for the
measurements of a single image (default: the first test image). Every measurement runs in a fresh process that is pinned
to one core (throughput: two) and keeps every library to as many threads. CPU seconds are user and system time of all
threads; on a busy machine they are steadier than wall time, which stands beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

Figures = dict[str, float]  # name, ending in its unit -> value

BUDGETS = {
    "fit_fast.learn.cpu_s": 15.0,
    "predict.whole.cpu_ms": 50.0,
    "first_result.cpu_s": 1.0,
    "first_result.wall_s": 1.0,
    "first_result.peak_mb": 300.0,
    "help.wall_s": 0.3,
}
LEARN = ("features", "memory bank", "calibration")
CORESET_IMAGES = 209  # of 1,024 patches each: 214,016 points
CORESET_ROWS = 2140
WARM_UP = 5


class Stopwatch:
    """CPU and wall seconds since the last lap."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def lap(self) -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        spent = cpu - self._cpu, wall - self._wall
        self._cpu, self._wall = cpu, wall
        return spent


def fit_by_stage(data: Path, preset: str, output: Path) -> Figures:
    """One fit; a stage lasts from the end of the one before it to its own last report."""
    from blemish.config import load_config
    from blemish.fitting import fit

    stages: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))

    def add(stage: str) -> None:
        cpu, wall = watch.lap()
        stages[stage] = stages[stage][0] + cpu, stages[stage][1] + wall

    config = load_config(
        "PatchCore", [f"Global.dataset_dir={data}", f"Global.output={output}", f"Model.preset={preset}"]
    )
    watch = Stopwatch()
    fit(config, lambda stage, _done, _total: add(stage))
    add("save")
    stages["learn"] = _sum(stages[stage] for stage in LEARN)
    stages["total"] = _sum(stages[stage] for stage in ("images", *LEARN, "save"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**_named(f"fit_{preset}", stages, "s", 1), f"fit_{preset}.peak_mb": peak}


def predict_by_stage(model: Path, image: Path, repeats: int) -> list[Figures]:
    """One file to its full-size map in a warm process: the stages alone, then the whole path."""
    import numpy as np

    from blemish.images import expand
    from blemish.pipeline import open_model

    predictor = open_model(model, "cpu")
    engine, geometry = predictor.engines[0], predictor.geometry

    def once() -> Figures:
        stages = {}
        watch = Stopwatch()
        pixels = next(expand(str(image))).read()
        stages["decode"] = watch.lap()
        batch = np.stack([geometry.fit(pixels)])
        stages["resize"] = watch.lap()
        grid = engine.run(batch)["anomaly_map"][0]
        stages["network"] = watch.lap()
        geometry.map_to_image(grid, pixels.shape[1], pixels.shape[0])
        stages["full map"] = watch.lap()
        result = next(predictor.predict(str(image)))
        assert result.anomaly_map is not None
        stages["whole"] = watch.lap()
        next(predictor.predict(str(image))).to_dict(mask=False)
        stages["json record"] = watch.lap()
        return _named("predict", stages, "ms", 1e3)

    return [once() for _ in range(WARM_UP + repeats)][WARM_UP:]


def throughput(model: Path, folder: Path, batch_size: int) -> Figures:
    """All test images of the data, several at once."""
    from blemish.pipeline import open_model

    predictor = open_model(model, "cpu", batch_size)
    next(predictor.predict(str(folder)))
    watch = Stopwatch()
    count = sum(result.anomaly_map is not None for result in predictor.predict(str(folder)))
    cpu, wall = watch.lap()
    name = f"throughput_batch{batch_size}"
    return {f"{name}.images_per_s": count / wall, f"{name}.cpu_ms": 1e3 * cpu / count}


def command(name: str, arguments: list[str]) -> Figures:
    """One run of the command in a new process, from its start to its end."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "blemish", *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"blemish {' '.join(arguments)} ended with {process.returncode}")
    return {
        f"{name}.cpu_s": used.ru_utime + used.ru_stime,
        f"{name}.wall_s": wall,
        f"{name}.peak_mb": used.ru_maxrss / 1024,
    }


def coreset(data: Path, plain: bool) -> Figures:
    """Greedy selection from the patches of the training images; rotated copies make up what is missing."""
    import numpy as np

    from blemish.detectors.coreset import greedy_coreset

    points = _patches(data)
    watch = Stopwatch()
    blocks = greedy_coreset(points, CORESET_ROWS)
    figures = _named("coreset", {"blocks": watch.lap()}, "s", 1)
    if plain:
        chosen = plain_coreset(points, CORESET_ROWS, int(blocks[0]))
        figures |= _named("coreset", {"plain": watch.lap()}, "s", 1)
        figures["coreset.ratio"] = figures["coreset.plain.cpu_s"] / figures["coreset.blocks.cpu_s"]
        figures["coreset.common_share"] = float(np.isin(chosen, blocks).mean())
    return figures


def plain_coreset(points: Any, count: int, first: int) -> Any:
    """Greedy selection as it is usually written: after every choice, one product brings all distances up to date."""
    import numpy as np

    norms = np.einsum("nd,nd->n", points, points)
    nearest = np.full(len(points), np.inf, np.float32)
    chosen = np.empty(count, np.int64)
    for i in range(count):
        chosen[i] = first if i == 0 else nearest.argmax()
        centre = points[chosen[i]]
        np.minimum(nearest, np.maximum(points @ (-2 * centre) + norms + centre @ centre, 0), out=nearest)
        nearest[chosen[i]] = -1
    return chosen


def _patches(data: Path) -> Any:
    """Patch features `(214,016, 152)` at preset fast."""
    import cv2
    import numpy as np

    from blemish.detectors.patch_features import PatchFeatures
    from blemish.images import expand

    good = [cv2.resize(ref.read(), (256, 256), interpolation=cv2.INTER_AREA) for ref in expand(data / "train/good")]
    images = [np.rot90(image, turn).copy() for turn in range(4) for image in good][:CORESET_IMAGES]
    features = PatchFeatures("efficientnet_lite0", 256, 256)
    return np.concatenate(list(features.extract(images, "cpu")))


def _sum(pairs: Iterator[tuple[float, float]]) -> tuple[float, float]:
    cpu, wall = zip(*pairs, strict=True)
    return sum(cpu), sum(wall)


def _named(name: str, stages: dict[str, tuple[float, float]], unit: str, scale: float) -> Figures:
    figures = {}
    for stage, (cpu, wall) in stages.items():
        figures[f"{name}.{stage}.cpu_{unit}"] = scale * cpu
        figures[f"{name}.{stage}.wall_{unit}"] = scale * wall
    return figures


class Bench:
    """Runs measurements in fresh processes and collects their figures."""

    def __init__(self, data: Path, image: Path, work: Path, repeats: int) -> None:
        self.data, self.image, self.work, self.repeats = data, image, work, repeats
        self.figures: dict[str, list[float]] = defaultdict(list)
        self.model = work / "fast"

    def fit(self) -> None:
        for preset, repeats in (("fast", self.repeats), ("balanced", -(-self.repeats // 2))):
            for _ in range(repeats):
                self._add(fresh(1, fit_by_stage, self.data, preset, self.work / preset))
        files = (self.model / "best_model/inference").iterdir()
        self._add({"model_folder.mb": sum(file.stat().st_size for file in files) / 1e6})

    def predict(self) -> None:
        self._fitted()
        for figures in fresh(1, predict_by_stage, self.model, self.image, 10 * self.repeats):
            self._add(figures)

    def start(self) -> None:
        self._fitted()
        for _ in range(2 * self.repeats):
            self._add(fresh(1, command, "first_result", ["predict", str(self.model), str(self.image)]))
            self._add(fresh(1, command, "help", ["--help"]))

    def throughput(self) -> None:
        self._fitted()
        for batch_size in (1, 8):
            for _ in range(self.repeats):
                self._add(fresh(2, throughput, self.model, self.data / "test", batch_size))

    def coreset(self) -> None:
        for i in range(min(3, self.repeats)):
            self._add(fresh(1, coreset, self.data, i == 0))

    def _fitted(self) -> None:
        if not self.model.exists():
            fresh(1, fit_by_stage, self.data, "fast", self.model)

    def _add(self, figures: Figures) -> None:
        for name, value in figures.items():
            self.figures[name].append(value)


PARTS = ("fit", "predict", "start", "throughput", "coreset")


def fresh(cores: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's value, computed in a new process on so many cores."""
    allowed = sorted(os.sched_getaffinity(0))[-cores:]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[name] = str(len(allowed))  # the new process inherits it
    with ProcessPoolExecutor(1, get_context("spawn"), os.sched_setaffinity, (0, allowed)) as pool:
        return pool.submit(function, *arguments).result()


def summary(figures: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median, quartiles and number of the values of each figure, and its budget."""
    result = {}
    for name, values in figures.items():
        low, middle, high = statistics.quantiles(values, method="inclusive") if len(values) > 1 else values * 3
        result[name] = {"median": middle, "q1": low, "q3": high, "n": len(values)}
        if name in BUDGETS:
            result[name] |= {"budget": BUDGETS[name], "kept": middle <= BUDGETS[name]}
    return result


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    packages = ("numpy", "opencv-python-headless", "onnxruntime", "onnx", "pydantic")
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.argv]),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def show(about: dict[str, Any], figures: dict[str, dict[str, float]]) -> None:
    for key, value in about.items():
        print(f"{key:24} {value}")
    print(f"\n{'figure':36} {'median':>10} {'quartiles':>21} {'n':>4} {'budget':>8}")
    for name, row in figures.items():
        spread = f"{row['q1']:.4g} .. {row['q3']:.4g}"
        budget = f"{row['budget']:g} {'kept' if row['kept'] else 'BROKEN'}" if "budget" in row else ""
        print(f"{name:36} {row['median']:10.4g} {spread:>21} {row['n']:4d} {budget:>8}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder in MVTec layout; default: the generated sample")
    parser.add_argument("--image", type=Path, help="the file for measurements of one image")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file for the figures")
    parser.add_argument("--repeats", type=int, default=5, help="how often a fit is repeated; the rest follows")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    data = arguments.data or _sample()
    image = arguments.image or min(path for path in (data / "test").rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(data, image, Path(work), arguments.repeats)
        for part in arguments.only:
            print(f"measuring {part} ...", file=sys.stderr)
            getattr(bench, part)()
    about, figures = machine(), summary(bench.figures)
    show(about, figures)
    arguments.output.write_text(json.dumps({"machine": about, "figures": figures, "values": bench.figures}, indent=2))


def _sample() -> Path:
    from blemish.datasets import generate_sample

    print("generating the sample ...", file=sys.stderr)
    return generate_sample(Path("output/benchmarks/sample"), train=60, size=900)


if __name__ == "__main__":
    main()
