"""From a file to its result, measured: CPU time by stage, throughput of `stream`, and a soak; as a table and JSON.

    python benchmarks/prediction.py MODEL --output figures.json [--image FILE] [--folder DIR] [--only stages stream]
    python benchmarks/prediction.py MODEL --output soak.json --only soak --minutes 60

`--image` is one file for the stages, `--folder` images for the throughput; without them 900x900 pictures are generated,
a PNG and JPEGs. Processes, cores and the format of the figures are those of `main_job.py`. The soak streams generated
images for `--minutes` and fits straight lines to the time per image and the resident memory: what they would gain over
100,000 images stands beside their level.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from main_job import WARM_UP, Figures, Stopwatch, fresh, machine, show, summary

SIZE, PICTURES = 900, 48
WINDOW = 50  # images whose median time is one point of the soak's lines
SETTLE = 0.1  # share of the soak before the lines begin


def stages(model: Path, image: Path, repeats: int) -> list[Figures]:
    """One file in a warm process: the stages alone, then whole with the full-size map, then with its record."""
    from blemish.images import expand
    from blemish.pipeline import open_model
    from blemish.pipeline.regions import find_regions

    predictor = open_model(model, "cpu")
    engine, geometry = predictor.engines[0], predictor.geometry

    def once() -> Figures:
        spent = {}
        watch = Stopwatch()
        pixels = next(expand(str(image))).read()
        spent["decode"] = watch.lap()
        batch = geometry.fit(pixels)[None]
        spent["resize"] = watch.lap()
        grid = engine.run(batch)["anomaly_map"][0]
        spent["network"] = watch.lap()
        full = geometry.map_to_image(grid, pixels.shape[1], pixels.shape[0])
        spent["full map"] = watch.lap()
        find_regions(full, predictor.limit.pixel)
        spent["regions"] = watch.lap()
        assert next(predictor.predict(str(image))).anomaly_map is not None
        spent["whole"] = watch.lap()
        next(predictor.predict(str(image))).to_dict()
        spent["whole with record"] = watch.lap()
        return {f"stages.{name}.cpu_ms": 1e3 * cpu for name, (cpu, _) in spent.items()} | {
            "stages.whole.wall_ms": 1e3 * spent["whole"][1]
        }

    return [once() for _ in range(WARM_UP + repeats)][WARM_UP:]


def stream(model: Path, folder: Path, cores: int) -> Figures:
    """Images a second of `stream` over a folder; what a machine that does nothing else would reach stands beside."""
    from blemish.pipeline import open_model

    predictor = open_model(model, "cpu")
    next(predictor.predict(str(folder)))
    watch = Stopwatch()
    with predictor.stream(str(folder)) as results:
        number = sum(result.score is not None for result in results)
    cpu, wall = watch.lap()
    name = f"stream_{cores}_cores"
    return {
        f"{name}.images_per_s": number / wall,
        f"{name}.cpu_ms": 1e3 * cpu / number,
        f"{name}.images_per_cpu_s": cores * number / cpu,
    }


def soak(model: Path, minutes: float) -> Figures:
    """Generated pictures without end through one stream: levels, and gains over 100,000 images."""
    from blemish.pipeline import open_model

    pictures = [picture(seed) for seed in range(8)]
    end = time.monotonic() + 60 * minutes
    times, cpu_times, memory = [], [], []
    with open_model(model, "cpu").stream(pictures[i % 8] for i in count()) as results:
        last, last_cpu = time.perf_counter(), time.process_time()
        for index, result in enumerate(results, 1):
            assert result.score is not None
            now, cpu = time.perf_counter(), time.process_time()
            times.append(1e3 * (now - last))
            last = now
            if index % WINDOW == 0:
                cpu_times.append(1e3 * (cpu - last_cpu) / WINDOW)
                last_cpu = cpu
                memory.append(resident_mb())
                if time.monotonic() > end:
                    break
    walls = [float(np.median(times[i : i + WINDOW])) for i in range(0, len(times), WINDOW)]
    return {"soak.images": len(times)} | _line("wall_ms", walls) | _line("cpu_ms", cpu_times) | _line("rss_mb", memory)


def _line(name: str, values: list[float]) -> Figures:
    """Median of the values and the slope of a straight line through them."""
    kept = np.array(values[int(SETTLE * len(values)) :])
    slope = np.polyfit(np.arange(len(kept)) * WINDOW, kept, 1)[0] if len(kept) > 1 else 0.0
    return {f"soak.{name}": float(np.median(kept)), f"soak.{name}_per_100000": float(1e5 * slope)}


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def picture(seed: int) -> Any:
    """A ring on brushed ground (900, 900, 3)."""
    import cv2

    random = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(random.normal(0, 40, (SIZE, SIZE)).astype(np.float32), (31, 1), 0)
    cv2.circle(ground, (SIZE // 2, SIZE // 2), SIZE // 3, 80.0, SIZE // 12)
    noisy = 140 + ground[..., None] + random.normal(0, 2, (SIZE, SIZE, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def pictures_in(folder: Path) -> Iterator[Path]:
    import cv2

    folder.mkdir()
    for seed in range(PICTURES):
        path = folder / f"{seed:03}.jpg"
        cv2.imwrite(str(path), picture(seed))
        yield path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a model folder")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="the JSON file for the figures")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2, help="for the throughput")
    parser.add_argument("--minutes", type=float, default=3, help="of the soak")
    parser.add_argument("--only", nargs="+", choices=("stages", "stream", "soak"), default=("stages", "stream", "soak"))
    arguments = parser.parse_args()
    figures: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as work:
        image, folder = arguments.image or Path(work) / "picture.png", arguments.folder or Path(work) / "folder"
        if not image.exists():
            import cv2

            cv2.imwrite(str(image), picture(0))
        if not folder.exists():
            list(pictures_in(folder))
        for row in _measured(arguments, image, folder):
            for name, value in row.items():
                figures[name].append(value)
    about, found = machine(), summary(figures)
    show(about, found)
    arguments.output.write_text(json.dumps({"machine": about, "figures": found, "values": figures}, indent=2))


def _measured(arguments: argparse.Namespace, image: Path, folder: Path) -> Iterator[Figures]:
    for part in arguments.only:
        print(f"measuring {part} ...", file=sys.stderr)
        if part == "stages":
            yield from fresh(1, stages, arguments.model, image, 10 * arguments.repeats)
        elif part == "stream":
            for _ in range(arguments.repeats):
                yield fresh(arguments.cores, stream, arguments.model, folder, arguments.cores)
        else:
            yield fresh(arguments.cores, soak, arguments.model, arguments.minutes)


if __name__ == "__main__":
    main()
