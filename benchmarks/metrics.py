"""Exact pixel metrics of a whole category, measured: CPU seconds by stage and peak memory, as a table and JSON.

    python benchmarks/metrics.py --output figures.json [--images 100] [--side 1000] [--defect-share 0.03]

Half of the images are good. The maps look like those of a detector: noise on a 64 x 64 grid, enlarged smoothly, raised
on the defects by so little that a part of them stays among the good pixels. Each run is a fresh process on one thread;
only the calls into the metrics are timed, and the maps are made one at a time. CPU seconds are user and system time;
the median of the runs is printed with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

BUDGETS = {"au_pro_exact.cpu_s": 5.0, "peak_mb": 1500.0}


def category(images: int, side: int, defect_share: float) -> dict[str, float]:
    """Collect the maps and masks, then read every metric; peak memory holds the interpreter and one map as well."""
    import cv2
    import numpy as np

    from blemish.metrics import PixelScores

    cv2.setNumThreads(1)
    generator = np.random.default_rng(0)
    defect = round(side * (2 * defect_share / 4) ** 0.5)  # four squares in every second image
    mask = np.zeros((side, side), np.bool_)
    for y in (side // 5, side // 2):
        for x in (side // 8, side // 2):
            mask[y : y + defect, x : x + defect] = True
    scores, spent = PixelScores(), {"add": 0.0}
    for number in range(images):
        grid = generator.gamma(4, 0.3, (64, 64)).astype(np.float32)
        anomaly_map = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
        if number % 2:
            anomaly_map += mask * generator.gamma(3, 0.7, 1).astype(np.float32)
        spent["add"] += timed(lambda m=anomaly_map, bad=number % 2: scores.add(m, mask if bad else None))
    spent["au_pro"] = timed(scores.au_pro)
    spent["rest"] = timed(
        lambda: (scores.au_pro(0.05), scores.pixel_auroc(), scores.pixel_ap(), scores.pro_curve(), scores.au_pimo())
    )
    spent["confusion"] = timed(lambda: scores.confusion_at(2.0))
    figures = {f"{name}.cpu_s": value for name, value in spent.items()}
    figures["au_pro_exact.cpu_s"] = spent["add"] + spent["au_pro"]
    figures["everything.cpu_s"] = sum(spent.values())
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    values = {"au_pro": scores.au_pro(), "au_pro_05": scores.au_pro(0.05), "au_pimo": scores.au_pimo().mean}
    values |= {"pixel_auroc": scores.pixel_auroc(), "pixel_ap": scores.pixel_ap()}
    return figures | {f"value.{name}": value for name, value in values.items() if value is not None}


def bootstrap() -> dict[str, float]:
    """1,000 resamples of 500 image scores."""
    import numpy as np

    from blemish.metrics import bootstrap_interval

    generator = np.random.default_rng(0)
    labels = generator.random(500) < 0.7
    scores = generator.normal(size=500) + 2 * labels
    return {
        "bootstrap_auroc.cpu_s": timed(lambda: bootstrap_interval(labels, scores, "auroc")),
        "bootstrap_ap.cpu_s": timed(lambda: bootstrap_interval(labels, scores, "average_precision")),
    }


def timed(call: Callable[[], Any]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def in_fresh_process(function: Callable[..., dict[str, float]], *arguments: float) -> dict[str, float]:
    """The figures of one run that shares no memory with another."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def summary(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Median, smallest and largest of each figure."""
    columns = {name: [run[name] for run in runs] for name in runs[0]}
    return {n: {"median": statistics.median(v), "min": min(v), "max": max(v)} for n, v in columns.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--side", type=int, default=1000, help="height and width of the maps in pixels")
    parser.add_argument("--defect-share", type=float, default=0.03, help="of all pixels")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    case = options.images, options.side, options.defect_share
    runs = [in_fresh_process(category, *case) | in_fresh_process(bootstrap) for _ in range(options.repeats)]
    figures = summary(runs)
    for name, row in figures.items():
        budget = f"   budget {BUDGETS[name]:g}" if name in BUDGETS else ""
        print(f"{name:24}{row['median']:10.4f}   ({row['min']:.4f} .. {row['max']:.4f}){budget}")
    if options.output:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        about = {"python": platform.python_version(), "numpy": version("numpy"), **machine}
        settings = {name: value for name, value in vars(options).items() if name != "output"}
        options.output.write_text(
            json.dumps({"settings": settings, "about": about, "budgets": BUDGETS, "figures": figures}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
