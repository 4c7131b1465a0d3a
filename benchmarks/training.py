"""CPU seconds of one round of STFPM through 209 images at 256 x 256, as many as MVTec bottle has.

`OMP_NUM_THREADS=1 python benchmarks/training.py`; the teacher's features, computed once a training, are counted apart.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from blemish.detectors import Setting
from blemish.detectors.stfpm import STFPM, Imitation
from blemish.training import Plan
from blemish.training.loop import train

IMAGES, BATCH, STEPS = 209, 8, 10


def main() -> None:
    random = np.random.default_rng(0)
    images = list(random.integers(0, 256, (4 * BATCH, 256, 256, 3), dtype=np.uint8))
    for mixed in (True, False):
        plan = Plan(iterations=STEPS, batch_size=BATCH, learning_rate=0.01, mixed_precision=mixed, device="cpu")
        detector = STFPM(Setting(256, 256, plan=plan, device="cpu"))
        start = time.process_time()
        learner = Imitation(detector, images, None)
        taught = time.process_time() - start
        marks: list[float] = []
        train(learner, plan, lambda done, total, detail: marks.append(time.process_time()))  # noqa: ARG005, B023
        step = float(np.median(np.diff(marks)))
        print(
            f"{'bfloat16' if mixed else 'float32':8}  round {step * IMAGES / BATCH:5.1f} CPU-s, "
            f"teacher once {taught * IMAGES / len(images):5.1f} CPU-s, {torch.get_num_threads()} thread(s)"
        )


if __name__ == "__main__":
    main()
