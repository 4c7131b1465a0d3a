"""Exact pixel metrics of a whole category at full resolution: 100 maps of one megapixel, half of them with defects.

The maps look like those of a detector: noise on a 64 x 64 grid, enlarged smoothly, raised on the four defects by so
little that a part of them stays among the good pixels. Only the calls into the metrics are timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.process import Stopwatch, fresh, peak_mb
from benchmarks.record import Figures
from benchmarks.world import World

ON_DATA = False
BOUNDS = {"exact AU-PRO, CPU s": 5.0, "peak memory, MB": 1500.0}


def measure(world: World, maps: int = 100, side: int = 1000, defect_share: float = 0.03) -> Iterator[Figures]:
    for _ in range(min(3, world.repeats)):
        yield fresh(1, category, maps, side, defect_share) | fresh(1, bootstrap)


def category(maps: int, side: int, defect_share: float) -> Figures:
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
    scores, add = PixelScores(), 0.0
    for number in range(maps):
        grid = generator.gamma(4, 0.3, (64, 64)).astype(np.float32)
        anomaly_map = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
        if number % 2:
            anomaly_map += mask * generator.gamma(3, 0.7, 1).astype(np.float32)
        watch = Stopwatch()
        scores.add(anomaly_map.astype(np.float32, copy=False), mask if number % 2 else None)
        add += watch.lap()[0]
    au_pro = seconds(scores.au_pro)
    rest = seconds(
        lambda: (scores.au_pro(0.05), scores.pixel_auroc(), scores.pixel_ap(), scores.pro_curve(), scores.au_pimo())
    )
    return {
        "exact AU-PRO, CPU s": add + au_pro,
        "every pixel metric, CPU s": add + au_pro + rest + seconds(lambda: scores.confusion_at(2.0)),
        "peak memory, MB": peak_mb(),
    }


def bootstrap() -> Figures:
    """1,000 resamples of 500 image scores."""
    import numpy as np

    from blemish.metrics import bootstrap_interval

    generator = np.random.default_rng(0)
    labels = generator.random(500) < 0.7
    scores = generator.normal(size=500) + 2 * labels
    return {
        "interval of AUROC, CPU s": seconds(lambda: bootstrap_interval(labels, scores, "auroc")),
        "interval of average precision, CPU s": seconds(
            lambda: bootstrap_interval(labels, scores, "average_precision")
        ),
    }


def seconds(call: Callable[[], Any]) -> float:
    """CPU seconds of one call."""
    watch = Stopwatch()
    call()
    return watch.lap()[0]
